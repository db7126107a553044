/** The demo checks what it shows: what is not as it must be ends it, in words. */

import { setTimeout as sleep } from "node:timers/promises";

/** Thrown when the story does not come out as it must; the message is for whoever watches. */
export class Unexpected extends Error {}

/** @throws Unexpected with what was wanted and what came. */
export function expect(holds: boolean, wanted: string, seen: string): asserts holds {
  if (!holds) throw new Unexpected(`expected ${wanted}; what came:\n${seen.trim() || "(nothing)"}`);
}

/** Looks again and again until what it sees is right. @throws Unexpected with the last thing seen, after a minute. */
export async function until<T>(wanted: string, look: () => Promise<T>, isRight: (seen: T) => boolean): Promise<T> {
  const end = Date.now() + 60_000;
  for (;;) {
    const seen = await look();
    if (isRight(seen)) return seen;
    expect(Date.now() < end, `within a minute ${wanted}`, JSON.stringify(seen, undefined, 2));
    await sleep(200);
  }
}

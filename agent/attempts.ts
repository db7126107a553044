/** When to try again: full jitter, so that a fleet that lost its server does not come back as one wave. */

import type { Clock } from "./clock.ts";

export const shortestWait = 500;
export const longestWait = 60_000;

/** How long to wait before an attempt, in milliseconds; `failures` counts those in a row before it. */
export function wait(failures: number, random: number): number {
  if (failures === 0) return 0;
  const ceiling = Math.min(longestWait, shortestWait * 2 ** Math.min(failures, 16));
  return shortestWait / 2 + random * (ceiling - shortestWait / 2);
}

/** Yields once per attempt, until the signal aborts. Call `settled` when an attempt got somewhere: the waits start anew. */
export async function* attempts(
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<{ settled(): void; retryWithin(ms: number): void }> {
  let failures = 0;
  let asked: number | undefined;
  while (!signal.aborted) {
    await clock.sleep(asked === undefined ? wait(failures, clock.random()) : asked * clock.random(), signal);
    if (signal.aborted) return;
    asked = undefined;
    failures++;
    yield {
      settled: () => {
        failures = 0;
      },
      retryWithin: (ms) => {
        asked = Math.min(ms, longestWait);
      },
    };
  }
}

/** Cuts a schedule that breaks an invariant down to what it takes, act by act. */

import type { Parts } from "./parts.ts";
import { type Act, generate } from "./schedule.ts";
import { Breach, play } from "./world.ts";

export interface Found {
  readonly seed: number;
  readonly why: string;
  readonly schedule: readonly Act[];
}

/** Why a schedule fails; undefined: it does not. */
export function failure(schedule: readonly Act[], parts: Parts): string | undefined {
  try {
    play(schedule, parts);
    return undefined;
  } catch (err) {
    // Whatever is thrown is a failure: a machine must not throw either.
    return err instanceof Breach ? err.message : String(err instanceof Error ? err.stack : err);
  }
}

/** The first seed that fails, cut down; undefined: none does. */
export function search(seeds: Iterable<number>, parts: Parts): Found | undefined {
  for (const seed of seeds) {
    const schedule = generate(seed);
    if (failure(schedule, parts) === undefined) continue;
    const least = shrink(schedule, parts);
    return { seed, why: failure(least, parts) ?? "", schedule: least };
  }
  return undefined;
}

function shrink(schedule: readonly Act[], parts: Parts): readonly Act[] {
  let least = schedule;
  for (let size = Math.ceil(least.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < least.length; ) {
      const without = [...least.slice(0, from), ...least.slice(from + size)];
      if (failure(without, parts) === undefined) from += size;
      else least = without;
    }
  }
  return least;
}

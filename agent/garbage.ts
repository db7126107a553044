/**
 * Gives back what a start, a snapshot or a reading of all files leaves in memory: with 100,000 people twice of what is in use. An idle
 * process gives V8 no reason to look for it, and what it finds late it keeps for later.
 */

import type { Clock } from "./clock.ts";

/** How often it is looked, in milliseconds. */
const every = 60_000;

/** Memory that grew to so many times what it was is worth the pause: a fifth of a second with 100,000 people. */
const worth = 1.5;

export interface Memory {
  /** What this process has of the machine's, in bytes. */
  resident(): number;
  collect(): void;
}

/** This process's; undefined if Node was started without `--expose-gc`. */
export function ownMemory(): Memory | undefined {
  const { gc } = globalThis;
  // The usual collection leaves the pages with V8; this one gives them back.
  return (
    gc && { resident: () => process.memoryUsage.rss(), collect: () => gc({ type: "major", flavor: "last-resort" }) }
  );
}

/** Looks once a minute, until the signal. */
export async function tidy(memory: Memory, clock: Pick<Clock, "sleep">, signal: AbortSignal): Promise<void> {
  let settled = 0;
  for (;;) {
    await clock.sleep(every, signal);
    if (signal.aborted) return;
    if (memory.resident() <= settled * worth) continue;
    memory.collect();
    settled = memory.resident();
  }
}

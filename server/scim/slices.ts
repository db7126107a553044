/** Long work in short slices, so that one reader's hundred thousand people keep nobody else waiting. */

import { setImmediate } from "node:timers/promises";

const fullSlice = 500;

/** Groups items until they weigh a slice, and lets the process turn to others after each. */
export async function* slices<T>(items: readonly T[], weigh: (item: T) => number): AsyncGenerator<readonly T[]> {
  let start = 0;
  let weight = 0;
  for (const [index, item] of items.entries()) {
    weight += weigh(item);
    if (weight < fullSlice && index < items.length - 1) continue;
    yield items.slice(start, index + 1);
    await setImmediate();
    start = index + 1;
    weight = 0;
  }
}

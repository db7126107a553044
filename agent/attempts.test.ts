import { expect, test } from "vitest";
import { attempts, longestWait, shortestWait, wait } from "./attempts.ts";
import type { Clock } from "./clock.ts";

/** A clock that never waits, and tells how long it was asked to. */
function clockOf(random: number): Clock & { readonly slept: number[] } {
  const slept: number[] = [];
  return {
    slept,
    now: () => 0,
    elapsed: () => 0,
    random: () => random,
    sleep: async (ms) => {
      slept.push(ms);
    },
  };
}

test("the first attempt is at once; later ones wait up to 60 s, spread over the whole range", () => {
  expect(wait(0, 0.99)).toBe(0);
  for (let failures = 1; failures < 30; failures++) {
    expect(wait(failures, 0)).toBe(shortestWait / 2);
    expect(wait(failures, 0.999999)).toBeLessThanOrEqual(longestWait);
    expect(wait(failures + 1, 0.5)).toBeGreaterThanOrEqual(wait(failures, 0.5));
  }
  expect(wait(20, 0.999999)).toBeGreaterThan(longestWait * 0.99);
});

test("an attempt that got somewhere starts anew", async () => {
  const clock = clockOf(0.5);
  const stop = new AbortController();
  let count = 0;
  for await (const attempt of attempts(clock, stop.signal)) {
    if (++count === 3) attempt.settled();
    if (count === 4) stop.abort();
  }
  expect(clock.slept[0]).toBe(0);
  expect(clock.slept[2]).toBeGreaterThan(clock.slept[1] ?? 0);
  expect(clock.slept[3]).toBe(0);
});

test("a server that goes away says within what time to come back, and is believed up to a minute", async () => {
  const clock = clockOf(0.5);
  const stop = new AbortController();
  let count = 0;
  for await (const attempt of attempts(clock, stop.signal)) {
    attempt.settled();
    attempt.retryWithin([2_000, 10 * 60_000][count] ?? 0);
    if (++count === 3) stop.abort();
  }
  expect(clock.slept).toEqual([0, 1_000, longestWait / 2]);
});

import { expect, test } from "vitest";
import { ownMemory, tidy } from "./garbage.ts";

test("memory is given back after the start, and again only once it has grown by half", async () => {
  const stopping = new AbortController();
  // What is found at each look, and what is left where it is collected.
  const looks = [600, 300, 449, 451, 310, 460, 466];
  const collected: number[] = [];
  let resident = 0;
  const memory = {
    resident: () => resident,
    collect: () => {
      collected.push(resident);
      resident = resident === 451 ? 310 : 300;
    },
  };
  const slept: number[] = [];
  const clock = {
    sleep: async (ms: number) => {
      slept.push(ms);
      const next = looks.shift();
      if (next === undefined) stopping.abort();
      else resident = next;
    },
  };
  await tidy(memory, clock, stopping.signal);
  expect(collected).toEqual([600, 451, 466]);
  expect(new Set(slept)).toEqual(new Set([60_000]));
});

test("a stop in the middle of a pause collects nothing more", async () => {
  const stopping = new AbortController();
  stopping.abort();
  const collect = () => expect.fail("collected");
  await tidy({ resident: () => 1, collect }, { sleep: async () => undefined }, stopping.signal);
});

test("without --expose-gc there is nothing to collect by", () => {
  expect(ownMemory()).toBe(undefined);
});

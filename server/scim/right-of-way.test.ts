import { expect, test } from "vitest";
import { RightOfWay } from "./right-of-way.ts";

function aWay() {
  const waits: number[] = [];
  const clock = { now: 0 };
  const way = new RightOfWay(
    () => clock.now,
    async (ms) => waits.push(ms),
  );
  return { way, clock, waits };
}

test("nobody waits while nothing is taken away", async () => {
  const { way, waits } = aWay();
  await way.clear();
  expect(waits).toEqual([]);
});

test("a fleet goes first for as long as it needs, and no longer than a second", async () => {
  const { way, clock, waits } = aWay();
  way.give(100);
  await way.clear();
  clock.now = 10;
  await way.clear();
  clock.now = 100;
  way.give(1_000_000);
  await way.clear();
  expect(waits).toEqual([10, 1_000]);
});

test("a row of leavers stops nobody else for good: after it the others go first for as long", async () => {
  const { way, clock, waits } = aWay();
  for (clock.now = 0; clock.now < 4_000; clock.now += 100) {
    way.give(10_000);
    await way.clear();
  }
  expect(waits).toHaveLength(20);
  expect(Math.max(...waits)).toBe(1_000);
});

import { expect, test } from "vitest";
import { RightOfWay } from "./right-of-way.ts";

/** Time passes while somebody sleeps. */
function aWay() {
  const clock = { now: 0 };
  const way = new RightOfWay(
    () => clock.now,
    async (ms) => {
      clock.now += ms;
    },
  );
  /** How long somebody waits who comes when a fleet is given the way, or several times. */
  const wait = async (nodes: number, ...told: (() => boolean)[]): Promise<number> => {
    const from = clock.now;
    for (const isTold of told) way.give(nodes, isTold);
    await way.clear();
    return clock.now - from;
  };
  return { clock, wait };
}

const never = () => false;

test("nobody waits while nothing is taken away, or once all were told", async () => {
  const { wait } = aWay();
  expect(await wait(10_000)).toBe(0);
  expect(await wait(10_000, () => true)).toBe(0);
});

test("a fleet goes first until it was told, and no longer than two seconds", async () => {
  const { clock, wait } = aWay();
  expect(await wait(10_000, () => clock.now >= 600)).toBe(600);
  clock.now = 10_000;
  expect(await wait(100, never), "a small one").toBe(20);
  clock.now = 20_000;
  expect(await wait(1_000_000, never)).toBe(2_000);
});

test("what ends meanwhile is told in the same time", async () => {
  const { clock, wait } = aWay();
  const told = [300, 700].map((ms) => () => clock.now >= ms);
  expect(await wait(10_000, ...told)).toBe(700);
});

test("a row of leavers stops nobody else for good: after it the others go first for as long", async () => {
  const { clock, wait } = aWay();
  let waited = 0;
  for (clock.now = 0; clock.now < 16_000; clock.now += 100) waited += await wait(10_000, never);
  expect(waited).toBe(8_000);
});

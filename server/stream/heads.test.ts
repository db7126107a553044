/** Who is told of a new head, and when: at once if nobody is busy, together if a fleet is, at once again for a revocation. */

import { expect, test } from "vitest";
import { nothing } from "../../identity/digest.ts";
import type { Position } from "../../identity/position.ts";
import { type Clock, Heads } from "./heads.ts";

const at = (revision: bigint): Position => ({ epoch: { seq: 1n, id: "e" }, revision, digest: nothing });

/** A clock in which telling takes a while, all of it this thread's, and rests last until the test ends them or they are cut short. */
function slowClock(roundTakes: number) {
  let now = 0;
  let spent = 0;
  const rests: { ms: number; end: () => void }[] = [];
  const work = (ms: number): void => {
    now += ms;
    spent += ms;
  };
  const clock: Clock = {
    now: () => now,
    spent: () => spent,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const end = (): void => {
          now += ms;
          resolve();
        };
        rests.push({ ms, end });
        signal.addEventListener("abort", () => resolve());
      }),
  };
  return { clock, rests, work, tell: () => work(roundTakes) };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function follow(heads: Heads, tell?: () => void): bigint[] {
  const told: bigint[] = [];
  const moved = ({ revision }: Position): void => {
    told.push(revision);
    tell?.();
  };
  heads.follow("c", "login", at(1n), { moved });
  return told;
}

test("the first change is told at once; those after it while a fleet is told go together, after as long a rest", async () => {
  const { clock, rests, tell } = slowClock(40);
  const heads = new Heads(clock);
  const told = follow(heads, tell);
  void heads.move("c", "login", at(2n), false);
  await settled();
  expect(told).toEqual([2n]);
  for (const revision of [3n, 4n, 5n]) void heads.move("c", "login", at(revision), false);
  await settled();
  expect(told).toEqual([2n]);
  expect(rests.map(({ ms }) => ms)).toEqual([40]);
  rests[0]?.end();
  await settled();
  expect(told).toEqual([2n, 5n]);
});

test("the longer changes go on without a break, the longer are the rests, up to a limit; a break begins anew", async () => {
  const { clock, rests, tell } = slowClock(40);
  const heads = new Heads(clock);
  const told = follow(heads, tell);
  const rest = async (revision: bigint): Promise<number | undefined> => {
    const before = rests.at(-1);
    void heads.move("c", "login", at(revision), false);
    before?.end();
    await settled();
    return rests.at(-1)?.ms;
  };
  const rested: (number | undefined)[] = [];
  for (let revision = 2n; revision < 8n; revision++) rested.push(await rest(revision));
  expect(rested).toEqual([40, 80, 120, 160, 160, 160]);
  rests.at(-1)?.end();
  await settled();
  expect(await rest(8n)).toBe(40);
  expect(told).toEqual([2n, 3n, 4n, 5n, 6n, 7n, 8n]);
});

test("what answers cost is rested for too", async () => {
  const { clock, rests, work, tell } = slowClock(40);
  const heads = new Heads(clock);
  follow(heads, tell);
  void heads.move("c", "login", at(2n), false);
  await settled();
  work(30);
  rests[0]?.end();
  await settled();
  expect(rests.map(({ ms }) => ms)).toEqual([40, 30]);
});

test("no rest is longer than a second and a half, whatever is spent meanwhile", async () => {
  const { clock, rests, work, tell } = slowClock(8_000);
  const heads = new Heads(clock);
  const told = follow(heads, tell);
  void heads.move("c", "login", at(2n), false);
  await settled();
  void heads.move("c", "login", at(3n), false);
  work(1_000);
  rests[0]?.end();
  await settled();
  expect(rests[0]?.ms).toBe(1_500);
  expect(told).toEqual([2n, 3n]);
});

test("a revocation waits for no rest", async () => {
  const { clock, tell } = slowClock(40);
  const heads = new Heads(clock);
  const told = follow(heads, tell);
  void heads.move("c", "login", at(2n), false);
  await settled();
  void heads.move("c", "login", at(3n), true);
  await settled();
  expect(told).toEqual([2n, 3n]);
});

/** A fleet of 125, each of whom takes a millisecond to be told; it was told of one change, and is being told of the next. */
async function busyFleet() {
  const { clock, rests, tell } = slowClock(1);
  const heads = new Heads(clock);
  const fleet = Array.from({ length: 125 }, () => follow(heads, tell));
  const knowing = (revision: bigint): number => fleet.filter((told) => told.at(-1) === revision).length;
  const rested = async (): Promise<void> => {
    rests.at(-1)?.end();
    await settled();
  };
  void heads.move("c", "login", at(2n), false);
  await settled();
  expect([knowing(2n), rests.length], "the first change is told without a rest").toEqual([125, 1]);
  void heads.move("c", "login", at(3n), false);
  await rested();
  return { heads, fleet, rests, knowing, rested };
}

test("while changes go on without a break, a fleet is told a few at a time, all of the same", async () => {
  const { heads, rests, knowing, rested } = await busyFleet();
  expect([knowing(3n), rests.length, rests[1]?.ms]).toEqual([50, 2, 100]);
  void heads.move("c", "login", at(4n), false);
  await rested();
  expect([knowing(3n), knowing(4n), rests[2]?.ms]).toEqual([100, 0, 100]);
  await rested();
  expect([knowing(3n), knowing(4n)]).toEqual([125, 0]);
  for (const known of [50, 100, 125]) {
    await rested();
    expect(knowing(4n)).toBe(known);
  }
});

test("a revocation that comes in between is told to all at once, and to nobody after what went before it", async () => {
  const { heads, fleet, rests, knowing } = await busyFleet();
  void heads.move("c", "login", at(4n), true);
  await settled();
  expect([knowing(4n), rests.length], "one rest, after all were told").toEqual([125, 3]);
  expect([fleet[0], fleet[124]]).toEqual([
    [2n, 3n, 4n],
    [2n, 4n],
  ]);
});

test("nobody is left out when a revocation is told of twice", async () => {
  const { heads, knowing, fleet } = await busyFleet();
  void heads.move("c", "login", at(3n), true);
  await settled();
  expect(knowing(3n)).toBe(125);
  expect(fleet[124]).toEqual([2n, 3n]);
});

test("a row of revocations, one before the other is told to all, keeps nobody from hearing", async () => {
  const { clock } = slowClock(0);
  const heads = new Heads(clock);
  let head = 2n;
  const first = follow(heads, () => {
    if (head < 6n) void heads.move("c", "login", at(++head), true);
  });
  const others = Array.from({ length: 125 }, () => follow(heads));
  void heads.move("c", "login", at(2n), true);
  await settled();
  expect(first).toEqual([2n, 3n, 4n, 5n, 6n]);
  expect(others[124]).toEqual(first);
});

test("an older head is nobody's news, and who comes late is told of the newest", async () => {
  const { clock, rests } = slowClock(0);
  const heads = new Heads(clock);
  await heads.move("c", "login", at(5n), false);
  await heads.move("c", "login", at(4n), false);
  expect(heads.head("c", "login")?.revision).toBe(5n);
  expect(follow(heads)).toEqual([5n]);
  expect(rests).toEqual([]);
});

import { describe, expect, test } from "vitest";
import type { Delta } from "../identity/delta.ts";
import type { Digest } from "../identity/digest.ts";
import type { Position } from "../identity/position.ts";
import { aUser } from "../identity/testing.ts";
import { type Agent, begin, type Effect, type Event, type Failure, mostResources, step } from "./agent.ts";

const epoch = { seq: 1n, id: "e".repeat(32) };
const at = (revision: number): Position => ({
  epoch,
  revision: BigInt(revision),
  digest: revision.toString(16).padStart(64, "0") as Digest,
});
const delta = (from: number, to: number): Delta => ({ from: at(from), to: at(to), puts: [], removals: [] });
const diskFull: Failure = { sink: "nss", reason: "stage: ENOSPC", retrying: true, begun: false, diverged: false };
const applied = (revision: number): Event => ({ kind: "applied", at: at(revision), reports: [], took: 1 });

function play(agent: Agent, ...events: Event[]): [Agent, readonly Effect[]] {
  let last: readonly Effect[] = [];
  let next = agent;
  for (const event of events) [next, last] = step(next, event);
  return [next, last];
}

const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);
const [following] = play(begin(at(3)), { kind: "connected" });

describe("P8: an ack says only what is applied", () => {
  test("hello, apply, ack", () => {
    const [applying, effects] = step(following, { kind: "delta", delta: delta(3, 4) });
    expect(effects).toEqual([{ kind: "apply-delta", delta: delta(3, 4) }]);
    expect(applying.at).toEqual(at(3));
    const [done, acks] = step(applying, applied(4));
    expect(acks).toEqual([{ kind: "say-ack", at: at(4), reports: [], took: 1 }]);
    expect(done.at).toEqual(at(4));
  });

  test("a link that is lost while applying: the apply goes on, and the next Hello says where it ended", () => {
    const [lost] = play(following, { kind: "delta", delta: delta(3, 4) }, { kind: "disconnected" });
    const [waiting, early] = step(lost, { kind: "connected" });
    expect(early).toEqual([]);
    const [greeted, effects] = step(waiting, applied(4));
    expect(kinds(effects)).toEqual(["say-hello"]);
    expect(greeted.at).toEqual(at(4));
  });

  test("an apply that ends while the link is down is not acked on a stream that never heard of it", () => {
    const [, effects] = play(following, { kind: "delta", delta: delta(3, 4) }, { kind: "disconnected" }, applied(4));
    expect(effects).toEqual([]);
  });
});

describe("P9: what does not continue is refused, and changes nothing", () => {
  const foreign: Delta = { ...delta(3, 4), from: { ...at(3), epoch: { seq: 1n, id: "f".repeat(32) } } };

  test.each<[string, Delta]>([
    ["a missed delta", delta(4, 5)],
    ["a duplicate", delta(2, 3)],
    ["a foreign epoch", foreign],
    ["other content", { ...delta(3, 4), from: { ...at(3), digest: "f".repeat(64) as Digest } }],
  ])("%s", (_, hostile) => {
    const [agent, effects] = step(following, { kind: "delta", delta: hostile });
    expect(effects).toEqual([
      expect.objectContaining({ kind: "say-nack", at: at(3), revision: hostile.to.revision, diverged: true }),
    ]);
    expect(agent).toEqual(following);
  });

  test("a second message while one is applied", () => {
    const [applying] = step(following, { kind: "delta", delta: delta(3, 4) });
    const [agent, effects] = step(applying, { kind: "delta", delta: delta(3, 5) });
    expect(effects).toEqual([expect.objectContaining({ kind: "say-nack", revision: 5n, busy: true })]);
    expect(agent.work).toEqual(applying.work);
    // What was turned away is still wanted, and an ack of this one would not say so.
    expect(kinds(step(agent, applied(4))[1])).toEqual(["hang-up"]);
  });
});

describe("snapshots are taken whole or not at all", () => {
  const begun: Event = { kind: "snapshot-begin", to: at(9), count: 2 };
  const chunk: Event = { kind: "snapshot-chunk", resources: [aUser(1)] };
  const end: Event = { kind: "snapshot-end", to: at(9) };

  test("whole", () => {
    const [, effects] = play(following, begun, chunk, chunk, end);
    expect(effects).toEqual([{ kind: "apply-snapshot", to: at(9), resources: [[aUser(1)], [aUser(1)]] }]);
  });

  test.each<[string, Event[]]>([
    ["one resource too few", [begun, chunk, end]],
    ["another end than was announced", [begun, chunk, chunk, { kind: "snapshot-end", to: at(8) }]],
    ["one resource too many", [begun, chunk, chunk, chunk]],
    ["more than a node may hold", [{ ...begun, count: mostResources + 1 } as Event]],
  ])("%s is refused", (_, events) => {
    const [agent, effects] = play(following, ...events);
    expect(kinds(effects)).toEqual(["say-nack"]);
    expect(agent.work.kind).toBe("idle");
    expect(agent.incoming).toBeUndefined();
  });

  test.each<[string, Position, boolean]>([
    ["an older revision of the same epoch", at(2), false],
    ["the same revision", at(3), true],
    ["an older revision of a later epoch", { ...at(1), epoch: { seq: 2n, id: "f".repeat(32) } }, true],
    ["a newer revision of an earlier epoch", { ...at(9), epoch: { seq: 0n, id: "f".repeat(32) } }, false],
    ["a newer revision of another log", { ...at(9), epoch: { seq: 1n, id: "f".repeat(32) } }, false],
  ])("to %s: never backwards inside a life of the log", (_, to, isTaken) => {
    const [agent, effects] = step(following, { kind: "snapshot-begin", to, count: 1 });
    expect(kinds(effects)).toEqual(isTaken ? [] : ["say-nack"]);
    expect(agent.incoming?.to).toEqual(isTaken ? to : undefined);
  });

  test("a link that is lost in the middle forgets the half", () => {
    const [agent] = play(following, begun, chunk, { kind: "disconnected" }, { kind: "connected" });
    expect(agent.incoming).toBeUndefined();
    expect(play(agent, chunk, end)[1]).toEqual([]);
  });
});

describe("failures", () => {
  test("one that stays: nack once, idle again, still where it was", () => {
    const failure = { ...diskFull, reason: "visudo: syntax error", retrying: false };
    const [agent, effects] = play(following, { kind: "delta", delta: delta(3, 4) }, { kind: "failed", failure });
    expect(effects).toEqual([{ kind: "say-nack", at: at(3), revision: 4n, failure, diverged: false, busy: false }]);
    expect(agent.work).toEqual({ kind: "idle" });
    expect(agent.at).toEqual(at(3));
  });

  const [stuck, first] = play(following, { kind: "delta", delta: delta(3, 4) }, { kind: "failed", failure: diskFull });

  test("one that may pass: nack once, try again, later each time, and ack in the end", () => {
    expect(kinds(first)).toEqual(["say-nack", "retry-later"]);
    const [again, effects] = play(stuck, { kind: "retry" }, { kind: "failed", failure: diskFull });
    expect(effects).toEqual([{ kind: "retry-later", attempt: 2 }]);
    expect(kinds(play(again, { kind: "retry" }, applied(4))[1])).toEqual(["say-ack"]);
  });

  test("a newer delta takes the place of one that changed nothing yet", () => {
    expect(step(stuck, { kind: "delta", delta: delta(3, 5) })[1]).toEqual([
      { kind: "apply-delta", delta: delta(3, 5) },
    ]);
  });

  test("one that was begun must be finished first", () => {
    const begun = { ...diskFull, reason: "replace passwd.cache: EIO", begun: true };
    const [half] = play(following, { kind: "delta", delta: delta(3, 4) }, { kind: "failed", failure: begun });
    const [same, effects] = step(half, { kind: "delta", delta: delta(3, 5) });
    const failure = { sink: begun.sink, reason: begun.reason, retrying: true };
    expect(effects).toEqual([expect.objectContaining({ kind: "say-nack", revision: 5n, failure, busy: true })]);
    expect(same.work).toEqual(half.work);
    const [again, later] = play(same, { kind: "retry" }, { kind: "failed", failure: begun });
    expect(kinds(later)).toEqual(["retry-later"]);
    expect(kinds(play(again, { kind: "retry" }, applied(4))[1])).toEqual(["hang-up"]);
  });

  test("one that changed nothing yet gives way as soon as it fails again to what was turned away meanwhile", () => {
    const [trying] = play(stuck, { kind: "retry" }, { kind: "delta", delta: delta(3, 5) });
    const [gone, effects] = step(trying, { kind: "failed", failure: diskFull });
    expect(kinds(effects)).toEqual(["hang-up", "retry-later"]);
    expect(kinds(step(gone, { kind: "connected" })[1])).toEqual(["say-hello"]);
  });

  test("one that was sent over an earlier link is told by a new Hello: no server could know it by its ack", () => {
    const [back, effects] = play(stuck, { kind: "disconnected" }, { kind: "connected" });
    expect(kinds(effects)).toEqual(["say-hello"]);
    const [healed, end] = play(back, { kind: "retry" }, applied(4));
    expect(kinds(end)).toEqual(["hang-up"]);
    expect(play(healed, { kind: "disconnected" }, { kind: "connected" })[1]).toEqual([{ kind: "say-hello" }]);
  });
});

test("heartbeats are said on a greeted stream only", () => {
  expect(kinds(step(following, { kind: "beat" })[1])).toEqual(["say-heartbeat"]);
  expect(step(begin(at(3)), { kind: "beat" })[1]).toEqual([]);
});

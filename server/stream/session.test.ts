import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Digest } from "../../identity/digest.ts";
import { origin, type Position } from "../../identity/position.ts";
import { ackDeadline, type Effect, type Event, heartbeatInterval, open, type Session, step } from "./session.ts";

const epoch = { seq: 2n, id: "e".repeat(32) };
const at = (revision: number, life = epoch): Position => ({
  epoch: life,
  revision: BigInt(revision),
  digest: revision.toString(16).padStart(64, "0") as Digest,
});
const now = 1000;

function greet(position: Position, head: Position, fields: Partial<Event & { kind: "hello" }> = {}) {
  const known = position.epoch.id === epoch.id && position.revision <= head.revision;
  const hello = { kind: "hello", position, known, head, refused: undefined, resync: false, now } as const;
  return step(open(head, now), { ...hello, ...fields });
}

function kinds(effects: readonly Effect[]): string[] {
  return effects.map((effect) => (effect.kind === "welcome" ? `welcome ${effect.mode}` : effect.kind));
}

/** Plays events; gives the session and all effects of the last one. */
function play(session: Session, ...events: Event[]): [Session, readonly Effect[]] {
  let last: readonly Effect[] = [];
  let next = session;
  for (const event of events) [next, last] = step(next, event);
  return [next, last];
}

describe("greeting", () => {
  test.each<[string, Position, string[]]>([
    ["P7: an equal position sends nothing", at(5), ["welcome up-to-date", "acked"]],
    ["a known older one gets a delta", at(3), ["welcome delta", "acked", "send-delta"]],
    ["a node that was never told anything gets a snapshot", origin, ["welcome snapshot", "send-snapshot"]],
    ["one of an older epoch too", at(9, { seq: 1n, id: "0".repeat(32) }), ["welcome snapshot", "send-snapshot"]],
    ["P4: one beyond the head gets nothing, and an alarm", at(6), ["welcome wait", "alarm"]],
    ["one of a later epoch too", at(1, { seq: 3n, id: "f".repeat(32) }), ["welcome wait", "alarm"]],
    ["one of another life of this epoch too", at(1, { seq: 2n, id: "f".repeat(32) }), ["welcome wait", "alarm"]],
  ])("%s", (_, position, expected) => {
    expect(kinds(greet(position, at(5))[1])).toEqual(expected);
  });

  test("S8: one whose revision this log has with another digest gets nothing, however far the log goes", () => {
    const [session, effects] = greet(at(3), at(5), { known: false });
    expect(kinds(effects)).toEqual(["welcome wait", "alarm"]);
    expect(kinds(step(session, { kind: "head", head: at(9), now })[1])).toEqual([]);
  });

  test("unless an operator asked for a snapshot", () => {
    const [, effects] = greet(at(3), at(5), { known: false, resync: true });
    expect(kinds(effects)).toEqual(["welcome snapshot", "send-snapshot"]);
    expect(kinds(greet(at(6), at(5), { resync: true })[1])).toEqual(["welcome wait", "alarm"]);
  });

  test("before its Hello nothing is sent: not for a head that moves, nor for an operator's resync, which is kept", () => {
    const early = [
      { kind: "head", head: at(6), now },
      { kind: "resync", now },
    ] as const;
    const [waiting, effects] = play(open(at(5), now), ...early);
    expect(effects).toEqual([]);
    expect(step(open(at(5), now), early[0])[1]).toEqual([]);
    const hello = {
      kind: "hello",
      position: at(6),
      known: true,
      head: at(5),
      refused: undefined,
      resync: false,
    } as const;
    expect(kinds(step(waiting, { ...hello, now })[1])).toEqual(["welcome snapshot", "acked", "send-snapshot"]);
    const [moved] = play(open(at(5), now), early[0]);
    expect(kinds(step(moved, { ...hello, now })[1])).toEqual(["welcome up-to-date", "acked"]);
    expect(kinds(step(moved, { ...hello, known: false, now })[1])).toEqual(["welcome wait", "alarm"]);
  });

  test("another epoch under an open stream ends it: no delta leads there", () => {
    const later = { seq: 3n, id: "f".repeat(32) };
    const hello = {
      kind: "hello",
      position: at(3),
      known: true,
      head: at(5),
      refused: undefined,
      resync: false,
      now,
    } as const;
    const [fenced] = step(open(at(5), now, true), hello);
    for (const session of [fenced, ...[at(5), at(3), at(6)].map((position) => greet(position, at(5))[0])]) {
      expect(kinds(step(session, { kind: "head", head: at(7, later), now })[1])).toEqual(["end"]);
    }
  });

  test("a node that waits is asked to come back once the server knows as much", () => {
    const [waiting] = greet(at(6), at(5));
    expect(kinds(step(waiting, { kind: "head", head: at(6), now })[1])).toEqual(["end"]);
    expect(kinds(step(waiting, { kind: "head", head: at(5), now })[1])).toEqual([]);
  });
});

describe("P1: one message in flight", () => {
  test("the head moves while a delta is under way: the next one is cut on the ack, merged", () => {
    const [sent] = greet(at(3), at(4));
    const [still, quiet] = play(sent, { kind: "head", head: at(5), now }, { kind: "head", head: at(9), now });
    expect(quiet).toEqual([]);
    const [, effects] = step(still, { kind: "ack", position: at(4), now });
    expect(effects).toEqual([
      { kind: "acked", position: at(4), by: "delta" },
      { kind: "send-delta", from: at(4), to: at(9) },
    ]);
  });

  test("P10: a node that reads nothing is told once, and given up after the deadline", () => {
    const [sent] = greet(at(3), at(4));
    let session = sent;
    for (let revision = 5; revision < 1000; revision++) {
      const [next, effects] = step(session, { kind: "head", head: at(revision), now });
      expect(effects).toEqual([]);
      session = next;
    }
    const late = now + ackDeadline.delta + 1;
    const [alive] = step(session, { kind: "heartbeat", position: at(3), now: late });
    expect(kinds(step(alive, { kind: "tick", now: late })[1])).toEqual(["end"]);
  });
});

describe("P2: match moves only on the ack of exactly what was sent", () => {
  const [sent] = greet(at(3), at(4));

  test.each<[string, Position]>([
    ["a revision never sent", at(5)],
    ["an older one", at(2)],
    ["the right revision with another digest", { ...at(4), digest: "f".repeat(64) as Digest }],
    ["the right revision of another epoch", at(4, { seq: 2n, id: "f".repeat(32) })],
  ])("%s is an alarm", (_, position) => {
    const [session, effects] = step(sent, { kind: "ack", position, now });
    expect(kinds(effects)).toEqual(["alarm", "end"]);
    expect(session.match).toEqual(at(3));
  });
});

describe("P3: a refused position is not sent again", () => {
  const [sent] = greet(at(3), at(4));
  const nack: Event = { kind: "nack", at: at(3), revision: 4n, diverged: false, busy: false, now };
  const [refused] = step(sent, nack);

  test("whatever else happens at that head", () => {
    const [, effects] = play(refused, { kind: "head", head: at(4), now }, { kind: "heartbeat", position: at(3), now });
    expect(effects).toEqual([]);
  });

  test("nor to the same agent on its next stream", () => {
    expect(kinds(greet(at(3), at(4), { refused: at(4) })[1])).toEqual(["welcome delta", "acked"]);
  });

  test("nor a first snapshot", () => {
    const [session, effects] = greet(origin, at(4), { refused: at(4) });
    expect(kinds(effects)).toEqual(["welcome snapshot"]);
    expect(kinds(step(session, { kind: "head", head: at(5), now })[1])).toEqual(["send-snapshot"]);
  });

  test("a new revision is sent, from where the node is", () => {
    const [, effects] = step(refused, { kind: "head", head: at(5), now });
    expect(effects).toEqual([{ kind: "send-delta", from: at(3), to: at(5) }]);
  });

  test("an operator's resync while a delta is under way sends a snapshot after it", () => {
    const [sent] = greet(at(3), at(4));
    const [asked, quiet] = step(sent, { kind: "resync", now });
    expect(kinds(quiet)).toEqual([]);
    const [, effects] = step(asked, { kind: "ack", position: at(4), now });
    expect(kinds(effects)).toEqual(["acked", "send-snapshot"]);
  });

  test("and after its refusal too", () => {
    const [sent] = greet(at(3), at(4));
    const [asked] = step(sent, { kind: "resync", now });
    const refusal = { kind: "nack", at: at(3), revision: 4n, diverged: false, busy: false, now } as const;
    const [again, effects] = step(asked, refusal);
    expect(kinds(effects)).toEqual(["refused", "send-snapshot"]);
    // The snapshot itself is refused: it is not sent again and again.
    const [reading] = step(again, { kind: "reading", to: at(4), now });
    expect(kinds(step(reading, refusal)[1])).toEqual(["refused"]);
  });

  test("a fenced session sends nothing, whatever the node says and wherever the head goes", () => {
    const fenced = open(at(5), now, true);
    const hello = {
      kind: "hello",
      position: at(3),
      known: true,
      head: at(5),
      refused: undefined,
      resync: true,
      now,
    } as const;
    const [greeted, effects] = step(fenced, hello);
    expect(kinds(effects)).toEqual(["welcome wait"]);
    expect(kinds(play(greeted, { kind: "head", head: at(9), now }, { kind: "resync", now })[1])).toEqual([]);
  });

  test("a node that heals while an operator's snapshot is on its way acks twice, and is no alarm", () => {
    const [asked] = step(refused, { kind: "resync", now });
    const [reading] = step(asked, { kind: "reading", to: at(4), now });
    const ack: Event = { kind: "ack", position: at(4), now };
    const [healed, first] = step(reading, ack);
    expect(kinds(first)).toEqual(["acked"]);
    const [moved] = step(healed, { kind: "head", head: at(5), now });
    expect(kinds(step(moved, ack)[1])).toEqual([]);
  });

  test("an operator's resync sends a snapshot", () => {
    expect(kinds(step(refused, { kind: "resync", now })[1])).toEqual(["send-snapshot"]);
  });

  test("a node that heals by itself acks what it refused", () => {
    const [healed, effects] = step(refused, { kind: "ack", position: at(4), now });
    expect(kinds(effects)).toEqual(["acked"]);
    expect(healed.match).toEqual(at(4));
  });

  test("a delta that does not fit is answered by one snapshot; that one refused, by nothing", () => {
    const [snapshot, effects] = step(sent, { kind: "nack", at: at(3), revision: 4n, diverged: true, busy: false, now });
    expect(kinds(effects)).toEqual(["refused", "send-snapshot"]);
    const [, after] = play(
      snapshot,
      { kind: "reading", to: at(4), now },
      { kind: "nack", at: at(3), revision: 4n, diverged: true, busy: false, now },
    );
    expect(kinds(after)).toEqual(["refused"]);
  });

  test("a new node that refused its first snapshot is sent one of the next revision", () => {
    const [greeted] = greet(origin, at(5));
    const nack: Event = { kind: "nack", at: origin, revision: 5n, diverged: false, busy: false, now };
    const [refusing, effects] = play(greeted, { kind: "reading", to: at(5), now }, nack);
    expect(kinds(effects)).toEqual(["refused"]);
    expect(kinds(step(refusing, { kind: "head", head: at(5), now })[1])).toEqual([]);
    expect(kinds(step(refusing, { kind: "head", head: at(6), now })[1])).toEqual(["send-snapshot"]);
  });

  test("a snapshot that was read in a later epoch than the known head is where the node then is", () => {
    const [greeted] = greet(origin, at(5));
    const later = at(5, { seq: 3n, id: "f".repeat(32) });
    const [, effects] = play(
      greeted,
      { kind: "reading", to: later, now },
      { kind: "ack", position: later, now },
      { kind: "head", head: later, now },
    );
    expect(effects).toEqual([]);
  });

  test("a busy node is sent nothing until its next Hello, and then just that", () => {
    const busy: Event = { kind: "nack", at: at(3), revision: 4n, diverged: false, busy: true, now };
    const [waiting, effects] = play(sent, busy);
    expect(kinds(effects)).toEqual(["refused"]);
    const finishing: Event = { kind: "heartbeat", position: at(4), now };
    expect(play(waiting, { kind: "head", head: at(5), now }, { kind: "resync", now }, finishing)[1]).toEqual([]);
  });

  test("a nack of what is not in flight ends the stream", () => {
    expect(kinds(step(sent, { kind: "nack", at: at(3), revision: 9n, diverged: false, busy: false, now })[1])).toEqual([
      "alarm",
      "end",
    ]);
  });
});

test("silence for three heartbeats ends the stream", () => {
  const [session] = greet(at(5), at(5));
  expect(kinds(step(session, { kind: "tick", now: now + 3 * heartbeatInterval })[1])).toEqual([]);
  expect(kinds(step(session, { kind: "tick", now: now + 3 * heartbeatInterval + 1 })[1])).toEqual(["end"]);
});

test("a heartbeat from another position than the proven one ends the stream", () => {
  const [session] = greet(at(5), at(5));
  expect(kinds(step(session, { kind: "heartbeat", position: at(4), now })[1])).toEqual(["alarm", "end"]);
});

test("for any events: at most one in flight, nothing backwards, no refused position resent to the same match", () => {
  const anyEvent = fc.oneof(
    fc.nat(8).map((n): Event => ({ kind: "head", head: at(n + 3), now })),
    fc.nat(8).map((n): Event => ({ kind: "ack", position: at(n + 3), now })),
    fc
      .tuple(fc.nat(8), fc.boolean())
      .map(
        ([n, diverged]): Event => ({ kind: "nack", at: at(3), revision: BigInt(n + 3), diverged, busy: false, now }),
      ),
    fc.constant<Event>({ kind: "too-large", now }),
    fc.nat(8).map((n): Event => ({ kind: "reading", to: at(n + 3), now })),
  );
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
      let [session] = greet(at(3), at(5));
      let refusedAtMatch = new Set<bigint>();
      for (const event of events) {
        // The store never reads an older state than a head that was told.
        if (event.kind === "reading" && event.to.revision < session.head.revision) continue;
        const before = session;
        const [next, effects] = step(session, event);
        session = next;
        if (effects.some(({ kind }) => kind === "end")) return;
        if (next.match?.revision !== before.match?.revision) refusedAtMatch = new Set();
        const sends = effects.filter(({ kind }) => kind === "send-delta" || kind === "send-snapshot");
        const freed = event.kind === "ack" || event.kind === "nack" || event.kind === "too-large";
        expect(sends.length).toBeLessThanOrEqual(before.sent && !freed ? 0 : 1);
        for (const effect of effects) {
          if (effect.kind === "send-delta") {
            expect(effect.to.revision).toBeGreaterThan(effect.from.revision);
            expect(refusedAtMatch.has(effect.to.revision)).toBe(false);
          }
          if (effect.kind === "refused") refusedAtMatch.add(effect.revision);
        }
      }
    }),
    { numRuns: 2000 },
  );
});

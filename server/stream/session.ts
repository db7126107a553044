/**
 * One open stream, as the server sees it: a pure machine. Constant size: what the node proved to hold (`match`), what is
 * in flight (`sent`), what it refused, and where it should be (`head`).
 *
 * Invariants (proto/README.md, section 5): one message in flight; `match` moves only on an ack of exactly what was sent;
 * a refused position is not sent again; nothing is ever sent that would take a node backwards.
 */

import { isLater, type Position, sameEpoch, samePosition } from "../../identity/position.ts";

/** How long a node may take to ack, in milliseconds: a delta, a snapshot. */
export const ackDeadline = { delta: 30_000, snapshot: 120_000 };

/** How often nodes say that they are alive, in milliseconds; three in a row missed is silence. */
export const heartbeatInterval = 5_000;

export interface Session {
  readonly head: Position;
  /** Its Hello was judged: before that nothing is known of the node, and nothing is sent. */
  readonly isGreeted: boolean;
  /** What the node proved to hold; undefined before its Hello, or if that position is not one of this log. */
  readonly match: Position | undefined;
  readonly sent: Sent | undefined;
  /** What the node refused since `match` last moved; the newest is not sent again. */
  readonly refused: readonly Position[];
  /** Only a snapshot can help, also if just that position was refused as a delta. */
  readonly needsSnapshot: boolean;
  /** The cluster's nodes know more than this server: nothing is sent to any of them. */
  readonly fenced: boolean;
  /** The node holds what this server never wrote: nothing is sent. */
  readonly ahead: Position | undefined;
  /** The node must finish something else first, and says Hello anew when it has: nothing is sent before. */
  readonly busy: boolean;
  readonly heardAt: number;
}

/** What is in flight; a snapshot's end is known once it is read from the store. */
export type Sent =
  | { readonly kind: "delta"; readonly to: Position; readonly at: number }
  | { readonly kind: "snapshot"; readonly to: Position | undefined; readonly at: number };

export type Event =
  | {
      readonly kind: "hello";
      readonly position: Position;
      /** Whether the log has that revision with that digest; and where its head was when this was read. */
      readonly known: boolean;
      readonly head: Position;
      /** What this very agent process refused on an earlier stream. */
      readonly refused: Position | undefined;
      /** An operator asked for a snapshot. */
      readonly resync: boolean;
      readonly now: number;
    }
  | { readonly kind: "head"; readonly head: Position; readonly now: number }
  | { readonly kind: "reading"; readonly to: Position; readonly now: number }
  | { readonly kind: "too-large"; readonly now: number }
  | { readonly kind: "ack"; readonly position: Position; readonly now: number }
  | {
      readonly kind: "nack";
      readonly at: Position;
      readonly revision: bigint;
      readonly diverged: boolean;
      /** Nothing is wrong with what was sent: the node has other work to finish. */
      readonly busy: boolean;
      readonly now: number;
    }
  | { readonly kind: "heartbeat"; readonly position: Position; readonly now: number }
  | { readonly kind: "resync"; readonly now: number }
  | { readonly kind: "tick"; readonly now: number };

export type Mode = "up-to-date" | "delta" | "snapshot" | "wait";

export type Effect =
  | { readonly kind: "welcome"; readonly mode: Mode }
  | { readonly kind: "send-delta"; readonly from: Position; readonly to: Position }
  | { readonly kind: "send-snapshot" }
  /** The node proved that it holds `position`; `by` says how it got there. */
  | { readonly kind: "acked"; readonly position: Position; readonly by: "delta" | "snapshot" | undefined }
  | { readonly kind: "refused"; readonly revision: bigint }
  /** Something that an honest, healthy node does not do, or that an operator must look at. */
  | { readonly kind: "alarm"; readonly reason: string }
  | { readonly kind: "end"; readonly reason: string };

export type Turn = readonly [Session, readonly Effect[]];

export function open(head: Position, now: number, fenced = false): Session {
  return {
    head,
    isGreeted: false,
    fenced,
    match: undefined,
    sent: undefined,
    refused: [],
    needsSnapshot: false,
    ahead: undefined,
    busy: false,
    heardAt: now,
  };
}

/** One turn: what the server now believes of the node, and what must be done about it. */
export function step(before: Session, event: Event): Turn {
  switch (event.kind) {
    case "hello":
      return hello(before, event);
    case "head":
      return moved(before, event);
    case "reading":
      return [reading(before, event), []];
    case "too-large":
      return pump({ ...before, sent: undefined, needsSnapshot: true }, event.now);
    case "ack":
      return ack({ ...before, heardAt: event.now }, event);
    case "nack":
      return nack({ ...before, heardAt: event.now }, event);
    case "heartbeat":
      return heartbeat({ ...before, heardAt: event.now }, event.position);
    case "resync":
      // What it refused stays known: it may heal, and ack just that, while the snapshot is on its way.
      return pump({ ...before, needsSnapshot: true }, event.now);
    case "tick":
      return tick(before, event.now);
  }
}

function hello(before: Session, event: Event & { kind: "hello" }): Turn {
  const { position, known } = event;
  const head = isLater(event.head, before.head) ? event.head : before.head;
  const session: Session = { ...before, head, isGreeted: true, heardAt: event.now };
  const needsSnapshot = event.resync || before.needsSnapshot;
  if (isForeign(position, head, known || needsSnapshot)) {
    const reason = "the node holds a position that this server never wrote: was it restored from a backup?";
    return [
      { ...session, ahead: position },
      [
        { kind: "welcome", mode: "wait" },
        { kind: "alarm", reason },
      ],
    ];
  }
  if (session.fenced) return [session, [{ kind: "welcome", mode: "wait" }]];
  const fits = known && sameEpoch(position.epoch, head.epoch);
  const next: Session = {
    ...session,
    match: fits ? position : undefined,
    refused: event.refused ? [event.refused] : [],
    needsSnapshot,
  };
  const mode: Mode = needsSnapshot || !fits ? "snapshot" : samePosition(position, head) ? "up-to-date" : "delta";
  const proven: Effect[] = fits ? [{ kind: "acked", position, by: undefined }] : [];
  const [pumped, effects] = pump(next, event.now);
  return [pumped, [{ kind: "welcome", mode }, ...proven, ...effects]];
}

/**
 * Whether a node holds what this log never wrote. A log that was put back from a backup grows past what its nodes hold, by
 * number: such a position is no less foreign than one beyond the head. `trusted`: the log has it, or an operator asked for a
 * snapshot in its place.
 */
function isForeign(position: Position, head: Position, trusted: boolean): boolean {
  if (position.epoch.seq !== head.epoch.seq) return position.epoch.seq > head.epoch.seq;
  return position.epoch.id !== head.epoch.id || position.revision > head.revision || !trusted;
}

function moved(before: Session, { head, now }: Event & { kind: "head" }): Turn {
  if (!before.isGreeted) return [{ ...before, head }, []];
  // No delta leads from one epoch into another: the node's next Hello begins anew. Inside one, the head only moves on.
  if (!sameEpoch(head.epoch, before.head.epoch)) return [before, [{ kind: "end", reason: "another epoch has begun" }]];
  if (before.fenced) return [{ ...before, head }, []];
  if (before.ahead) {
    const { revision } = before.ahead;
    const caughtUp = before.head.revision < revision && head.revision >= revision;
    const again: Effect[] = caughtUp ? [{ kind: "end", reason: "the server has caught up" }] : [];
    return [{ ...before, head }, again];
  }
  if (head.revision < before.head.revision) return [before, []];
  return pump({ ...before, head }, now);
}

/** A snapshot holds what the log held when it was read, which may be newer than the head that was known. */
function reading(session: Session, { to, now }: Event & { kind: "reading" }): Session {
  if (session.sent?.kind !== "snapshot") return session;
  return { ...session, head: isLater(to, session.head) ? to : session.head, sent: { ...session.sent, to, at: now } };
}

/** Sends what the node lacks, if nothing is in flight and the node did not refuse just that. */
function pump(session: Session, now: number): Turn {
  const { head, isGreeted, match, sent, needsSnapshot, refused, ahead, fenced, busy } = session;
  if (!isGreeted || sent || ahead || fenced || busy) return [session, []];
  if (refused.some((position) => samePosition(position, head)) && !needsSnapshot) return [session, []];
  // Without a match there is nothing to cut a delta from: also when its first snapshot was refused, and the head moved on.
  if (needsSnapshot || !match)
    return [{ ...session, sent: { kind: "snapshot", to: undefined, at: now } }, [{ kind: "send-snapshot" }]];
  if (samePosition(match, head)) return [session, []];
  return [{ ...session, sent: { kind: "delta", to: head, at: now } }, [{ kind: "send-delta", from: match, to: head }]];
}

function ack(session: Session, { position, now }: Event & { kind: "ack" }): Turn {
  const { sent, refused } = session;
  const inFlight = sent?.to !== undefined && samePosition(sent.to, position);
  // A node that refused for a passing reason (a full disk) goes on by itself, and acks when it got there.
  const healed = refused.find((candidate) => samePosition(candidate, position));
  // One that healed while it was sent the same as a snapshot says so twice.
  if (!inFlight && session.match && samePosition(session.match, position)) return [session, []];
  if (!inFlight && !healed) {
    const reason = `the node acks revision ${position.revision}, which it was not sent with that digest`;
    return [
      session,
      [
        { kind: "alarm", reason },
        { kind: "end", reason },
      ],
    ];
  }
  const by = inFlight ? sent?.kind : "delta";
  const settled: Session = {
    ...session,
    match: position,
    sent: inFlight ? undefined : sent,
    refused: [],
    // A delta that was on its way when a snapshot was asked for is not that snapshot.
    needsSnapshot: by === "delta" && session.needsSnapshot,
  };
  const [pumped, effects] = pump(settled, now);
  return [pumped, [{ kind: "acked", position, by }, ...effects]];
}

function nack(session: Session, event: Event & { kind: "nack" }): Turn {
  const { sent } = session;
  if (sent?.to === undefined || sent.to.revision !== event.revision) {
    const reason = `the node refuses revision ${event.revision}, which is not in flight`;
    return [
      session,
      [
        { kind: "alarm", reason },
        { kind: "end", reason },
      ],
    ];
  }
  if (event.busy) return [{ ...session, sent: undefined, busy: true }, [{ kind: "refused", revision: event.revision }]];
  // A delta that does not fit is answered by a snapshot, once; a refused snapshot waits for something new.
  // One that an operator asked for while the delta was on its way is still owed.
  const needsSnapshot = sent.kind === "delta" && (event.diverged || session.needsSnapshot);
  const refused = [...session.refused, sent.to].slice(-8);
  const [pumped, effects] = pump({ ...session, sent: undefined, refused, needsSnapshot }, event.now);
  return [pumped, [{ kind: "refused", revision: event.revision }, ...effects]];
}

/** Whether a node that said Hello holds what this log does not; by number a log that grew since it was restored reaches it. */
export function isAhead(session: Session, known: boolean): boolean {
  return session.ahead !== undefined || (session.fenced && !known);
}

/**
 * What is not to be sent to this run of the agent again, on no stream, by its nack of what is in flight. What a busy node turned
 * away, it takes later; what did not fit, it takes as a snapshot.
 */
export function refusedForGood({ sent }: Session, nack: { diverged: boolean; busy: boolean }): Position | undefined {
  return nack.busy || (nack.diverged && sent?.kind === "delta") ? undefined : sent?.to;
}

function heartbeat(session: Session, position: Position): Turn {
  const settled = session.match && !session.sent && !session.busy && session.refused.length === 0;
  if (!settled || !session.match || samePosition(session.match, position)) return [session, []];
  const reason = `the node says it holds revision ${position.revision}, but last proved ${session.match.revision}`;
  return [
    session,
    [
      { kind: "alarm", reason },
      { kind: "end", reason },
    ],
  ];
}

function tick(session: Session, now: number): Turn {
  const { sent, heardAt } = session;
  // A snapshot that waits for its turn is nothing that the node could ack.
  if (sent?.to && now - sent.at > ackDeadline[sent.kind]) {
    return [session, [{ kind: "end", reason: `no ack within ${ackDeadline[sent.kind] / 1000} s` }]];
  }
  if (now - heardAt > 3 * heartbeatInterval) return [session, [{ kind: "end", reason: "silent for three heartbeats" }]];
  return [session, []];
}

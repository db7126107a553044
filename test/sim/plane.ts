/** The control plane in the model: the real session machine for each stream, a log, and what is known of each node. */

import { type Position, sameEpoch, samePosition } from "../../identity/position.ts";
import { type Effect, type Event, isAhead, refusedForGood } from "../../server/stream/session.ts";
import type { Down, Link, Up } from "./link.ts";
import { Log, nameOf } from "./log.ts";
import type { Parts } from "./parts.ts";

/** What is known of a node, over its streams and over restarts: what the ledger keeps. */
export interface Entry {
  claim: Link | undefined;
  acked: Position | undefined;
  refusal: { readonly instance: number; readonly position: Position } | undefined;
  isBanned: boolean;
  isAhead: boolean;
  wantsResync: boolean;
  /** What a run of the agent refused and was not asked for again, as an onlooker remembers it. */
  readonly refused: Set<string>;
  refusedBy: number;
}

export class Plane {
  readonly log = new Log();
  readonly entries: Entry[];
  isFenced = false;
  /** Whether a backup was ever put back. */
  wasSetBack = false;
  now = 0;
  readonly #parts: Parts;
  readonly #breach: (what: string) => never;

  constructor(parts: Parts, nodes: number, breach: (what: string) => never) {
    this.#parts = parts;
    this.#breach = breach;
    this.entries = Array.from({ length: nodes }, () => newEntry());
  }

  entry(node: number): Entry {
    const entry = this.entries[node];
    if (!entry) throw new Error(`no node ${node}`);
    return entry;
  }

  /** Lets a node in: the newest stream of a node wins. Undefined: it is banned. */
  admit(node: number, instance: number): Link | undefined {
    const entry = this.entry(node);
    if (entry.isBanned) return undefined;
    if (entry.claim) this.end(entry.claim);
    const session = this.#parts.session.open(this.log.head, this.now, this.isFenced);
    const flags = { atServer: true, atNode: true, owesSnapshot: false, inFlight: 0 };
    entry.claim = { node, up: [], down: [], session, instance, ...flags };
    return entry.claim;
  }

  end(link: Link): void {
    link.atServer = false;
    const entry = this.entry(link.node);
    if (entry.claim === link) entry.claim = undefined;
  }

  endAll(): void {
    for (const { claim } of this.entries) if (claim) this.end(claim);
  }

  hear(link: Link): void {
    const message = link.up.shift();
    if (!message || !link.atServer) return;
    switch (message.kind) {
      case "hello":
        return this.#hello(link, message);
      case "ack":
        if (isOf(link.session.sent?.to, message.position)) link.inFlight--;
        return this.on(link, { ...message, now: this.now });
      case "nack":
        return this.#nack(link, message);
      case "heartbeat":
        return this.on(link, { ...message, now: this.now });
    }
  }

  on(link: Link, event: Event): void {
    const [session, effects] = this.#parts.session.step(link.session, event);
    link.session = session;
    this.#carryOut(link, effects);
  }

  tell(link: Link): void {
    this.on(link, { kind: "head", head: this.log.head, now: this.now });
  }

  /** Reads and sends the snapshot that a stream waits for. */
  serve(link: Link): void {
    if (!link.owesSnapshot) return;
    link.owesSnapshot = false;
    const read = this.log.snapshot();
    const { to } = read;
    const resources = this.#parts.readsSnapshots ? read.resources : [];
    this.on(link, { kind: "reading", to, now: this.now });
    this.#send(link, to, [
      { kind: "snapshot-begin", to, count: resources.length },
      { kind: "snapshot-chunk", resources: resources.slice(0, 3) },
      { kind: "snapshot-chunk", resources: resources.slice(3) },
      { kind: "snapshot-end", to },
    ]);
  }

  #hello(link: Link, { position, instance }: Up & { kind: "hello" }): void {
    const entry = this.entry(link.node);
    if (entry.refusedBy !== instance) entry.refused.clear();
    entry.refusedBy = instance;
    const [known, head] = [this.log.has(position), this.log.head];
    const refused = entry.refusal?.instance === instance ? entry.refusal.position : undefined;
    const resync = entry.wantsResync;
    const event = { kind: "hello", position, known, head, refused, resync, now: this.now } as const;
    const [session, effects] = this.#parts.session.step(link.session, event);
    link.session = session;
    if (!known) entry.acked = undefined;
    entry.isAhead = isAhead(session, known);
    if (session.ahead && (known || !this.wasSetBack))
      this.#breach("S8: a node of this log is taken for one that is ahead");
    const isUpToDate = samePosition(position, session.head) && !entry.wantsResync && !this.isFenced;
    this.#carryOut(link, effects);
    if (isUpToDate && (link.inFlight > 0 || link.owesSnapshot))
      this.#breach("P7: an equal position was sent something");
    this.#fence();
  }

  /** Two nodes that are ahead, or the only one: see threads.ts. */
  #fence(): void {
    const there = this.entries.filter(({ isBanned }) => !isBanned);
    const ahead = there.filter(({ isAhead, claim }) => isAhead && claim).length;
    if (this.isFenced || ahead === 0 || ahead < Math.min(2, there.length)) return;
    this.isFenced = true;
    this.endAll();
  }

  #nack(link: Link, nack: Up & { kind: "nack" }): void {
    const entry = this.entry(link.node);
    const { revision } = nack;
    if (link.session.sent?.to?.revision === revision) link.inFlight--;
    const position = refusedForGood(link.session, nack);
    if (position) {
      if (this.#parts.remembersRefusals) entry.refusal = { instance: link.instance, position };
      entry.refused.add(nameOf(position));
    }
    this.on(link, { ...nack, now: this.now });
  }

  #carryOut(link: Link, effects: readonly Effect[]): void {
    const entry = this.entry(link.node);
    for (const effect of effects) {
      if (!link.atServer) return;
      switch (effect.kind) {
        case "welcome":
          link.down.push({ kind: "welcome" });
          break;
        case "send-delta":
          if (!sameEpoch(effect.from.epoch, effect.to.epoch)) this.#breach("P5: a delta leads into another epoch");
          this.#send(link, effect.to, [{ kind: "delta", delta: this.log.delta(effect.from, effect.to) }]);
          break;
        case "send-snapshot":
          link.owesSnapshot = true;
          break;
        case "acked":
          this.#acked(entry, effect.position, effect.by);
          break;
        case "refused":
          break;
        case "alarm":
          if (!link.session.ahead) this.#breach(`an honest node is alarmed: ${effect.reason}`);
          break;
        case "end":
          this.end(link);
          break;
      }
    }
  }

  #acked(entry: Entry, position: Position, by: "delta" | "snapshot" | undefined): void {
    if (by !== undefined || !entry.refusal || entry.refusal.position.revision <= position.revision) {
      entry.refusal = undefined;
    }
    if (by !== undefined) entry.refused.clear();
    entry.acked = position;
    if (by === "snapshot") entry.wantsResync = false;
  }

  #send(link: Link, to: Position, messages: readonly Down[]): void {
    const entry = this.entry(link.node);
    if (!link.atServer) return;
    if (entry.isBanned) this.#breach("P11: a banned node is sent something");
    if (this.isFenced) this.#breach("S8: a fenced cluster's node is sent something");
    if (link.inFlight > 0) this.#breach("P1: two messages in flight");
    if (entry.refused.has(nameOf(to)) && !entry.wantsResync) this.#breach("P3: a refused position is sent again");
    link.inFlight++;
    link.down.push(...messages);
  }
}

function isOf(sent: Position | undefined, position: Position): boolean {
  return sent !== undefined && samePosition(sent, position);
}

export function newEntry(): Entry {
  return {
    claim: undefined,
    acked: undefined,
    refusal: undefined,
    isBanned: false,
    isAhead: false,
    wantsResync: false,
    refused: new Set(),
    refusedBy: 0,
  };
}

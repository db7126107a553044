/**
 * One open stream: feeds the session machine what the node says, and carries out what the machine wants. Holds no state of
 * its own beyond the session.
 */

import type { ServerDuplexStream } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Position } from "../../identity/position.ts";
import { Refusal, refuse } from "../../identity/refusal.ts";
import {
  type Ack,
  type Hello,
  type Nack,
  type SyncRequest,
  type SyncResponse,
  Welcome_Mode,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import type { Frame } from "../../proto/grpc.ts";
import { parsePosition, printMillis } from "../../proto/wire.ts";
import type { Entry, Ledger, Link } from "../rollout/ledger.ts";
import type { Store } from "../store/store.ts";
import { encode, type Frames } from "./frames.ts";
import type { Hub } from "./hub.ts";
import { type Effect, type Event, heartbeatInterval, type Mode, open, type Session, step } from "./session.ts";

export type SyncCall = ServerDuplexStream<SyncRequest, Frame<SyncResponse>>;

export interface SyncContext {
  readonly store: Store;
  readonly hub: Hub;
  readonly frames: Frames;
  readonly ledger: Ledger;
  readonly log: Logger;
  readonly now: () => number;
}

/** The protocol revision that this server speaks. */
export const protocol = 1;

const modes: Record<Mode, Welcome_Mode> = {
  "up-to-date": Welcome_Mode.UP_TO_DATE,
  delta: Welcome_Mode.DELTA,
  snapshot: Welcome_Mode.SNAPSHOT,
  wait: Welcome_Mode.WAIT,
};

/** Serves a node's stream until either side ends it. `until` is when its certificate ends, and with it the stream. */
export async function serve(ctx: SyncContext, call: SyncCall, entry: Entry, until: number): Promise<void> {
  const { cluster, role, name } = entry.node;
  const log = ctx.log.child({ node: name, role });
  const head = await ctx.hub.head(cluster, role);
  if (call.cancelled || call.destroyed) return;
  // Of two streams of one identity the newest wins: the older one is usually a connection that died unseen.
  entry.link?.end("another stream of this node took its place");
  const stream = new Stream(ctx, call, entry, log, open(head, ctx.now()));
  log.info({ peer: call.getPeer() }, "node connected");
  const following = ctx.hub.follow({ cluster, role, moved: (position) => stream.moved(position) });
  const ticking = setInterval(() => {
    if (ctx.now() >= until) stream.end("the client certificate has expired");
    else stream.on({ kind: "tick", now: ctx.now() });
  }, 1000);
  await new Promise<void>((resolve) => {
    call.on("data", (message: SyncRequest) => stream.hear(message));
    call.on("end", () => stream.end("the node ended the stream"));
    for (const event of ["cancelled", "close", "error"]) call.on(event, () => resolve());
  });
  clearInterval(ticking);
  following[Symbol.dispose]();
  stream.closed();
}

class Stream implements Link {
  readonly #ctx: SyncContext;
  readonly #call: SyncCall;
  readonly #entry: Entry;
  readonly #log: Logger;
  #session: Session;
  #greeted = false;
  #instance = "";
  #ended = false;

  constructor(ctx: SyncContext, call: SyncCall, entry: Entry, log: Logger, session: Session) {
    this.#ctx = ctx;
    this.#call = call;
    this.#entry = entry;
    this.#log = log;
    this.#session = session;
  }

  get ahead(): boolean {
    return this.#session.ahead !== undefined;
  }

  get head(): Position {
    return this.#session.head;
  }

  moved(head: Position): void {
    if (this.#greeted) this.on({ kind: "head", head, now: this.#ctx.now() });
    else this.#session = { ...this.#session, head };
  }

  resync(): void {
    if (this.#greeted) this.on({ kind: "resync", now: this.#ctx.now() });
  }

  end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#log.info({ reason }, "node's stream ends");
    this.#call.emit("error", { code: status.ABORTED, details: reason });
  }

  closed(): void {
    this.#ended = true;
    if (this.#entry.link === this) this.#ctx.ledger.note(this.#entry, { link: undefined, progress: {} });
    this.#log.info("node disconnected");
  }

  /** What the node says; anything that cannot be read ends the stream. */
  hear(message: SyncRequest): void {
    if (this.#ended) return;
    this.#ctx.ledger.heard(this.#entry);
    try {
      this.#parse(message);
    } catch (err) {
      if (!(err instanceof Refusal)) throw err;
      this.#log.warn({ reason: err.message }, "node sent a message that breaks the protocol");
      this.end(err.message);
    }
  }

  on(event: Event): void {
    if (this.#ended) return;
    const [session, effects] = step(this.#session, event);
    this.#session = session;
    for (const effect of effects) this.#carryOut(effect);
  }

  #parse({ say }: SyncRequest): void {
    if (!this.#greeted && say.case !== "hello") refuse("invalid", "the first message must be Hello");
    const now = this.#ctx.now();
    switch (say.case) {
      case "hello":
        if (this.#greeted) refuse("invalid", "Hello comes once, first");
        this.#greeted = true;
        return this.#hello(say.value, parsePosition(say.value.position));
      case "ack":
        this.#ack(say.value, now);
        return;
      case "nack":
        this.#nack(say.value, now);
        return;
      case "heartbeat":
        this.on({ kind: "heartbeat", position: parsePosition(say.value.position), now });
        return;
      case undefined:
        refuse("invalid", "a message of a kind that is not known here");
    }
  }

  #hello(hello: Hello, position: Position): void {
    if (hello.protocolMin > protocol || hello.protocolMax < protocol) {
      return this.end(
        `this server speaks protocol ${protocol}, the agent ${hello.protocolMin} to ${hello.protocolMax}`,
      );
    }
    this.#inBackground("greeting a node", () => this.#welcome(hello, position));
  }

  async #welcome(hello: Hello, position: Position): Promise<void> {
    const { cluster, role } = this.#entry.node;
    const record = await this.#ctx.store.read((tx) => tx.log.revision(cluster, position.revision));
    const there = record?.heads[role];
    const known = there?.epoch.id === position.epoch.id && there.digest === position.digest;
    const head = await this.#ctx.hub.head(cluster, role);
    if (this.#ended) return;
    this.#session = { ...this.#session, head };
    this.#instance = hello.instanceId;
    const { refusal, resync } = this.#entry;
    this.#ctx.ledger.note(this.#entry, {
      link: this,
      deliveredBy: undefined,
      latency: undefined,
      progress: { software: clean(hello.software), seenAt: this.#ctx.now() },
    });
    this.on({
      kind: "hello",
      position,
      known,
      refused: refusal?.instance === hello.instanceId ? refusal.position : undefined,
      resync,
      now: this.#ctx.now(),
    });
  }

  #ack(ack: Ack, now: number): void {
    const degraded = ack.sinks
      .filter(({ isolated }) => isolated.length > 0)
      .slice(0, 16)
      .map(({ sink, isolated }) => ({
        sink: clean(sink),
        isolated: isolated.slice(0, 100).map(({ key, reason }) => ({ key: clean(key), reason: clean(reason) })),
      }));
    this.#ctx.ledger.note(this.#entry, { progress: { degraded } });
    this.on({ kind: "ack", position: parsePosition(ack.position), now });
  }

  #nack(nack: Nack, now: number): void {
    const { sink, reason, refusedRevision: revision, retrying, diverged } = nack;
    const position = this.#session.sent?.to;
    if (position) this.#entry.refusal = { instance: this.#instance, position };
    const refused = { revision, sink: clean(sink), reason: clean(reason), at: now, retrying };
    this.#log.warn(
      { revision: String(revision), sink: refused.sink, reason: refused.reason, diverged },
      "node refused",
    );
    this.#ctx.ledger.note(this.#entry, { progress: { refused } });
    this.on({ kind: "nack", at: parsePosition(nack.at), revision, diverged, now });
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case "welcome":
        this.#send(
          encode({
            case: "welcome",
            value: {
              $typeName: "rollcall.v1.Welcome",
              mode: modes[effect.mode],
              protocol,
              node: this.#entry.node.name,
              heartbeatInterval: printMillis(heartbeatInterval),
            },
          }),
        );
        return;
      case "send-delta":
        return this.#inBackground("sending a delta", () => this.#sendDelta(effect.from, effect.to));
      case "send-snapshot":
        return this.#inBackground("sending a snapshot", () => this.#sendSnapshot());
      case "acked":
        return this.#inBackground("noting an ack", () => this.#acked(effect.position, effect.by));
      case "refused":
        return;
      case "alarm":
        this.#log.error({ reason: effect.reason }, "node needs attention");
        return;
      case "end":
        return this.end(effect.reason);
    }
  }

  async #sendDelta(from: Position, to: Position): Promise<void> {
    const { cluster, role } = this.#entry.node;
    const frame = await this.#ctx.frames.delta(cluster, role, from, to);
    if (frame) this.#send(frame);
    else this.on({ kind: "too-large", now: this.#ctx.now() });
  }

  async #sendSnapshot(): Promise<void> {
    const { cluster, role } = this.#entry.node;
    const { to, frames } = await this.#ctx.frames.snapshot(cluster, role, this.#session.head);
    this.on({ kind: "reading", to, now: this.#ctx.now() });
    for (const frame of frames) {
      if (this.#ended) return;
      if (!this.#send(frame)) await drained(this.#call);
    }
  }

  async #acked(position: Position, by: "delta" | "snapshot" | undefined): Promise<void> {
    const { ledger, now, store } = this.#ctx;
    const entry = this.#entry;
    // A Hello below what was refused proves only that the node is where it was: the refusal stands.
    const { refused } = entry.progress;
    const settles = by !== undefined || !refused || refused.revision <= position.revision;
    if (settles) entry.refusal = undefined;
    const isFirst = entry.progress.ackedAt === undefined;
    ledger.note(entry, {
      ...(by === undefined ? {} : { deliveredBy: by }),
      progress: {
        acked: position,
        ...(settles ? { refused: undefined } : {}),
        ...(by !== undefined || isFirst ? { ackedAt: now() } : {}),
      },
    });
    if (by === undefined) return;
    const latency = await ledger.latency(entry.node.cluster, position.revision);
    ledger.note(entry, { latency });
    if (by === "snapshot" && entry.resync) {
      entry.resync = false;
      await store.write((tx) => tx.nodes.setResync(entry.node.id, false));
    }
  }

  #inBackground(what: string, work: () => Promise<void>): void {
    work().catch((err: unknown) => {
      this.#log.error({ err, what }, "serving a node failed");
      this.end("internal");
    });
  }

  #send(frame: Buffer): boolean {
    return this.#ended ? true : this.#call.write(frame);
  }
}

/** Waits until a stream takes more; `drain` never comes once the peer is gone, so its end counts as well. */
async function drained(call: SyncCall): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      for (const event of ["drain", "cancelled", "close", "error"]) call.removeListener(event, done);
      resolve();
    };
    for (const event of ["drain", "cancelled", "close", "error"]) call.on(event, done);
  });
}

/** What a node says is for people to read, and a node may be hostile: printable, one line, short. */
function clean(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ")
    .slice(0, 500)
    .trim();
}

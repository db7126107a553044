/**
 * One open stream: feeds the session machine what the node says, and carries out what the machine wants. Holds no state of
 * its own beyond the session.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { type Position, samePosition } from "../../identity/position.ts";
import { Refusal, refuse } from "../../identity/refusal.ts";
import type { Role } from "../../identity/scope.ts";
import {
  type Ack,
  type Heartbeat,
  type Hello,
  type Nack,
  type SyncRequest,
  SyncRequestSchema,
  Welcome_Mode,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import { parseMessage, parsePosition, printMillis, protocols } from "../../proto/wire.ts";
import type { Reader } from "../store/store.ts";
import { clean } from "./clean.ts";
import type { Admission, Peer, StreamId } from "./control.ts";
import type { Desk } from "./desk.ts";
import { encode, type Frames } from "./frames.ts";
import { type Call, status } from "./grpc.ts";
import type { Heads } from "./heads.ts";
import { readReport } from "./report.ts";
import {
  type Effect,
  type Event,
  heartbeatInterval,
  isAhead,
  type Mode,
  open,
  refusedForGood,
  type Session,
  step,
} from "./session.ts";
import type { Turns } from "./turns.ts";

export type SyncCall = Pick<Call, "peer" | "listen" | "send" | "drained" | "end" | "isOver">;

export interface SyncContext {
  readonly reader: Reader;
  readonly desk: Desk;
  readonly heads: Heads;
  readonly frames: Frames;
  /** Who may be sent a snapshot now. */
  readonly turns: Turns;
  readonly log: Logger;
  /** Milliseconds from any beginning, which no setting of the clock moves: who was silent for how long. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
}

/** A stream that takes longer than this for one piece of a snapshot does not keep others waiting, in milliseconds. */
const patience = 5_000;

/** No agent has more sinks that follow by themselves, and none names more people. */
const mostSinks = 8;
const mostLingering = 1000;

const modes: Record<Mode, Welcome_Mode> = {
  "up-to-date": Welcome_Mode.UP_TO_DATE,
  delta: Welcome_Mode.DELTA,
  snapshot: Welcome_Mode.SNAPSHOT,
  wait: Welcome_Mode.WAIT,
};

/** An open stream, as the thread sees it that holds it. */
export interface OpenStream {
  /** Ends it; the node may come back, if its certificate is still good. */
  end(reason: string): void;
  /** Sends a snapshot. */
  resync(): void;
  /** Has the node renew its certificate within so many milliseconds. */
  renew(within: number): void;
  /** Called each second. */
  tick(): void;
}

/**
 * Lets a node in, and serves its stream until either side ends it, or its certificate does.
 * @throws Refusal `forbidden`: the certificate is not one that the node may use now.
 */
export async function serve(
  ctx: SyncContext,
  call: SyncCall,
  id: StreamId,
  identity: Peer,
  opened: (stream: OpenStream) => void,
): Promise<void> {
  const admission = await ctx.desk.ask("admit", { identity, stream: id });
  const { cluster, role, name } = admission.node;
  const stream = new Stream(ctx, call, id, admission, identity.notAfter);
  if (call.isOver) return stream.closed();
  opened(stream);
  ctx.log.info({ node: name, role, peer: call.peer }, "node connected");
  const following = ctx.heads.follow(cluster, role, admission.head, stream);
  await new Promise<void>((closed) => {
    call.listen({
      message: (bytes) => stream.hear(bytes),
      ended: () => stream.end("the node ended the stream"),
      closed,
    });
  });
  following[Symbol.dispose]();
  stream.closed();
}

class Stream implements OpenStream {
  readonly #ctx: SyncContext;
  readonly #call: SyncCall;
  readonly #id: StreamId;
  readonly #admission: Admission;
  /** When its certificate ends, and with it the stream. */
  readonly #until: number;
  #session: Session;
  #greeted = false;
  #instance = "";
  /** The revision of the protocol that both ends speak. */
  #protocol: number = protocols.oldest;
  #isDegraded = true;
  /** What was last noted of its sinks; undefined: nothing yet. */
  #sinks: string | undefined;
  #ended = false;
  #renewWithin: number | undefined;
  /** How it was welcomed. */
  #mode: Mode | undefined;

  constructor(ctx: SyncContext, call: SyncCall, id: StreamId, admission: Admission, until: number) {
    this.#ctx = ctx;
    this.#call = call;
    this.#id = id;
    this.#admission = admission;
    this.#until = until;
    this.#renewWithin = admission.renewWithin;
    this.#session = open(admission.head, ctx.now(), admission.fenced);
  }

  moved(head: Position): void {
    this.on({ kind: "head", head, now: this.#ctx.now() });
  }

  resync(): void {
    this.on({ kind: "resync", now: this.#ctx.now() });
  }

  renew(within: number): void {
    this.#renewWithin = within;
    if (this.#mode !== undefined) this.#welcomeAs(this.#mode);
  }

  tick(): void {
    if (this.#ctx.wall() >= this.#until) this.end("the client certificate has expired");
    else this.on({ kind: "tick", now: this.#ctx.now() });
  }

  end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#ctx.log.info({ ...this.#node(), reason }, "node's stream ends");
    this.#call.end(status.aborted, reason);
  }

  closed(): void {
    this.#ended = true;
    this.#ctx.desk.note(this.#id, { kind: "closed" });
    this.#ctx.log.info(this.#node(), "node disconnected");
  }

  /** What the node says; anything that cannot be read ends the stream. */
  hear(bytes: Uint8Array): void {
    if (this.#ended) return;
    try {
      this.#parse(parseMessage(SyncRequestSchema, bytes));
    } catch (err) {
      if (!(err instanceof Refusal)) throw err;
      this.#ctx.log.warn({ ...this.#node(), reason: err.message }, "node sent a message that breaks the protocol");
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
    // An ack says so by itself.
    if (say.case !== "ack") this.#ctx.desk.heard(this.#id);
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
        if (say.value.report) this.#ctx.desk.note(this.#id, { kind: "report", report: readReport(say.value.report) });
        this.#heartbeat(say.value, now);
        return;
      case undefined:
        refuse("invalid", "a message of a kind that is not known here");
    }
  }

  #hello(hello: Hello, position: Position): void {
    const { oldest, newest } = protocols;
    this.#protocol = Math.min(newest, hello.protocolMax);
    if (this.#protocol < Math.max(oldest, hello.protocolMin)) {
      const theirs = `${hello.protocolMin} to ${hello.protocolMax}`;
      return this.end(`this server speaks protocols ${oldest} to ${newest}, the agent ${theirs}`);
    }
    this.#inBackground("greeting a node", () => this.#welcome(hello, position));
  }

  async #welcome(hello: Hello, position: Position): Promise<void> {
    const { cluster, role } = this.#admission.node;
    // One state for both: a position of an epoch that has just ended is none that this log never wrote.
    const { there, head } = await this.#ctx.reader.read(async (tx) => ({
      there: (await tx.log.revision(cluster, position.revision))?.heads[role],
      head: (await tx.clusters.get(cluster))?.head[role] ?? this.#admission.head,
    }));
    if (this.#ended) return;
    const known = there !== undefined && samePosition(there, position);
    // It is kept, and a node may say anything.
    this.#instance = hello.instanceId.slice(0, 64);
    const { refusal, resync } = this.#admission;
    const refused = refusal?.instance === this.#instance ? refusal.position : undefined;
    const event = { kind: "hello", position, known, head, refused, resync, now: this.#ctx.now() } as const;
    const [session, effects] = step(this.#session, event);
    this.#session = session;
    const ahead = isAhead(session, known);
    const { highestUid, highestGid, comparing } = hello;
    const software = clean(hello.software);
    this.#ctx.desk.note(this.#id, {
      kind: "greeted",
      instance: this.#instance,
      software,
      highestUid,
      highestGid,
      epoch: position.epoch.seq,
      ahead,
      comparing,
      known,
    });
    for (const effect of effects) this.#carryOut(effect);
  }

  #ack(ack: Ack, now: number): void {
    const degraded = ack.sinks
      .filter(({ isolated }) => isolated.length > 0)
      .slice(0, 16)
      .map(({ sink, isolated }) => ({
        sink: clean(sink),
        isolated: isolated.slice(0, 100).map(({ key, reason }) => ({ key: clean(key), reason: clean(reason) })),
      }));
    // Nearly always there is nothing to tell; what an earlier stream told is taken back once.
    if (degraded.length > 0 || this.#isDegraded) this.#ctx.desk.note(this.#id, { kind: "degraded", degraded });
    this.#isDegraded = degraded.length > 0;
    const position = parsePosition(ack.position);
    const to = this.#session.sent?.to;
    // One object for the whole fleet: it crosses to the other thread once.
    this.on({ kind: "ack", position: to && samePosition(to, position) ? to : position, now });
  }

  #heartbeat({ position, sinks }: Heartbeat, now: number): void {
    this.on({ kind: "heartbeat", position: parsePosition(position), now });
    // That a node has none is told of controllers, and of who had one before: a whole fleet would say it at each start.
    const { node, followed } = this.#admission;
    if (sinks.length === 0 && this.#sinks === undefined && !followed && node.role !== "controller") return;
    const said = sinks.slice(0, mostSinks).map(({ sink, revision, reason, lingering }) => {
      return { sink: clean(sink), revision, reason: clean(reason), lingering: lingering.slice(0, mostLingering) };
    });
    const text = JSON.stringify(said.map(({ revision, ...each }) => ({ ...each, revision: String(revision) })));
    if (text === this.#sinks) return;
    this.#sinks = text;
    this.#ctx.desk.note(this.#id, { kind: "sinks", sinks: said });
  }

  #nack(nack: Nack, now: number): void {
    const { sink, reason, refusedRevision: revision, retrying, diverged } = nack;
    const position = refusedForGood(this.#session, nack);
    const refusal = position && { instance: this.#instance, position };
    const refused = { revision, sink: clean(sink), reason: clean(reason), at: this.#ctx.wall(), retrying };
    this.#ctx.log.warn(
      { ...this.#node(), revision: String(revision), sink: refused.sink, reason: refused.reason, diverged },
      "node refused",
    );
    this.#ctx.desk.note(this.#id, { kind: "refused", refused, refusal });
    this.on({ kind: "nack", at: parsePosition(nack.at), revision, diverged, busy: nack.busy, now });
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case "welcome":
        this.#mode = effect.mode;
        return this.#welcomeAs(effect.mode);
      case "send-delta":
        return this.#sendDelta(effect.from, effect.to);
      case "send-snapshot":
        return this.#inBackground("sending a snapshot", () => this.#sendSnapshot());
      case "acked":
        return this.#ctx.desk.note(this.#id, { kind: "acked", position: effect.position, by: effect.by });
      case "refused":
        return;
      case "alarm":
        this.#ctx.log.error({ ...this.#node(), reason: effect.reason }, "node needs attention");
        return;
      case "end":
        return this.end(effect.reason);
    }
  }

  #welcomeAs(mode: Mode): void {
    const within = this.#renewWithin;
    this.#send(
      encode({
        case: "welcome",
        value: {
          $typeName: "rollcall.v1.Welcome",
          mode: modes[mode],
          protocol: this.#protocol,
          node: this.#admission.node.name,
          heartbeatInterval: printMillis(heartbeatInterval),
          ...(within !== undefined && { renewWithin: printMillis(within) }),
        },
      }),
    );
  }

  #sendDelta(from: Position, to: Position): void {
    const { cluster, role } = this.#admission.node;
    const frame = this.#ctx.frames.delta(cluster, role, from, to);
    // Nearly always another stream has asked for the same one before, and it is there.
    if (Buffer.isBuffer(frame)) this.#send(frame);
    else {
      this.#inBackground("sending a delta", async () => {
        const made = await frame;
        if (made) this.#send(made);
        else this.on({ kind: "too-large", now: this.#ctx.now() });
      });
    }
  }

  async #sendSnapshot(): Promise<void> {
    const { cluster, role } = this.#admission.node;
    using turn = await this.#ctx.turns.take();
    if (this.#ended) return;
    const { to, frames } = await this.#ctx.frames.snapshot(cluster, role, this.#session.head);
    this.on({ kind: "reading", to, now: this.#ctx.now() });
    for (const frame of frames) {
      if (this.#ended) return;
      if (this.#send(frame)) continue;
      const isSlow = new AbortController();
      const wait = sleep(patience, undefined, { signal: isSlow.signal }).then(
        () => turn[Symbol.dispose](),
        () => undefined,
      );
      await this.#call.drained();
      isSlow.abort();
      await wait;
    }
  }

  #inBackground(what: string, work: () => Promise<void>): void {
    work().catch((err: unknown) => {
      this.#ctx.log.error({ ...this.#node(), err, what }, "serving a node failed");
      this.end("internal");
    });
  }

  #node(): { node: string; role: Role } {
    const { name, role } = this.#admission.node;
    return { node: name, role };
  }

  #send(frame: Buffer): boolean {
    return this.#ended ? true : this.#call.send(frame);
  }
}

/**
 * Follows the control plane until it is told to stop: connects, feeds the agent machine what it hears, and carries out
 * what the machine wants. Every failure is followed by another attempt, later each time; the node serves what it has
 * meanwhile.
 */

import { create } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { prepare, prepareSnapshot, type Step } from "../identity/copy.ts";
import { origin, samePosition } from "../identity/position.ts";
import { Refusal } from "../identity/refusal.ts";
import type { Resource } from "../identity/resource.ts";
import {
  IsolatedSchema,
  type NodeReport,
  SinkHealthSchema,
  SinkResultSchema,
  type SyncRequest,
  type SyncResponse,
  Welcome_Mode,
} from "../proto/gen/rollcall/v1/node_pb.ts";
import {
  parseDelta,
  parseMillis,
  parsePosition,
  parseResources,
  printMillis,
  printPosition,
  protocols,
} from "../proto/wire.ts";
import { type Agent, begin, type Effect, type Event, type Failure, type SinkReport, step } from "./agent.ts";
import { attempts, wait } from "./attempts.ts";
import type { Clock } from "./clock.ts";
import type { Membership } from "./membership.ts";
import type { Replica } from "./replica.ts";
import type { Observed } from "./reporter.ts";
import { mostLingering, type TrailingSink } from "./sink.ts";
import type { Stream, Uplink } from "./uplink.ts";

export interface FollowOptions {
  readonly replica: Replica;
  readonly membership: Pick<Membership, "connect" | "renewWithin" | "onRenewed">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Name and version, for operators. */
  readonly software: string;
  /** Random, new at each start. */
  readonly instance: string;
  /** Sinks of their own pace. */
  readonly trailing?: readonly TrailingSink[];
  /** It only compares: it serves nothing, and its acks count for no rollout. */
  readonly comparing?: boolean;
  /** What it sees on the node; another object whenever that changed. */
  readonly report?: () => NodeReport | undefined;
  /** Told of the server and of steps, as they come. */
  readonly observe?: (event: Observed) => void;
}

export async function follow(options: FollowOptions): Promise<void> {
  const follower = new Follower(options);
  options.membership.onRenewed(() => follower.move());
  for await (const attempt of attempts(options.clock, options.signal)) {
    const { greeted, retryWithin } = await follower.connection();
    if (greeted) attempt.settled();
    if (retryWithin !== undefined) attempt.retryWithin(retryWithin);
  }
  await follower.idle();
}

class Follower {
  readonly #options: FollowOptions;
  #agent: Agent;
  #stream: Stream | undefined;
  /** The apply that is being carried out; one at a time. */
  #working: Promise<void> = Promise.resolve();
  #stuck: Step | undefined;
  #beat = 5_000;
  /** When this node last said anything, by the clock that nobody sets. */
  #saidAt = 0;
  #retryWithin: number | undefined;
  #greeted = false;
  /** The stream shall go on over a connection with the newest certificate. */
  #moves = false;
  /** The server knows that this node holds what it says to hold: it was welcomed as such, or acked. */
  #isProven = false;
  /** What the server was last told that sinks cannot serve, as text; undefined: nothing by this run. */
  #told: string | undefined;
  /** What this stream was told of the node. */
  #reported: NodeReport | undefined;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#agent = begin(options.replica.at);
    options.replica.onReports(() => this.#tellAnew());
    for (const sink of options.trailing ?? []) {
      sink.onChange(() => {
        if (this.#greeted) this.#on({ kind: "beat" });
      });
    }
  }

  /** One connection, from its opening to its end. */
  async connection(): Promise<{ greeted: boolean; retryWithin: number | undefined }> {
    const { membership, log, signal, clock } = this.#options;
    const opened = await membership.connect().catch((err: unknown) => {
      log.warn({ err }, "not connected");
      this.#observe({ kind: "disconnected", because: err instanceof Error ? err.message : String(err) });
    });
    if (!opened || signal.aborted) return { greeted: false, retryWithin: undefined };
    using uplink = opened;
    const ended = new AbortController();
    this.#retryWithin = undefined;
    this.#greeted = false;
    this.#moves = false;
    this.#isProven = false;
    this.#reported = undefined;
    const closed = new Promise<void>((resolve) => {
      this.#stream = uplink.sync({
        heard: (message) => this.#hear(message),
        closed: (err) => {
          const because = err?.message ?? "the server ended the stream";
          if (this.#moves) log.info("going on with the renewed certificate");
          else {
            if (!signal.aborted) log.warn({ reason: because }, "not connected");
            this.#observe({ kind: "disconnected", because });
          }
          resolve();
        },
      });
    });
    const stop = (): void => this.#stream?.end();
    signal.addEventListener("abort", stop, { once: true });
    this.#on({ kind: "connected" });
    void this.#beats(clock, ended.signal);
    void this.#mustConnect(uplink, ended.signal);
    await closed;
    ended.abort();
    signal.removeEventListener("abort", stop);
    this.#stream = undefined;
    this.#on({ kind: "disconnected" });
    return { greeted: this.#greeted, retryWithin: this.#retryWithin };
  }

  /** Goes on over a new connection as soon as nothing is under way. */
  move(): void {
    this.#moves = true;
    this.#moveIfIdle();
  }

  #moveIfIdle(): void {
    const { work, incoming } = this.#agent;
    if (this.#moves && this.#greeted && work.kind === "idle" && !incoming) this.#stream?.end();
  }

  /** Resolves when no apply is under way. */
  async idle(): Promise<void> {
    await this.#working;
  }

  /** grpc-js waits for ever for an answer to its first bytes: the keepalive only begins when a connection stands. */
  async #mustConnect(uplink: Pick<Uplink, "isConnected">, signal: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(patience, signal);
    if (signal.aborted || uplink.isConnected) return;
    this.#options.log.warn({ seconds: patience / 1000 }, "no connection came to stand");
    this.#stream?.end();
  }

  /** Says that the node is there whenever it said nothing else for as long, or has something to tell of itself. */
  async #beats(clock: Clock, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const interval = this.#beat * (0.9 + 0.2 * clock.random());
      let rest = interval;
      do {
        await clock.sleep(rest, signal);
        if (signal.aborted) return;
        // The connection's own keepalive would have ended it, if the server had not answered that for eight seconds.
        if (this.#greeted) this.#observe({ kind: "heard" });
        rest = this.#saidAt + interval - clock.elapsed();
      } while (rest >= 1 && !this.#newsOfNode());
      this.#on({ kind: "beat" });
    }
  }

  #say(say: SyncRequest["say"]): void {
    this.#saidAt = this.#options.clock.elapsed();
    this.#stream?.say(say);
  }

  #observe(event: Observed): void {
    this.#options.observe?.(event);
  }

  #on(event: Event): void {
    const [agent, effects] = step(this.#agent, event);
    this.#agent = agent;
    for (const effect of effects) this.#carryOut(effect);
    this.#moveIfIdle();
  }

  #hear({ say }: SyncResponse): void {
    const { log } = this.#options;
    if (this.#greeted) this.#observe({ kind: "heard" });
    switch (say.case) {
      case "welcome":
        if (say.value.protocol < protocols.oldest || say.value.protocol > protocols.newest) {
          log.error({ protocol: say.value.protocol }, "the server speaks a protocol that is not known here");
          return this.#stream?.end();
        }
        this.#beat = Math.min(60_000, Math.max(1_000, parseMillis(say.value.heartbeatInterval)));
        if (!this.#greeted) log.info({ node: say.value.node, mode: say.value.mode }, "connected");
        this.#greeted = true;
        if (say.value.renewWithin) this.#options.membership.renewWithin(parseMillis(say.value.renewWithin));
        this.#observe({ kind: "connected", mode: modes[say.value.mode] ?? "unknown" });
        this.#on({ kind: "welcome" });
        this.#isProven = say.value.mode === Welcome_Mode.UP_TO_DATE || say.value.mode === Welcome_Mode.DELTA;
        // A delta will be acked by itself.
        if (say.value.mode === Welcome_Mode.UP_TO_DATE) this.#tellAnew();
        if (this.#options.trailing?.length) this.#on({ kind: "beat" });
        return;
      case "delta":
        return this.#read(say.value.to?.revision, () => ({ kind: "delta", delta: parseDelta(say.value) }));
      case "snapshotBegin":
        return this.#read(say.value.to?.revision, () => ({
          kind: "snapshot-begin",
          to: parsePosition(say.value.to),
          count: Number(say.value.resources),
        }));
      case "snapshotChunk":
        return this.#read(this.#agent.incoming?.to.revision, () => ({
          kind: "snapshot-chunk",
          resources: parseResources(say.value.resources),
        }));
      case "snapshotEnd":
        return this.#read(say.value.to?.revision, () => ({ kind: "snapshot-end", to: parsePosition(say.value.to) }));
      case "goAway":
        this.#retryWithin = Math.max(0, parseMillis(say.value.retryWithin));
        return;
      case undefined:
        log.warn("the server sent a message of a kind that is not known here");
        return this.#stream?.end();
    }
  }

  /** Parses what a server sent; what breaks a rule is refused whole, and changes nothing. */
  #read(revision: bigint | undefined, parse: () => Event): void {
    let event: Event;
    try {
      event = parse();
    } catch (err) {
      if (!(err instanceof Refusal)) throw err;
      this.#options.log.error({ reason: err.message }, "the server sent what this node may not take");
      event = { kind: "unreadable", revision: revision ?? 0n, reason: err.message };
    }
    this.#on(event);
  }

  #carryOut(effect: Effect): void {
    const { replica, software, instance, log, comparing = false } = this.#options;
    switch (effect.kind) {
      case "say-hello":
        return this.#say({
          case: "hello",
          value: {
            $typeName: "rollcall.v1.Hello",
            // A server that does not know of comparing nodes would count their acks.
            protocolMin: comparing ? 3 : protocols.oldest,
            protocolMax: protocols.newest,
            software,
            instanceId: instance,
            position: printPosition(this.#agent.at),
            highestUid: replica.highest.uid,
            highestGid: replica.highest.gid,
            comparing,
          },
        });
      case "say-ack":
        this.#isProven = true;
        this.#told = JSON.stringify(effect.reports);
        return this.#say({
          case: "ack",
          value: {
            $typeName: "rollcall.v1.Ack",
            position: printPosition(effect.at),
            applyTime: printMillis(effect.took),
            sinks: effect.reports.map(printReport),
          },
        });
      case "say-nack": {
        const { sink, reason, retrying } = effect.failure;
        log.warn({ revision: String(effect.revision), sink, reason, retrying }, "refused");
        if (!effect.busy) this.#refused(effect.revision, effect.failure);
        return this.#say({
          case: "nack",
          value: {
            $typeName: "rollcall.v1.Nack",
            at: printPosition(effect.at),
            refusedRevision: effect.revision,
            sink,
            reason,
            retrying,
            diverged: effect.diverged,
            busy: effect.busy,
          },
        });
      }
      case "hang-up":
        return this.#stream?.end();
      case "say-heartbeat": {
        const report = this.#newsOfNode();
        if (report) this.#reported = report;
        return this.#say({
          case: "heartbeat",
          value: {
            $typeName: "rollcall.v1.Heartbeat",
            position: printPosition(effect.at),
            sinks: (this.#options.trailing ?? []).flatMap(({ health }) =>
              health
                ? create(SinkHealthSchema, { ...health, lingering: health.lingering.slice(0, mostLingering) })
                : [],
            ),
            ...(report && { report }),
          },
        });
      }
      case "apply-delta":
        return this.#work(() => prepare(replica.copy, effect.delta));
      case "apply-snapshot":
        return this.#work(() => prepareSnapshot(replica.copy, effect.to, flatten(effect.resources)));
      case "try-again": {
        const stuck = this.#stuck;
        return this.#work(() => {
          if (!stuck) throw new Error("nothing to try again");
          return stuck;
        });
      }
      case "retry-later":
        void this.#options.clock
          .sleep(wait(effect.attempt, this.#options.clock.random()), this.#options.signal)
          .then(() => {
            if (!this.#options.signal.aborted) this.#on({ kind: "retry" });
          });
        return;
    }
  }

  /** What is seen on the node, if this stream was not told yet. */
  #newsOfNode(): NodeReport | undefined {
    const report = this.#options.report?.();
    return report === this.#reported ? undefined : report;
  }

  /** Acks again what it holds if sinks serve more of it, or less, than the server was told: a repair, or another policy. */
  #tellAnew(): void {
    const { replica } = this.#options;
    const { at, work, incoming, owesHello } = this.#agent;
    const isBusy = work.kind !== "idle" || incoming !== undefined || owesHello !== undefined;
    if (!this.#greeted || !this.#isProven || isBusy || samePosition(at, origin)) return;
    if (JSON.stringify(replica.reports) === this.#told) return;
    this.#carryOut({ kind: "say-ack", at, reports: replica.reports, took: 0 });
  }

  #refused(revision: bigint, { sink, reason, retrying }: Pick<Failure, "sink" | "reason" | "retrying">): void {
    this.#observe({ kind: "refused", refusal: { revision: String(revision), sink, reason, retrying } });
  }

  /** Checks and applies in the background; how it ended comes back as an event. */
  #work(check: () => Step): void {
    this.#working = this.#apply(check).then((event) => this.#on(event));
  }

  async #apply(check: () => Step): Promise<Event> {
    const { replica, clock, log } = this.#options;
    const from = clock.elapsed();
    try {
      const checked = check();
      this.#stuck = checked;
      const reports = await replica.apply(checked);
      this.#stuck = undefined;
      for (const sink of this.#options.trailing ?? []) sink.applied(checked);
      const took = Math.round(clock.elapsed() - from);
      log.info({ revision: String(replica.at.revision), edits: checked.edits.length, ms: took }, "applied");
      this.#observe({ kind: "applied" });
      return { kind: "applied", at: replica.at, reports, took };
    } catch (err) {
      const failure = replica.failureOf(err) ?? refusedBy(err);
      if (!failure) log.error({ err }, "applying failed");
      const { work } = this.#agent;
      // Also while nobody is there to be told.
      if (work.kind === "applying") this.#refused(work.to.revision, failure ?? bug);
      return { kind: "failed", failure: failure ?? bug };
    }
  }
}

/** How long a connection may take to stand, in milliseconds: of a fleet that comes back at once, the last waits for half of that. */
const patience = 30_000;

const modes: Readonly<Record<number, string>> = { 1: "up to date", 2: "delta", 3: "snapshot", 4: "wait" };

/** A failure that nobody foresaw: it is in the log whole, and is tried again, later each time. */
const bug: Failure = { sink: "agent", reason: "internal", retrying: true, begun: false, diverged: false };

function refusedBy(err: unknown): Failure | undefined {
  if (!(err instanceof Refusal)) return undefined;
  return { sink: "agent", reason: err.message, retrying: false, begun: false, diverged: err.reason === "conflict" };
}

function printReport({ sink, isolated }: SinkReport) {
  const entries = isolated.slice(0, 100).map(({ key, reason }) => create(IsolatedSchema, { key, reason }));
  return create(SinkResultSchema, { sink, isolated: entries });
}

function* flatten(chunks: readonly (readonly Resource[])[]): Generator<Resource> {
  for (const chunk of chunks) yield* chunk;
}

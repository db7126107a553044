/**
 * The writing thread's end of the node port: starts the threads that hold the streams, answers what they ask, keeps the
 * ledger by their notes, and tells them when a head moves. The store's writer, which blocks its thread, never stands
 * between an agent and its acknowledgement.
 */

import { Worker } from "node:worker_threads";
import type { Logger } from "pino";
import { Refusal, refuse } from "../../identity/refusal.ts";
import { roles } from "../../identity/scope.ts";
import type { Authority, NodeIdentity, Trusted } from "../authority/authority.ts";
import { type Issuer, vouch } from "../authority/kubernetes.ts";
import type { Context } from "../directory/context.ts";
import { fenceCluster } from "../directory/epochs.ts";
import { enrol, renew } from "../directory/nodes.ts";
import type { Entry, Ledger, Link } from "../rollout/ledger.ts";
import { rotationOf } from "../rollout/rotation.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Enrolment } from "../store/nodes.ts";
import type {
  Admission,
  FromStreams,
  Grant,
  Note,
  Peer,
  Question,
  Questions,
  ServerCredentials,
  StreamId,
  StreamsStart,
  ToStreams,
} from "./control.ts";
import { claim } from "./doors.ts";
import type { Hub } from "./hub.ts";

export interface NodePortOptions {
  readonly host: string;
  readonly port: number;
  /** The database file, which every thread reads by itself. */
  readonly database: string;
  readonly threads: number;
  readonly authority: Authority;
  readonly certificate: { readonly key: string; readonly cert: string };
}

export interface NodeThreads extends AsyncDisposable {
  readonly port: number;
  /** Tells every agent to come back later, then ends. */
  drain(): Promise<void>;
  /** Serves this certificate to new connections. */
  setCertificate(pair: { readonly key: string; readonly cert: string }): void;
  /** The same after the authorities changed: whose node's certificate is trusted no more is ended, everybody else renews. */
  rotate(pair: { readonly key: string; readonly cert: string }): void;
}

export interface ThreadsContext {
  /** Kubernetes clusters that may vouch for nodes. */
  readonly issuers: readonly Issuer[];
  readonly ctx: Context;
  readonly hub: Hub;
  readonly ledger: Ledger;
  readonly log: Logger;
}

/** How long each node of a fleet that renews out of turn adds to the time in which it does, in milliseconds. */
const renewingEach = 30;

/** So many snapshots are sent at once, by all threads together. */
const snapshotsAtOnce = 8;

/** So many sockets listen on the port, in all threads together: more than 10,000 nodes that come back at once find room. */
const doorsTogether = 4;

/** Listens for agents. Resolves once every thread does. */
export async function listen(shared: ThreadsContext, options: NodePortOptions): Promise<NodeThreads> {
  const { authority, certificate, database, host, threads } = options;
  const port = await claim({ host, port: options.port });
  const start: StreamsStart = {
    database,
    host,
    port,
    certificate: { key: certificate.key, cert: certificate.cert },
    caPem: authority.caPem,
    trustDomain: authority.trustDomain,
    doors: Math.ceil(doorsTogether / threads),
    snapshots: Math.max(1, Math.floor(snapshotsAtOnce / threads)),
  };
  const all = Array.from({ length: threads }, () => new Thread(shared, authority, start));
  const finish = async (how: "drain" | "stop"): Promise<void> => {
    await Promise.all(all.map((thread) => thread.finish(how)));
  };
  try {
    await Promise.all(all.map(({ listening }) => listening));
  } catch (err) {
    await finish("stop");
    throw err;
  }
  const show = (credentials: ServerCredentials): void => {
    for (const thread of all) thread.say({ kind: "credentials", ...credentials });
  };
  return {
    port,
    setCertificate: (pair) => show({ ...pair, caPem: authority.caPem, renewWithin: undefined }),
    rotate: (pair) => show({ ...pair, caPem: authority.caPem, renewWithin: renewWithin(shared.ledger) }),
    drain: () => finish("drain"),
    [Symbol.asyncDispose]: () => finish("stop"),
  };
}

/** A thread with streams, as the writing thread sees it. */
class Thread {
  readonly listening: Promise<void>;
  readonly #shared: ThreadsContext;
  readonly #authority: Authority;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  readonly #lines = new Map<StreamId, Line>();
  readonly #following = new Map<string, Disposable[]>();
  /** A thread that ends by itself in any other state takes the server with it. */
  #state: "starting" | "listening" | "finishing" = "starting";

  constructor(shared: ThreadsContext, authority: Authority, start: StreamsStart) {
    this.#shared = shared;
    this.#authority = authority;
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: start });
    this.#ended = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.listening = new Promise((resolve, reject) => {
      this.#worker.on("message", (message: FromStreams) => {
        if (message.kind !== "listening") return this.#hear(message);
        this.#state = "listening";
        return resolve();
      });
      this.#worker.on("error", (err) => {
        reject(err);
        // Agents of a thread that is gone would wait for a server that looks well: a restart takes seconds.
        if (this.#state === "listening") this.#fail(err);
      });
    });
    this.listening.catch(() => undefined);
  }

  say(message: ToStreams): void {
    this.#worker.postMessage(message);
  }

  async finish(how: "drain" | "stop"): Promise<void> {
    this.#state = "finishing";
    this.say({ kind: how });
    // One that never listened hears nothing, and has ended already.
    await this.#ended;
    for (const following of this.#following.values()) for (const each of following) each[Symbol.dispose]();
    for (const line of this.#lines.values()) this.#close(line);
  }

  #fail(err: unknown): void {
    this.#shared.log.fatal({ err }, "a thread with streams failed");
    process.exitCode = 1;
    process.kill(process.pid, "SIGTERM");
  }

  #hear(message: FromStreams): void {
    switch (message.kind) {
      case "ask":
        this.#answer(message.id, message.question, message.ask);
        return;
      case "notes":
        for (const [streams, note] of message.notes) for (const stream of streams) this.#note(stream, note);
        return;
      case "heard":
        for (const stream of message.streams) {
          const line = this.#lines.get(stream);
          if (line) this.#shared.ledger.heard(line.entry);
        }
        return;
      case "listening":
        return;
    }
  }

  #answer(id: number, question: Question, ask: unknown): void {
    const { log } = this.#shared;
    this.#ask(question, ask).then(
      (answer) => this.say({ kind: "answer", id, answer }),
      (err: unknown) => {
        const isOurs = !(err instanceof Refusal) || err.reason === "unavailable";
        if (isOurs) log.error({ err, question }, "answering a thread with streams failed");
        if (err instanceof Refusal) return this.say({ kind: "refusal", id, reason: err.reason, message: err.message });
        this.say({ kind: "failure", id });
      },
    );
  }

  async #ask(question: Question, ask: unknown): Promise<Questions[Question]["answer"]> {
    switch (question) {
      case "enrol":
        return this.#enrol(ask as Questions["enrol"]["ask"]);
      case "renew":
        return this.#renew(ask as Questions["renew"]["ask"]);
      case "admit":
        return this.#admit(ask as Questions["admit"]["ask"]);
    }
  }

  async #enrol({ joinToken, kubernetesToken, name, request, peer }: Questions["enrol"]["ask"]): Promise<Grant> {
    const { ctx, ledger, log } = this.#shared;
    const isConnected = (cluster: string, node: string): boolean => ledger.isConnected(cluster, node);
    if (joinToken !== "" && kubernetesToken !== "")
      refuse("invalid", "one of join_token and kubernetes_token, not both");
    const { issuers } = this.#shared;
    const proof = kubernetesToken === "" ? joinToken : await vouch(issuers, kubernetesToken, name);
    const { node, issued } = await enrol(ctx, proof, name, isConnected, (subject) =>
      this.#authority.issueNode(subject, request),
    );
    ledger.enrolled(node, false);
    log.info({ node: node.name, role: node.role, peer }, "node enrolled");
    return { chainPem: issued.chainPem, trustPem: issued.trustPem };
  }

  async #renew({ identity, request }: Questions["renew"]["ask"]): Promise<Grant> {
    const { ctx, ledger, log } = this.#shared;
    const cluster = await this.#cluster(identity);
    const entry = current(identity, await ledger.look(cluster.id, identity.node));
    const { node, issued } = await renew(ctx, entry.node, identity.serial, (subject) =>
      this.#authority.issueNode(subject, request),
    );
    ledger.enrolled(node, true);
    log.info({ node: node.name }, "node renewed its certificate");
    return { chainPem: issued.chainPem, trustPem: issued.trustPem };
  }

  async #admit({ identity, stream }: Questions["admit"]["ask"]): Promise<Admission> {
    const { hub, ledger } = this.#shared;
    const { id: cluster, fencedAt } = await this.#cluster(identity);
    const head = await hub.head(cluster, identity.role);
    // From here on nothing waits: who is banned before this is refused, who is after it has a claim that is ended.
    const entry = current(identity, await ledger.admit(cluster, identity.node));
    if (entry.node.serial === identity.serial) ledger.used(entry, identity.authority);
    const { node, resync, progress } = entry;
    this.#follow(cluster);
    const line = new Line(this, stream, entry, () => hub.known(cluster, node.role) ?? head);
    // Of two streams of one identity the newest wins: the older one is usually a connection that died unseen.
    entry.claim?.end("another stream of this node took its place");
    entry.claim = line;
    this.#lines.set(stream, line);
    const followed = progress.sinks !== undefined && progress.sinks.length > 0;
    const renews = isOutOfTurn(identity, node, this.#authority.trusted) ? renewWithin(ledger) : undefined;
    const fenced = fencedAt !== undefined;
    return { node, head, refusal: progress.refusal, resync, fenced, renewWithin: renews, followed };
  }

  /** @throws Refusal `forbidden`. */
  async #cluster({ cluster, node }: NodeIdentity): Promise<Cluster> {
    const found = await this.#shared.ctx.store.read((tx) => tx.clusters.byName(cluster));
    return found ?? refuse("forbidden", `${node} is of a cluster that is not there any more`);
  }

  #follow(cluster: string): void {
    if (this.#following.has(cluster)) return;
    const following = roles.map((role) =>
      this.#shared.hub.follow({
        cluster,
        role,
        moved: (head, urgent) => this.say({ kind: "head", cluster, role, head, urgent }),
      }),
    );
    this.#following.set(cluster, following);
  }

  /** What a stream says of its node. An older stream's last words say nothing about the newest. */
  #note(stream: StreamId, note: Note): void {
    const line = this.#lines.get(stream);
    if (!line) return;
    const { ledger } = this.#shared;
    const { entry } = line;
    if (note.kind === "closed") return this.#close(line);
    if (entry.claim !== line) return;
    switch (note.kind) {
      case "greeted":
        line.ahead = note.ahead;
        ledger.greeted(entry, line, note);
        if (note.ahead) this.#fence(entry.node.cluster);
        return;
      case "acked":
        ledger.acked(entry, note.position, note.by);
        return;
      case "degraded":
        ledger.note(entry, { progress: { degraded: note.degraded } });
        return;
      case "sinks":
        ledger.followed(entry, note.sinks);
        return;
      case "report":
        ledger.note(entry, { progress: { report: note.report } });
        return;
      case "refused":
        ledger.note(entry, { progress: { refused: note.refused, ...(note.refusal && { refusal: note.refusal }) } });
        return;
    }
  }

  /**
   * One node may lie, and must not stop a cluster; of a database that was restored, every node says so. Two are enough, or
   * the only one.
   */
  #fence(cluster: string): void {
    const { ctx, ledger, log } = this.#shared;
    const nodes = ledger.list(cluster).filter(({ state }) => state !== "banned");
    const ahead = nodes.filter(({ state }) => state === "ahead").length;
    if (ahead < Math.min(2, nodes.length)) return;
    fenceCluster(ctx, cluster).then(
      (isNew) => {
        if (!isNew) return;
        log.fatal({ cluster, ahead }, "nodes hold more than this database: it is fenced until rollcall-server restore");
        ledger.endAll(cluster, "the cluster is fenced: the server was restored from a backup");
      },
      (err: unknown) => log.error({ err, cluster }, "fencing a cluster failed"),
    );
  }

  #close(line: Line): void {
    this.#lines.delete(line.stream);
    if (line.entry.claim === line) line.entry.claim = undefined;
    if (line.entry.link === line) this.#shared.ledger.note(line.entry, { link: undefined, progress: {} });
  }
}

/** A fleet that renews is spread over a time that the writer and the handshakes are up to. */
function renewWithin(ledger: Ledger): number {
  return 1_000 + ledger.size * renewingEach;
}

/** Whether the authorities changed since a node was given the certificate that it comes with. */
function isOutOfTurn({ authority, serial }: Peer, node: Enrolment, trusted: Trusted): boolean {
  return serial !== node.serial || rotationOf({ ...node, authority }, trusted) !== "done";
}

/** Whose certificate it is, if it is the node's newest or the one before. @throws Refusal `forbidden`. */
function current({ node, role, serial }: NodeIdentity, entry: Entry | undefined): Entry {
  const isCurrent = entry && [entry.node.serial, entry.node.serialBefore].includes(serial);
  if (!entry || !isCurrent || entry.node.banned || entry.node.role !== role) {
    const reason = `the certificate of ${node} is banned or was replaced; enrol again with a new join token`;
    return refuse("forbidden", reason);
  }
  return entry;
}

/** A stream of some thread. */
class Line implements Link {
  ahead = false;
  readonly stream: StreamId;
  readonly entry: Entry;
  readonly #thread: Thread;
  readonly #head: () => Link["head"];

  constructor(thread: Thread, stream: StreamId, entry: Entry, head: () => Link["head"]) {
    this.#thread = thread;
    this.stream = stream;
    this.entry = entry;
    this.#head = head;
  }

  get head(): Link["head"] {
    return this.#head();
  }

  end(reason: string): void {
    this.#thread.say({ kind: "end", stream: this.stream, reason });
  }

  resync(): void {
    this.#thread.say({ kind: "resync", stream: this.stream });
  }
}

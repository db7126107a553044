/**
 * The ledger of nodes: who is enrolled, what each proved, what it refused, kept in memory and written behind in batches.
 * A lost batch loses nothing: a node says again where it is in its next Hello.
 */

import type { Logger } from "pino";
import type { Position, Revision } from "../../identity/position.ts";
import { sameEpoch, samePosition } from "../../identity/position.ts";
import { refuse } from "../../identity/refusal.ts";
import type { Actor } from "../directory/actor.ts";
import type { Context } from "../directory/context.ts";
import { banNode, resyncNode } from "../directory/nodes.ts";
import type { Cluster } from "../store/clusters.ts";
import { Kept } from "../store/kept.ts";
import { type Enrolment, type Node, type Progress, type SinkHealth, unseen } from "../store/nodes.ts";
import type { Fleet, NodeState, NodeStatus } from "./fleet.ts";
import { holds } from "./rollout.ts";

/** What is known of one node. */
export interface Entry {
  node: Enrolment;
  progress: Progress;
  resync: boolean;
  latency: number | undefined;
  deliveredBy: "delta" | "snapshot" | undefined;
  /** The newest stream that was let in, from before it says Hello: what must end it, ends this. */
  claim: Link | undefined;
  /** The open stream, if there is one that said Hello. */
  link: Link | undefined;
  heardSavedAt: number;
  /** How new what the database says of it is, as far as it was taken in. */
  touch: number;
  /** Another server holds its stream. */
  isElsewhere: boolean;
}

/** An open stream, as the ledger sees it. */
export interface Link {
  readonly ahead: boolean;
  readonly head: Position;
  /** Ends the stream; the node may come back, if its certificate is still good. */
  end(reason: string): void;
  /** Sends a snapshot. */
  resync(): void;
}

/** What a node says first, and whether the log has the position that it says. */
export interface Greeting
  extends Pick<Progress, "software" | "highestUid" | "highestGid" | "epoch" | "ahead" | "comparing"> {
  readonly known: boolean;
  readonly instance: string;
}

/** Revisions that nodes are acknowledging at one time. */
const mostCommits = 64;

const heardSaveInterval = 60_000;

/** A stream that another server holds is heard of at least so often, in milliseconds; else that server is gone. */
const silentElsewhere = 2.5 * heardSaveInterval;

/** How many nodes' progress one transaction writes. */
const savedAtOnce = 100;

export class Ledger implements Fleet, AsyncDisposable {
  readonly #ctx: Context;
  readonly #log: Pick<Logger, "error">;
  readonly #entries = new Map<string, Map<string, Entry>>();
  readonly #listeners = new Set<(cluster: string) => void>();
  readonly #unsaved = new Set<Entry>();
  /** Clusters as other servers left them, at the last refresh. */
  #clusters: ReadonlyMap<string, Cluster> = new Map();
  /** When revisions were committed, in milliseconds since 1970; undefined: the log does not say. */
  readonly #commits = new Kept<number | undefined>(mostCommits);
  #saving: Promise<void> | undefined;
  /** What this server is called in a database that several share. */
  readonly #server: string;
  /** The newest touch that was taken in. */
  #touch = 0;

  /** `log` is told what fails behind the caller's back. */
  constructor(ctx: Context, log: Pick<Logger, "error">) {
    this.#ctx = ctx;
    this.#log = log;
    this.#server = ctx.store.isShared ? ctx.newId() : "";
  }

  async load(): Promise<void> {
    this.#takeAll(await this.#ctx.store.read((tx) => tx.nodes.all()));
  }

  /** Takes in what other servers wrote since the last time: of nodes, and which clusters are fenced. */
  async refresh(): Promise<void> {
    const { nodes, clusters } = await this.#ctx.store.read(async (tx) => ({
      nodes: await tx.nodes.touchedAfter(this.#touch),
      clusters: await tx.clusters.list({ offset: 0, limit: 100_000 }),
    }));
    this.#takeAll(nodes);
    const before = this.#clusters;
    this.#clusters = new Map(clusters.map((cluster) => [cluster.id, cluster]));
    for (const { id, fencedAt } of clusters) {
      if (fencedAt !== undefined && before.get(id)?.fencedAt === undefined) this.endAll(id, "the cluster is fenced");
    }
    for (const id of new Set(nodes.map(({ cluster }) => cluster))) this.#changed(id);
  }

  /** The node as it is now, whoever wrote it; of several servers this one then holds its stream. */
  async admit(cluster: string, name: string): Promise<Entry | undefined> {
    if (!this.#ctx.store.isShared) return this.entry(cluster, name);
    const node = await this.#ctx.store.write((tx) => tx.nodes.claim(cluster, name, this.#server));
    return node && this.#take(node);
  }

  /** The node as it is now, whoever wrote it. */
  async look(cluster: string, name: string): Promise<Entry | undefined> {
    if (!this.#ctx.store.isShared) return this.entry(cluster, name);
    const node = await this.#ctx.store.read((tx) => tx.nodes.byName(cluster, name));
    return node && this.#take(node);
  }

  /** Takes in a new or renewed enrolment, after its transaction. */
  enrolled(node: Enrolment, renewed: boolean): void {
    const entry = this.entry(node.cluster, node.name);
    if (entry && renewed) entry.node = node;
    else {
      entry?.claim?.end("the node enrolled anew");
      this.#cluster(node.cluster).set(node.name, newEntry(node, unseen, false));
    }
    this.#changed(node.cluster);
  }

  /** Notes that a node uses its newest certificate, which is of this authority. */
  used(entry: Entry, authority: string): void {
    const { id, serial } = entry.node;
    if (entry.node.authority === authority) return;
    entry.node = { ...entry.node, authority };
    this.#behind(this.#ctx.store.write((tx) => tx.nodes.used(id, serial, authority)));
  }

  /** How many nodes there are, of all clusters. */
  get size(): number {
    return this.#entries.values().reduce((sum, nodes) => sum + nodes.size, 0);
  }

  /** Whether every node whose stream is here proved that it holds a revision, or a newer one. */
  isHeld(cluster: string, { epoch, revision }: Pick<Position, "epoch" | "revision">): boolean {
    const nodes = this.#entries.get(cluster)?.values() ?? [];
    for (const entry of nodes) if (entry.link && !holds(entry, epoch, revision)) return false;
    return true;
  }

  entry(cluster: string, name: string): Entry | undefined {
    return this.#entries.get(cluster)?.get(name);
  }

  /** Whether any server holds a stream of a node. */
  isConnected(cluster: string, name: string): boolean {
    const entry = this.entry(cluster, name);
    return entry?.claim !== undefined || entry?.isElsewhere === true;
  }

  /** Notes something new about a node. */
  note(entry: Entry, change: Partial<Omit<Entry, "node" | "progress">> & { progress?: Partial<Progress> }): void {
    const { progress, ...rest } = change;
    Object.assign(entry, rest);
    if (progress) {
      entry.progress = { ...entry.progress, ...progress };
      this.#unsaved.add(entry);
    }
    this.#changed(entry.node.cluster);
  }

  /** Ends every open stream of a cluster. */
  endAll(cluster: string, reason: string): void {
    for (const { claim } of this.#entries.get(cluster)?.values() ?? []) claim?.end(reason);
  }

  /** Notes that a node was heard. Nobody is told, and it is written at most once a minute: a fleet's heartbeats are many. */
  heard(entry: Entry): void {
    const now = this.#ctx.now();
    entry.progress = { ...entry.progress, seenAt: now };
    if (now - entry.heardSavedAt < heardSaveInterval) return;
    entry.heardSavedAt = now;
    this.#unsaved.add(entry);
  }

  /** Takes in a stream whose node said Hello. One that lost its memory holds nothing any more of what it once proved. */
  greeted(entry: Entry, link: Link, said: Greeting): void {
    const instances = this.#meet(entry, said.instance);
    const { software, highestUid, highestGid, epoch, ahead, comparing, known } = said;
    const holds = known ? {} : { acked: undefined, ackedAt: undefined };
    const told = { instances, software, highestUid, highestGid, epoch, ahead, comparing };
    const progress = { ...told, seenAt: this.#ctx.now(), ...holds };
    this.note(entry, { link, deliveredBy: undefined, latency: undefined, progress });
  }

  /** Notes that a node proved to hold a position: as it said Hello (`by` is undefined), or after it was sent something. */
  acked(entry: Entry, position: Position, by: "delta" | "snapshot" | undefined): void {
    // A Hello below what was refused proves only that the node is where it was: the refusal stands.
    const { refused } = entry.progress;
    const settles = by !== undefined || !refused || refused.revision <= position.revision;
    const isFirst = entry.progress.ackedAt === undefined;
    const isOtherLife = entry.progress.acked && !sameEpoch(entry.progress.acked.epoch, position.epoch);
    const now = this.#ctx.now();
    this.note(entry, {
      ...(by === undefined ? {} : { deliveredBy: by }),
      progress: {
        acked: position,
        seenAt: now,
        ...(settles ? { refused: undefined, refusal: undefined } : {}),
        ...(by !== undefined || isFirst ? { ackedAt: now } : {}),
        // What a sink said counts in the epoch that is past.
        ...(isOtherLife ? { sinks: entry.progress.sinks?.map((sink) => ({ ...sink, revision: 0n })) } : {}),
      },
    });
    if (by === undefined) return;
    this.#time(entry, position.revision, now);
    if (by === "snapshot" && entry.resync) {
      entry.resync = false;
      this.#behind(this.#ctx.store.write((tx) => tx.nodes.setResync(entry.node.id, false)));
    }
  }

  /** Notes how far sinks are that follow by themselves, and since when each gives the reason that it gives. */
  followed(entry: Entry, said: readonly Omit<SinkHealth, "since">[]): void {
    const known = new Map(entry.progress.sinks?.map((each) => [each.sink, each]));
    const now = this.#ctx.now();
    const sinks = said.map((each) => {
      const before = known.get(each.sink);
      const since = before?.reason === each.reason ? before.since : now;
      return { ...each, since: each.reason === "" ? undefined : since };
    });
    this.note(entry, { progress: { sinks } });
  }

  /**
   * Writes what some nodes are known to hold, those first that waited longest; called on a timer. However many nodes there
   * are and however often they ack, commands wait for no more than these.
   */
  save(): Promise<void> {
    this.#saving ??= this.#saveSome().finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }

  async #saveSome(): Promise<void> {
    const batch = [...take(this.#unsaved, savedAtOnce)];
    if (batch.length === 0) return;
    for (const entry of batch) this.#unsaved.delete(entry);
    try {
      await this.#ctx.store.write(async (tx) => {
        for (const { node, progress, claim } of batch) {
          await tx.nodes.putProgress(node.id, progress, this.#server, claim !== undefined);
        }
      });
    } catch (cause) {
      for (const entry of batch) this.#unsaved.add(entry);
      throw new Error("write progress", { cause });
    }
  }

  /** Every node of a cluster, in no order. */
  *each(cluster: string): Generator<NodeStatus> {
    for (const entry of this.#entries.get(cluster)?.values() ?? []) yield this.#status(entry);
  }

  list(cluster: string): readonly NodeStatus[] {
    const entries = [...(this.#entries.get(cluster)?.values() ?? [])];
    return entries.sort((a, b) => (a.node.name < b.node.name ? -1 : 1)).map((entry) => this.#status(entry));
  }

  find(cluster: string, name: string): NodeStatus | undefined {
    const entry = this.entry(cluster, name);
    return entry && this.#status(entry);
  }

  async resync(actor: Actor, cluster: string, name: string): Promise<void> {
    const entry = this.entry(cluster, name) ?? refuse("not-found", `no node ${name}`);
    await resyncNode(this.#ctx, actor, entry.node);
    entry.resync = true;
    entry.claim?.resync();
  }

  async ban(actor: Actor, cluster: string, name: string): Promise<void> {
    const entry = this.entry(cluster, name) ?? refuse("not-found", `no node ${name}`);
    await banNode(this.#ctx, actor, entry.node);
    entry.node = { ...entry.node, banned: true };
    entry.claim?.end("the node is banned");
    this.#changed(cluster);
  }

  onChange(listener: (cluster: string) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#saving;
    while (this.#unsaved.size > 0) await this.save();
  }

  /**
   * A run of an agent never comes back after the next one: if it does, both are there, with one node's key. Also if each of
   * them goes to a server of its own: what the database says of the node came with its admission.
   */
  #meet({ node: { cluster, name }, progress: { instances } }: Entry, instance: string): Progress["instances"] {
    const [now, before] = instances;
    if (instance === now) return instances;
    if (instance === before) this.#log.error({ cluster, node: name }, "two agents have one node's identity");
    return [instance, now];
  }

  /** Notes how long a revision took to a node. A whole fleet acks the same one: its commit is read once. */
  #time(entry: Entry, revision: Revision, ackedAt: number): void {
    const { cluster } = entry.node;
    const committed = this.#commits.once(`${cluster} ${revision}`, async () => {
      return (await this.#ctx.store.read((tx) => tx.log.revision(cluster, revision)))?.committedAt;
    });
    const latency = (at: number | undefined) => (at === undefined ? undefined : Math.max(0, ackedAt - at));
    if (committed instanceof Promise) {
      this.#behind(committed.then((at) => this.note(entry, { latency: latency(at) })));
    } else entry.latency = latency(committed);
  }

  #behind(work: Promise<unknown>): void {
    work.catch((err: unknown) => this.#log.error({ err }, "noting a node's progress failed"));
  }

  #cluster(cluster: string): Map<string, Entry> {
    const nodes = this.#entries.get(cluster) ?? new Map<string, Entry>();
    this.#entries.set(cluster, nodes);
    return nodes;
  }

  #status(entry: Entry): NodeStatus {
    const { node, progress, latency, deliveredBy } = entry;
    return { node, state: stateOf(entry, entry.link ?? this.#linkElsewhere(entry)), progress, latency, deliveredBy };
  }

  #linkElsewhere({ isElsewhere, node, progress }: Entry): Pick<Link, "ahead" | "head"> | undefined {
    const head = this.#clusters.get(node.cluster)?.head[node.role];
    const { seenAt, ahead } = progress;
    if (!isElsewhere || !head || seenAt === undefined) return undefined;
    return this.#ctx.now() - seenAt < silentElsewhere ? { head, ahead } : undefined;
  }

  #takeAll(nodes: readonly Node[]): void {
    for (const node of nodes) {
      this.#touch = Math.max(this.#touch, node.touch);
      this.#take(node);
    }
  }

  /**
   * Takes in what the database says of a node. What this server's own stream told is newer than what was written of it; a
   * stream that another server took over is ended.
   */
  #take({ progress, resync, claimedBy, touch, ...node }: Node): Entry {
    const nodes = this.#cluster(node.cluster);
    const named = nodes.get(node.name);
    const known = named?.node.id === node.id ? named : undefined;
    if (known && known.touch >= touch) return known;
    if (!known) named?.claim?.end("the node enrolled anew");
    const entry = known ?? newEntry(node, progress, resync);
    nodes.set(node.name, entry);
    const isOurs = claimedBy === undefined || claimedBy === this.#server;
    if (resync && !entry.resync) entry.claim?.resync();
    Object.assign(entry, { node, resync, touch });
    if (node.banned) entry.claim?.end("the node is banned");
    if (!isOurs) {
      entry.claim?.end("another stream of this node took its place");
      this.#unsaved.delete(entry);
    }
    entry.isElsewhere = !isOurs;
    if (!entry.claim && !this.#unsaved.has(entry)) entry.progress = progress;
    return entry;
  }

  #changed(cluster: string): void {
    for (const listener of this.#listeners) listener(cluster);
  }
}

function* take<T>(of: Iterable<T>, most: number): Generator<T> {
  let count = 0;
  for (const one of of) {
    if (count++ === most) return;
    yield one;
  }
}

function newEntry(node: Enrolment, progress: Progress, resync: boolean): Entry {
  return {
    node,
    progress,
    resync,
    latency: undefined,
    deliveredBy: undefined,
    claim: undefined,
    link: undefined,
    heardSavedAt: 0,
    touch: 0,
    isElsewhere: false,
  };
}

function stateOf({ node, progress }: Entry, stream: Pick<Link, "ahead" | "head"> | undefined): NodeState {
  if (node.banned) return "banned";
  if (!stream) return progress.seenAt === undefined ? "pending" : "stale";
  if (stream.ahead) return "ahead";
  const isCurrent = progress.acked !== undefined && samePosition(progress.acked, stream.head);
  if (progress.refused && !isCurrent) return "refused";
  if (progress.comparing) return "comparing";
  return isCurrent ? "current" : "updating";
}

/**
 * Lets associations in once nodes know their people, and leavers out once Slurm has let go of their jobs. What waits is in the
 * database, and how far nodes are in the ledger: the usher only looks, whenever one of the two has changed and each second
 * at least, so a restart forgets nothing. Several servers may look at the same: see directory/passages.ts.
 */

import type { Logger } from "pino";
import type { Context } from "../directory/context.ts";
import { letIn, letOut } from "../directory/passages.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Passage } from "../store/passages.ts";
import type { Fleet, NodeStatus } from "./fleet.ts";
import { type Reach, survey, type Turn, turnIn, turnOut } from "./reach.ts";

/** The nodes of a cluster, and when something of them changed. */
export interface Watched extends Pick<Fleet, "onChange"> {
  each(cluster: string): Iterable<NodeStatus>;
}

/** A cluster is looked at at most this often, in milliseconds: ten thousand acks are not ten thousand looks. */
const breath = 20;

/** Of many who wait, or in a large fleet, a look takes long: the next one waits so many times as long, and leaves the thread to others. */
const rests = 9;

/** How often it is looked whatever happens, in milliseconds: doorbells may be lost, and limits pass. */
const lookEvery = 1000;

/** One revision brings or takes at most so many: it must fit a message. */
const mostAtOnce = 5000;

export class Usher implements AsyncDisposable {
  readonly #ctx: Context;
  readonly #fleet: Watched;
  readonly #log: Pick<Logger, "warn" | "error">;
  /** What was last read to be on its way, by cluster; a cluster that is not here has nothing. */
  readonly #waiting = new Map<string, readonly Passage[]>();
  readonly #stopping = new DisposableStack();
  readonly #due = new Set<string>();
  #work: Promise<void> = Promise.resolve();
  /** How long the last look took, in milliseconds. */
  #took = 0;
  #isTroubled = false;

  constructor(ctx: Context, fleet: Watched, log: Pick<Logger, "warn" | "error">) {
    this.#ctx = ctx;
    this.#fleet = fleet;
    this.#log = log;
  }

  /** Looks whenever there may be something to do, until it is disposed of. */
  start(): void {
    const { store } = this.#ctx;
    this.#stopping.use(store.onAppend((cluster) => this.#schedule(cluster)));
    this.#stopping.use(this.#fleet.onChange((cluster) => this.#waiting.has(cluster) && this.#schedule(cluster)));
    const poll = setInterval(() => this.#queue(() => this.look()), lookEvery);
    this.#stopping.defer(() => clearInterval(poll));
    this.#queue(() => this.look());
  }

  /** Looks at every cluster in which anything is on its way, and does what is due. */
  async look(): Promise<void> {
    const clusters = await this.#ctx.store.read((tx) => tx.passages.clusters());
    for (const cluster of new Set([...clusters, ...this.#waiting.keys()])) await this.#lookAt(cluster);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.dispose();
    await this.#work;
  }

  #schedule(cluster: string): void {
    if (this.#due.has(cluster) || this.#stopping.disposed) return;
    this.#due.add(cluster);
    setTimeout(
      () => {
        this.#due.delete(cluster);
        this.#queue(() => this.#lookAt(cluster));
      },
      Math.max(breath, this.#took * rests),
    );
  }

  /** One look after another; what fails is tried again by the next. */
  #queue(look: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#stopping.disposed) return;
      try {
        await look();
        this.#isTroubled = false;
      } catch (err) {
        if (!this.#isTroubled) this.#log.error({ err }, "looking whose turn has come in Slurm failed");
        this.#isTroubled = true;
      }
    });
  }

  async #lookAt(id: string): Promise<void> {
    const began = performance.now();
    await this.#letPass(id);
    this.#took = performance.now() - began;
  }

  async #letPass(id: string): Promise<void> {
    const { cluster, passages } = await this.#ctx.store.read(async (tx) => {
      return { cluster: await tx.clusters.get(id), passages: await tx.passages.all(id) };
    });
    if (passages.length === 0) this.#waiting.delete(id);
    else this.#waiting.set(id, passages);
    // Nothing reaches the nodes of a fenced cluster, and what they say is of another life of the log.
    if (!cluster || cluster.fencedAt !== undefined || passages.length === 0) return;
    const reach = survey(this.#fleet.each(id), cluster.head.login.epoch);
    await this.#letIn(cluster, passages, reach);
    await this.#letOut(cluster, passages, reach);
  }

  async #letIn(cluster: Cluster, passages: readonly Passage[], reach: Reach): Promise<void> {
    const now = this.#ctx.now();
    const due = goers(passages, "in", (passage) => turnIn(reach, passage, now, cluster.settings.slurm));
    if (due.passages.length === 0) return;
    const done = await letIn(this.#ctx, cluster.id, due.passages, due.without);
    if (done === 0 || due.without.length === 0) return;
    const fields = { cluster: cluster.name, nodes: due.without.slice(0, 100), associations: done };
    this.#log.warn(fields, "associations were sent before some nodes knew their people");
  }

  async #letOut(cluster: Cluster, passages: readonly Passage[], reach: Reach): Promise<void> {
    const now = this.#ctx.now();
    const due = goers(passages, "out", (passage) => turnOut(reach, passage, now, cluster.settings.slurm));
    if (due.passages.length === 0) return;
    const done = await letOut(this.#ctx, cluster.id, due.passages, due.without);
    if (done === 0 || due.without.length === 0) return;
    const fields = { cluster: cluster.name, nodes: due.without.slice(0, 100), associations: done };
    this.#log.warn(fields, "people went before Slurm let go of their jobs");
  }
}

/** Whose turn has come on one way, and which nodes were not waited for. */
function goers(passages: readonly Passage[], way: Passage["way"], turnOf: (passage: Passage) => Turn) {
  const going: Passage[] = [];
  const without = new Set<string>();
  for (const passage of passages) {
    if (going.length === mostAtOnce) break;
    if (passage.way !== way) continue;
    const turn = turnOf(passage);
    if (turn.kind === "wait") continue;
    going.push(passage);
    for (const name of turn.without) without.add(name);
  }
  return { passages: going, without: [...without] };
}

/**
 * A directory with nodes that say what a test has them say: the real ledger and usher over a real store, and no streams. What
 * streams do is tested by real ones elsewhere.
 */

import { pino } from "pino";
import type { Resource } from "../../identity/resource.ts";
import type { Role } from "../../identity/scope.ts";
import { getCluster } from "../../server/directory/clusters.ts";
import { enrol } from "../../server/directory/nodes.ts";
import { createJoinToken } from "../../server/directory/tokens.ts";
import { type Entry, Ledger } from "../../server/rollout/ledger.ts";
import { Usher } from "../../server/rollout/usher.ts";
import { admin, openDirectory, type TestDirectory } from "./directory.ts";

export interface Site extends AsyncDisposable {
  readonly directory: TestDirectory;
  readonly ledger: Ledger;
  readonly usher: Usher;
  /** What the usher warned of. */
  readonly warned: unknown[];
  /** Enrols a node and connects it; it holds what is there now. */
  node(name: string, role: Role): Promise<SiteNode>;
  /** A server that starts anew over the same database. */
  restart(): Promise<{ ledger: Ledger; usher: Usher }>;
  head(): Promise<bigint>;
  /** The head is acked by every node that is connected, then the usher looks. */
  settle(...nodes: readonly SiteNode[]): Promise<void>;
  /** What a role's nodes are sent, in canonical order, of some kinds. */
  sent(role: Role, ...kinds: Resource["kind"][]): Promise<Resource[]>;
}

/** A node that is connected until it is not. */
export class SiteNode {
  readonly #site: { readonly directory: TestDirectory; ledger: Ledger };
  readonly name: string;
  readonly role: Role;

  constructor(site: { readonly directory: TestDirectory; ledger: Ledger }, name: string, role: Role) {
    this.#site = site;
    this.name = name;
    this.role = role;
  }

  get entry(): Entry {
    const entry = this.#site.ledger.entry(this.#site.directory.cluster, this.name);
    if (!entry) throw new Error(`no node ${this.name}`);
    return entry;
  }

  async connect(): Promise<void> {
    const { head } = (await getCluster(this.#site.directory.ctx, "default")).cluster;
    const link = { ahead: false, head: head[this.role], end: () => undefined, resync: () => undefined };
    const said = {
      instance: "run 1",
      software: "",
      highestUid: 0,
      highestGid: 0,
      epoch: 1n,
      ahead: false,
      comparing: false,
      known: true,
    };
    this.entry.claim = link;
    this.#site.ledger.greeted(this.entry, link, said);
  }

  disconnect(): void {
    this.#site.ledger.note(this.entry, { claim: undefined, link: undefined, progress: {} });
  }

  /** Acks the head. */
  async ack(): Promise<void> {
    const { head } = (await getCluster(this.#site.directory.ctx, "default")).cluster;
    this.#site.ledger.acked(this.entry, head[this.role], "delta");
  }

  /** Says how far its slurm sink is: at what the node holds, unless it is told. */
  slurm(revision = this.entry.progress.acked?.revision ?? 0n, lingering: readonly number[] = [], reason = ""): void {
    this.#site.ledger.followed(this.entry, [{ sink: "slurm", revision, reason, lingering }]);
  }
}

export async function openSite(): Promise<Site> {
  const directory = await openDirectory();
  const { ctx, cluster } = directory;
  const warned: unknown[] = [];
  const log = pino({ level: "warn" }, { write: (line) => void warned.push(JSON.parse(line)) });
  const site = { directory, ledger: new Ledger(ctx, log) };
  const usher = new Usher(ctx, site.ledger, log);
  return {
    ...site,
    usher,
    warned,
    async node(name, role) {
      const { secret } = await createJoinToken(ctx, admin, "default", role);
      const issue = () =>
        Promise.resolve({ chainPem: "", serial: "01", notAfter: 2_000_000_000_000, trustPem: "", trusted: [] });
      const { node } = await enrol(ctx, secret, name, () => false, issue);
      site.ledger.enrolled(node, false);
      const made = new SiteNode(site, name, role);
      await made.connect();
      await made.ack();
      return made;
    },
    async restart() {
      await site.ledger[Symbol.asyncDispose]();
      const ledger = new Ledger(ctx, log);
      await ledger.load();
      site.ledger = ledger;
      return { ledger, usher: new Usher(ctx, ledger, log) };
    },
    head: async () => (await getCluster(ctx, "default")).cluster.head.login.revision,
    async settle(...nodes) {
      for (const node of nodes) await node.ack();
      for (const node of nodes) if (node.role === "controller") node.slurm();
      await usher.look();
    },
    async sent(role, ...kinds) {
      const all = await ctx.store.read((tx) => tx.log.snapshot(cluster, role));
      return all.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
    },
    [Symbol.asyncDispose]: async () => {
      await site.ledger[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/**
 * What is done when somebody's turn has come between identity and Slurm. Each command looks again at what it was told: of several
 * servers that saw the same, one does it, and the others find nothing left to do.
 */

import type { Revision } from "../../identity/position.ts";
import { keyOf, type Resource } from "../../identity/resource.ts";
import type { Cluster } from "../store/clusters.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Passage, Seen } from "../store/passages.ts";
import type { Tx } from "../store/store.ts";
import type { Actor } from "./actor.ts";
import type { Context } from "./context.ts";
import { named, record } from "./record.ts";

/** Nodes that were not waited for any longer: none, if everybody was ready. */
export type Stragglers = readonly string[];

const server: Actor = { kind: "server", cause: "time limit" };

/** More names than this are only counted. */
const mostNamed = 20;

/** Sends associations whose turn has come; gives how many. */
export async function letIn(ctx: Context, id: string, seen: readonly Seen[], without: Stragglers): Promise<number> {
  return ctx.store.write(async (tx) => {
    const passages = await tx.passages.still(id, "in", seen);
    const cluster = await tx.clusters.get(id);
    const [first] = passages;
    if (!first || !cluster) return 0;
    const keys = passages.map(({ key }) => key);
    const held = await tx.log.some(id, keys);
    const edits = passages.map(({ key, owner, association }): OwnedEdit => {
      return { key, owner, before: held.get(key), after: association };
    });
    await tx.passages.remove(id, "in", keys);
    // What comes back before Slurm let go of it is nothing that it has to let go of.
    await tx.passages.remove(id, "out", keys);
    await tx.log.append(id, edits, causeOf(passages), ctx.now());
    recordStragglers(tx, cluster, "association.release", passages, without);
    return passages.length;
  });
}

/**
 * Ends the way out of associations that Slurm has let go of; who leaves and has nothing left there goes, whole. Gives how
 * many associations.
 */
export async function letOut(ctx: Context, id: string, seen: readonly Seen[], without: Stragglers): Promise<number> {
  return ctx.store.write(async (tx) => {
    const passages = await tx.passages.still(id, "out", seen);
    const cluster = await tx.clusters.get(id);
    const [first] = passages;
    if (!first || !cluster) return 0;
    await tx.passages.remove(
      id,
      "out",
      passages.map(({ key }) => key),
    );
    const owners = [...new Set(passages.map(({ owner }) => owner))];
    const left = new Set(
      (await tx.passages.of(id, owners)).filter(({ way }) => way === "out").map(({ owner }) => owner),
    );
    const held = await tx.log.resourcesOf(id, owners);
    const edits = owners
      .filter((owner) => !left.has(owner))
      .flatMap((owner) => {
        const resources = held.get(owner) ?? [];
        if (!resources.some(isLocked)) return [];
        return resources.map((before): OwnedEdit => ({ key: keyOf(before), owner, before, after: undefined }));
      });
    if (edits.length > 0) await tx.log.append(id, edits, causeOf(passages), ctx.now());
    recordStragglers(tx, cluster, "association.end", passages, without);
    return passages.length;
  });
}

/** An association of a person in a cluster, and how it stands between the nodes and Slurm. */
export interface SlurmUse {
  readonly association: Passage["association"];
  /** `there`: the nodes are sent it. */
  readonly way: Passage["way"] | "there";
  /** That brought it, or the person it waits for, or took it away. */
  readonly revision: Revision;
  /** Since when it is on its way; undefined if it is there. */
  readonly at: number | undefined;
}

/** A person's use of Slurm in a cluster. */
export interface SlurmStanding {
  readonly cluster: Cluster;
  /** Whether they have gone but for jobs of theirs. */
  readonly isLeaving: boolean;
  /** By account; one that is left and granted anew is there twice. */
  readonly uses: readonly SlurmUse[];
}

/** How somebody stands in a cluster's Slurm, of whom the nodes are sent some resources. */
export async function slurmOf(
  tx: Tx,
  cluster: Cluster,
  owner: string,
  resources: readonly Resource[],
): Promise<SlurmStanding> {
  const sent = resources.filter((each) => each.kind === "association");
  const revisions = await tx.log.newestOf(cluster.id, sent.map(keyOf));
  const there = sent.map((association): SlurmUse => {
    return { association, way: "there", revision: revisions.get(keyOf(association)) ?? 0n, at: undefined };
  });
  const passing = await tx.passages.of(cluster.id, [owner]);
  const uses = [...there, ...passing].sort((a, b) => (a.association.account < b.association.account ? -1 : 1));
  return { cluster, isLeaving: resources.some(isLocked), uses };
}

function isLocked(resource: Resource): boolean {
  return resource.kind === "user" && resource.locked;
}

function causeOf(passages: readonly Passage[]): string {
  const causes = [...new Set(passages.map(({ cause }) => cause))];
  const [only = ""] = causes;
  return causes.length === 1 ? only : `${only}, and ${causes.length - 1} more`;
}

function recordStragglers(
  tx: Tx,
  { org, name, id }: Cluster,
  action: string,
  passages: readonly Passage[],
  without: Stragglers,
): void {
  if (without.length === 0) return;
  const keys = passages.map(({ key }) => key);
  const after = {
    associations: keys.slice(0, mostNamed),
    of: keys.length,
    without: without.slice(0, mostNamed),
    nodes: without.length,
  };
  record(tx, server, { org, action, subject: named(name, id), after });
}

/**
 * After the database was restored from a backup (S8): what nodes hold is of a life of the log that the database does not
 * know. Nothing is streamed and no number given until an operator opens another epoch, above every number that nodes saw.
 */

import type { IdRange } from "../../identity/id.ts";
import { refuse } from "../../identity/refusal.ts";
import type { Tx } from "../store/store.ts";
import type { Actor } from "./actor.ts";
import type { Context } from "./context.ts";
import { named, record } from "./record.ts";

const everyCluster = { offset: 0, limit: 100_000 };

/** Fences a cluster; says whether it was not before. */
export async function fenceCluster(ctx: Context, id: string): Promise<boolean> {
  return ctx.store.write(async (tx) => {
    const cluster = await tx.clusters.get(id);
    if (!cluster || cluster.fencedAt !== undefined) return false;
    const now = ctx.now();
    await tx.clusters.fence(id, now);
    const actor: Actor = { kind: "server", cause: "nodes ahead" };
    const subject = named(cluster.name, id);
    record(tx, actor, { org: cluster.org, action: "cluster.fence", subject, after: { fenced: true } });
    return true;
  });
}

/** The highest numbers that were given, where an operator knows better than the nodes: it is they who could lie. */
export interface Known {
  readonly highestUid: number | undefined;
  readonly highestGid: number | undefined;
}

export interface Opened {
  readonly cluster: string;
  /** Of the new epoch. */
  readonly epoch: bigint;
  readonly highestUid: number;
  readonly highestGid: number;
  /** How many nodes have said that they hold more than the backup. */
  readonly nodesAhead: number;
}

/**
 * Opens a new epoch of every cluster. Each node then gets a snapshot of what this database says.
 * @throws Refusal `conflict`: neither a node nor the operator says which numbers were given since the backup.
 */
export async function openEpochs(ctx: Context, actor: Actor, known: Known): Promise<Opened[]> {
  return ctx.store.write(async (tx) => {
    const nodes = Map.groupBy(await tx.nodes.all(), ({ cluster }) => cluster);
    const opened: Opened[] = [];
    for (const { id, org, name, head } of await tx.clusters.list(everyCluster)) {
      const there = (nodes.get(id) ?? []).filter(({ banned }) => !banned).map(({ progress }) => progress);
      const nodesAhead = there.filter(({ ahead }) => ahead).length;
      const isTold = known.highestUid !== undefined && known.highestGid !== undefined;
      if (there.length > 0 && nodesAhead === 0 && !isTold) {
        const how = "start the server until `rollcall node list` shows nodes as ahead, and stop it again";
        refuse(
          "conflict",
          `no node of ${name} has said what it holds: ${how}; or give --highest-uid and --highest-gid`,
        );
      }
      const highestUid = known.highestUid ?? Math.max(0, ...there.map((progress) => progress.highestUid));
      const highestGid = known.highestGid ?? Math.max(0, ...there.map((progress) => progress.highestGid));
      await raise(tx, org, [highestUid, highestGid]);
      const epoch = { seq: above(head.login.epoch.seq, there), id: ctx.newId().replaceAll("-", "") };
      await tx.clusters.openEpoch(id, epoch);
      const after = { epoch: String(epoch.seq), highestUid, highestGid, nodesAhead };
      record(tx, actor, { org, action: "cluster.restore", subject: named(name, id), after });
      opened.push({ cluster: name, epoch: epoch.seq, highestUid, highestGid, nodesAhead });
    }
    return opened;
  });
}

/** How many epochs a database can have missed: a node that claims to have seen more of them lies. */
const mostMissed = 1000n;

/**
 * The number of a new epoch. One that nodes have heard of is none: after the same backup was put back before, they hold what was
 * streamed in the epoch that was opened then.
 */
function above(own: bigint, nodes: readonly { readonly epoch: bigint }[]): bigint {
  const heard = nodes.map(({ epoch }) => epoch).filter((epoch) => epoch <= own + mostMissed);
  return [own, ...heard].reduce((highest, epoch) => (epoch > highest ? epoch : highest)) + 1n;
}

/** A private group's gid is its person's uid: each number raises the range that it is of. */
async function raise(tx: Tx, org: string, numbers: readonly number[]): Promise<void> {
  const { userIds, groupIds } = await tx.clusters.orgSettings(org);
  const isIn = (number: number, { first, last }: IdRange): boolean => number >= first && number <= last;
  for (const number of numbers) {
    if (isIn(number, userIds) || isIn(number, groupIds)) await tx.users.raise(org, number);
  }
}

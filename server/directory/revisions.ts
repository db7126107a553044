/** Reads of a cluster's log, for operators. */

import type { Epoch, Revision } from "../../identity/position.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import type { RevisionRecord } from "../store/log.ts";
import type { Page } from "../store/users.ts";
import { clusterByName } from "./clusters.ts";
import type { Context } from "./context.ts";

export type RevisionView = Omit<RevisionRecord, "heads">;

/** One revision, and where it stands in the cluster's log. */
export interface Place {
  readonly clusterId: string;
  readonly epoch: Epoch;
  /** The newest revision of the cluster. */
  readonly head: Revision;
  readonly record: RevisionView;
}

/** A revision of a cluster, the newest one if none is named. @throws Refusal `not-found`: the cluster, or the revision. */
export async function getRevision(ctx: Context, clusterName: string, revision: Revision | undefined): Promise<Place> {
  return ctx.store.read(async (tx) => {
    const cluster = await clusterByName(tx, clusterName);
    const { epoch, revision: head } = cluster.head.login;
    const wanted = revision ?? head;
    // Asked before the store is: beyond 2^53 its numbers are no longer exact.
    const exists = wanted >= 1n && wanted <= head;
    const record = exists ? await tx.log.revision(cluster.id, wanted) : undefined;
    if (!record)
      refuse("not-found", `the cluster ${quote(clusterName)} has no revision ${wanted}; its newest is ${head}`);
    return { clusterId: cluster.id, epoch, head, record };
  });
}

/** The revisions of a cluster, newest first. @throws Refusal `not-found`. */
export async function listRevisions(ctx: Context, clusterName: string, page: Page): Promise<RevisionView[]> {
  return ctx.store.read(async (tx) => tx.log.revisions((await clusterByName(tx, clusterName)).id, page));
}

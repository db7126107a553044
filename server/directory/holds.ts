/** Commands on holds: what the guard kept back, and an operator's word on it. */

import type { Gid } from "../../identity/id.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { parse, type Resource } from "../../identity/resource.ts";
import { letGo } from "../release/release.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Held, Hold } from "../store/holds.ts";
import type { Tx } from "../store/store.ts";
import type { Page } from "../store/users.ts";
import { type Actor, show } from "./actor.ts";
import { clusterByName } from "./clusters.ts";
import type { Context } from "./context.ts";
import { named, record, type Told } from "./record.ts";

/** A hold with what an operator wants to see. */
export interface HoldView {
  readonly hold: Hold;
  readonly cluster: string;
  /** How many people and groups it keeps something of. */
  readonly subjects: number;
}

/** What a hold keeps of one person or group. */
export interface HoldItem {
  readonly owner: string;
  /** A POSIX name; of a group, with `%` before it. */
  readonly subject: string;
  readonly held: readonly (Held & { readonly resource: Resource })[];
}

/** Holds of a cluster, newest first; those with nothing left in them only if they are wanted. */
export async function listHolds(
  ctx: Context,
  clusterName: string,
  want: { done: boolean },
  page: Page,
): Promise<HoldView[]> {
  return ctx.store.read(async (tx) => {
    const cluster = await clusterByName(tx, clusterName);
    const views: HoldView[] = [];
    for (const hold of await tx.holds.list(cluster.id, want, page)) views.push(await view(tx, hold, cluster));
    return views;
  });
}

/** @throws Refusal `not-found`. */
export async function getHold(ctx: Context, id: string): Promise<HoldView> {
  return ctx.store.read(async (tx) => {
    const { hold, cluster } = await find(tx, id);
    return view(tx, hold, cluster);
  });
}

/** What a hold keeps, by subject, a page of it. @throws Refusal `not-found`. */
export async function listHeld(ctx: Context, id: string, page: Page): Promise<HoldItem[]> {
  return ctx.store.read(async (tx) => {
    const { cluster } = await find(tx, id);
    return itemsOf(tx, cluster, await tx.holds.items(id, page));
  });
}

/**
 * Lets go what a hold keeps: all, or some subjects only. `seen`: how many subjects the operator saw in it; it may have
 * grown since.
 * @throws Refusal `not-found` (the hold, a subject in it), `conflict` (it is done, it has grown, a group's members stay).
 */
export async function approveHold(
  ctx: Context,
  actor: Actor,
  id: string,
  { only, seen }: { only: readonly string[]; seen: number | undefined },
): Promise<HoldView> {
  return ctx.store.write(async (tx) => {
    const { hold, cluster } = await find(tx, id);
    if (hold.state === "done") refuse("conflict", `the hold ${id} keeps nothing any more`);
    const owners = await tx.holds.owners(id);
    if (seen !== undefined && seen !== owners.length) {
      refuse("conflict", `the hold ${id} keeps ${owners.length} subjects now, not ${seen}: look at it again`);
    }
    const chosen = only.length === 0 ? owners : await choose(tx, hold, cluster, owners, only);
    recordHold(tx, actor, cluster, "hold.approve", id, only.length === 0 ? { all: chosen.length } : { only });
    await letGo(tx, cluster, chosen, { cause: `${show(actor)}: approved hold ${id}`, now: ctx.now() });
    await refuseOrphans(tx, cluster, chosen);
    return view(tx, (await tx.holds.get(id)) ?? hold, cluster);
  });
}

/**
 * Keeps on the nodes what a hold keeps, against the directory, until it is approved or the directory grants it again.
 * @throws Refusal `not-found`, `conflict` (it is decided).
 */
export async function rejectHold(ctx: Context, actor: Actor, id: string): Promise<HoldView> {
  return ctx.store.write(async (tx) => {
    const { hold, cluster } = await find(tx, id);
    if (hold.state !== "pending") refuse("conflict", `the hold ${id} is ${hold.state}, not pending`);
    await tx.holds.reject(id, ctx.now());
    recordHold(tx, actor, cluster, "hold.reject", id, { all: await tx.holds.countSubjects(id) });
    return view(tx, (await tx.holds.get(id)) ?? hold, cluster);
  });
}

function recordHold(tx: Tx, actor: Actor, cluster: Cluster, action: string, id: string, after: Told): void {
  record(tx, actor, { org: cluster.org, action, subject: named(`hold ${id} of ${cluster.name}`, cluster.id), after });
}

async function find(tx: Tx, id: string): Promise<{ hold: Hold; cluster: Cluster }> {
  const hold = (await tx.holds.get(id)) ?? refuse("not-found", `no hold ${quote(id)}`);
  const cluster = (await tx.clusters.get(hold.cluster)) ?? refuse("not-found", `no hold ${quote(id)}`);
  return { hold, cluster };
}

async function view(tx: Tx, hold: Hold, cluster: Cluster): Promise<HoldView> {
  return { hold, cluster: cluster.name, subjects: await tx.holds.countSubjects(hold.id) };
}

async function itemsOf(tx: Tx, cluster: Cluster, found: ReadonlyMap<string, readonly Held[]>): Promise<HoldItem[]> {
  const resources = await tx.log.resourcesOf(cluster.id, [...found.keys()]);
  return [...found].map(([owner, held]) => ({
    owner,
    subject: subjectOf(resources.get(owner) ?? []),
    held: held.map((each) => ({ ...each, resource: parse(each.line) })),
  }));
}

function subjectOf(resources: readonly Resource[]): string {
  for (const resource of resources) {
    if (resource.kind === "user") return resource.name;
    if (resource.kind === "group") return `%${resource.name}`;
  }
  return "accounts";
}

async function choose(
  tx: Tx,
  hold: Hold,
  cluster: Cluster,
  owners: readonly string[],
  only: readonly string[],
): Promise<string[]> {
  const items = await itemsOf(tx, cluster, await tx.holds.ofOwners(hold.id, owners));
  const bySubject = new Map(items.map(({ subject, owner }) => [subject, owner]));
  return only.map(
    (subject) =>
      bySubject.get(subject) ?? refuse("not-found", `the hold ${hold.id} keeps nothing of ${quote(subject)}`),
  );
}

/** A group cannot go while a member of it is held. */
async function refuseOrphans(tx: Tx, cluster: Cluster, owners: readonly string[]): Promise<void> {
  const gids: Gid[] = [];
  for (const { edits } of tx.effects) {
    for (const { owner, before } of edits) {
      if (before?.kind === "group" && owners.includes(owner)) gids.push(before.gid);
    }
  }
  const [gid] = await tx.holds.groupsWithHeldMembers(cluster.id, gids);
  if (gid !== undefined) refuse("conflict", `members of the group with the gid ${gid} are held: approve them first`);
}

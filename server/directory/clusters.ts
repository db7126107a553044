/** Commands on orgs and clusters. */

import { nothing } from "../../identity/digest.ts";
import type { Rule } from "../../identity/grant.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { parseHomeTemplate } from "../../identity/template.ts";
import { type Passing, reproject, reprojectOrg } from "../projection/reproject.ts";
import type { Cluster, Org } from "../store/clusters.ts";
import { emptyHeads } from "../store/log.ts";
import type { Guard, SlurmOrder } from "../store/settings.ts";
import type { Tx } from "../store/store.ts";
import type { Page } from "../store/users.ts";
import { type Actor, show } from "./actor.ts";
import type { Context } from "./context.ts";
import { named, record, tellCluster } from "./record.ts";

/** A cluster with what an operator wants to see. */
export interface ClusterView {
  readonly cluster: Cluster;
  readonly org: string;
  readonly rules: readonly Rule[];
  readonly nodes: number;
}

/** What every new cluster starts with. */
const firstRules: readonly Rule[] = [
  { group: "slurm-users", grant: { kind: "login" } },
  { group: "slurm-sudo", grant: { kind: "login" } },
  // Nobody has a password on a node, so sudo cannot ask for one.
  { group: "slurm-sudo", grant: { kind: "sudo", password: false, commands: "ALL" } },
];

/** Makes the org `default` with the cluster `default`, unless they are there. */
export async function seed(ctx: Context): Promise<void> {
  await ctx.store.write(async (tx) => {
    if (await tx.clusters.org("default")) return;
    const org = { id: ctx.newId(), name: "default" };
    await tx.clusters.addOrg(org, ctx.now());
    const actor: Actor = { kind: "server", cause: "seed" };
    record(tx, actor, {
      org: org.id,
      action: "org.create",
      subject: named(org.name, org.id),
      after: { name: org.name },
    });
    await addCluster(tx, ctx, actor, org.id, "default");
  });
}

/** @throws Refusal `invalid` (the name), `not-found` (the org), `conflict` (the name is taken). */
export async function createCluster(ctx: Context, actor: Actor, inOrg: string, name: string): Promise<ClusterView> {
  if (!isLabel(name)) refuse("invalid", `the cluster name ${quote(name)} is not a DNS label ([a-z0-9-], at most 63)`);
  // /scim/{org}/v2 is the org's own address, /scim/{org}/{cluster}/v2 a cluster's.
  if (name === "v2") refuse("invalid", 'no cluster can be named "v2": the name has a meaning in SCIM addresses');
  return ctx.store.write(async (tx) => {
    const org = await orgByName(tx, inOrg);
    if (await tx.clusters.byName(name)) refuse("conflict", `there is a cluster ${quote(name)} already`);
    return view(tx, await addCluster(tx, ctx, actor, org.id, name));
  });
}

/** What an operator sets of a cluster; what is left out stays, an empty text of home or shell is the org's again. */
export interface ClusterChange {
  readonly home?: string | undefined;
  readonly shell?: string | undefined;
  readonly guard?: Partial<Guard>;
  readonly slurm?: Partial<SlurmOrder>;
}

/** @throws Refusal `not-found`, `invalid` (which field, and why). */
export async function setCluster(
  ctx: Context,
  actor: Actor,
  name: string,
  change: ClusterChange,
): Promise<ClusterView> {
  return ctx.store.write(async (tx) => {
    const { id, org, settings } = await clusterByName(tx, name);
    const { settings: orgs } = await tx.clusters.orgOf(org);
    const guard = checkGuard({ ...settings.guard, ...change.guard });
    const slurm = checkOrder({ ...settings.slurm, ...change.slurm });
    const home = change.home === undefined ? settings.home : change.home || undefined;
    const shell = change.shell === undefined ? settings.shell : change.shell || undefined;
    if (home !== undefined) parseHomeTemplate("home", home);
    if (shell !== undefined && !orgs.shells.includes(shell)) {
      refuse("invalid", `shell ${quote(shell)} is not one that the org allows: ${orgs.shells.join(", ")}`);
    }
    await tx.clusters.putSettings(id, { home, shell, guard, slurm });
    const deed = { org, action: "cluster.set", subject: named(name, id) };
    record(tx, actor, { ...deed, before: { ...settings }, after: { home, shell, guard, slurm } });
    if (home !== settings.home || shell !== settings.shell) {
      await reprojectOrg(tx, org, `${show(actor)}: cluster settings`, ctx.now());
    }
    return view(tx, await clusterByName(tx, name));
  });
}

function checkGuard({ people, percent, windowSeconds }: Guard): Guard {
  if (!Number.isInteger(people) || people < 0)
    refuse("invalid", `guard.people ${people} must be a whole number from 0`);
  if (!(percent >= 0 && percent <= 100)) refuse("invalid", `guard.percent ${percent} must be 0 to 100`);
  if (!(windowSeconds >= 1 && windowSeconds <= 86_400)) {
    refuse("invalid", `guard.window ${windowSeconds} s must be 1 second to 24 hours`);
  }
  return { people, percent, windowSeconds };
}

function checkOrder(order: SlurmOrder): SlurmOrder {
  for (const [field, seconds] of Object.entries(order)) {
    if (!(seconds >= 0 && seconds <= longestWait)) {
      refuse("invalid", `slurm.${field.replace("Seconds", "")} ${seconds} s must be 0 seconds to 90 days`);
    }
  }
  return order;
}

/** No job is left to finish for longer, in seconds. */
const longestWait = 90 * 86_400;

/** @throws Refusal `not-found`. */
export async function getCluster(ctx: Context, name: string): Promise<ClusterView> {
  return ctx.store.read(async (tx) => view(tx, await clusterByName(tx, name)));
}

export async function listClusters(ctx: Context, page: Page): Promise<ClusterView[]> {
  return ctx.store.read(async (tx) => {
    const views: ClusterView[] = [];
    for (const cluster of await tx.clusters.list(page)) views.push(await view(tx, cluster));
    return views;
  });
}

/** The id of an org. @throws Refusal `not-found`. */
export async function orgId(ctx: Context, name: string): Promise<string> {
  return ctx.store.read(async (tx) => (await orgByName(tx, name)).id);
}

/** What people call an org, by the id that the directory knows it by. */
export async function orgName(ctx: Context, id: string): Promise<string> {
  return ctx.store.read((tx) => tx.clusters.orgName(id));
}

/** What people call a cluster, by its id. @throws Refusal `not-found`. */
export async function clusterName(ctx: Context, id: string): Promise<string> {
  return ctx.store.read(async (tx) => ((await tx.clusters.get(id)) ?? refuse("not-found", `no cluster ${id}`)).name);
}

/** @throws Refusal `not-found`. */
export async function clusterByName(tx: Tx, name: string): Promise<Cluster> {
  return (await tx.clusters.byName(name)) ?? refuse("not-found", `no cluster ${quote(name)}`);
}

/** @throws Refusal `not-found`. */
export async function orgByName(tx: Tx, name: string): Promise<Org> {
  return (await tx.clusters.org(name)) ?? refuse("not-found", `no org ${quote(name)}`);
}

/** Whether a text is a DNS label, as names of clusters and nodes are. */
export function isLabel(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

async function addCluster(tx: Tx, ctx: Context, actor: Actor, org: string, name: string): Promise<Cluster> {
  const epoch = { seq: 1n, id: ctx.newId().replaceAll("-", "") };
  const head = emptyHeads(epoch, nothing, 0n);
  const cluster = { id: ctx.newId(), org, name, createdAt: ctx.now() };
  await tx.clusters.add({ ...cluster, head });
  for (const rule of firstRules) await tx.clusters.putRule(cluster.id, rule);
  // Revision 1 holds nothing: from it on, "this node holds what it should" has a meaning, even of an empty directory.
  await tx.log.append(cluster.id, [], "cluster created", ctx.now());
  const made = await clusterByName(tx, name);
  const after = { ...tellCluster(made), rules: firstRules };
  record(tx, actor, { org, action: "cluster.create", subject: named(name, made.id), after });
  await followRules(tx, cluster, [...new Set(firstRules.map(({ group }) => group))], "cluster created", ctx.now());
  return clusterByName(tx, name);
}

/** Projects groups that rules of the cluster name, with everybody in them, and the cluster's Slurm accounts. */
export async function followRules(
  tx: Tx,
  { id, org }: Pick<Cluster, "id" | "org">,
  groupNames: readonly string[],
  cause: string,
  now: number,
  passing?: Passing,
): Promise<void> {
  const groups: string[] = [];
  for (const name of groupNames) {
    const group = await tx.groups.byDisplayName(org, name);
    if (group) groups.push(group.id);
  }
  await reproject(tx, { org, groups, users: await tx.groups.usersWithin(groups), clusters: [id] }, cause, now, passing);
}

async function view(tx: Tx, cluster: Cluster): Promise<ClusterView> {
  return {
    cluster,
    org: await tx.clusters.orgName(cluster.org),
    rules: await tx.clusters.rules(cluster.id),
    nodes: await tx.nodes.count(cluster.id),
  };
}

/** Commands on access rules: what groups grant in a cluster. Operators state them; an identity provider never can. */

import { checkAccount, isAbout } from "../../identity/account-tree.ts";
import type { Grant, Rule } from "../../identity/grant.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import type { Call } from "../../identity/slurm-call.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Effect, Tx } from "../store/store.ts";
import { type Actor, show } from "./actor.ts";
import { clusterByName, followRules } from "./clusters.ts";
import type { Context } from "./context.ts";
import { named, record } from "./record.ts";
import { slurmWork } from "./slurm-work.ts";
import { checkText } from "./users.ts";

/** How an operator wants a change to be made. */
export interface How {
  /** Only say what it would do. */
  readonly dryRun: boolean;
  /** Past the guard. */
  readonly urgent: boolean;
}

/** What a change of rules does, or would do. */
export interface Outcome extends Effect {
  /** What it would have the controller do in Slurm: of a dry run only. */
  readonly slurm: readonly Call[];
}

/**
 * Lets a group grant something in a cluster, or grant it otherwise. The group need not exist yet.
 * @throws Refusal `not-found` (the cluster), `invalid` (the group's name, accounts in a circle), `conflict` (another rule
 *   puts the account elsewhere).
 */
export async function putRule(
  ctx: Context,
  actor: Actor,
  clusterName: string,
  rule: Rule,
  how: How,
): Promise<Outcome[]> {
  checkText("group", rule.group, 256);
  return change(ctx, clusterName, how, async (tx, cluster) => {
    const rules = await tx.clusters.rules(cluster.id);
    checkAccount(rules, rule);
    await tx.clusters.putRule(cluster.id, rule);
    const before = rules.find((each) => isAbout(each, rule.group, rule.grant));
    recordRule(tx, actor, cluster, before ? "rule.change" : "rule.add", { before, after: rule });
    await followRules(tx, cluster, [rule.group], `${show(actor)}: rule`, ctx.now(), how);
  });
}

/** Ends what a group grants in a cluster. @throws Refusal `not-found` (the cluster, the rule). */
export async function removeRule(
  ctx: Context,
  actor: Actor,
  clusterName: string,
  group: string,
  what: Pick<Grant, "kind"> & { readonly account?: string },
  how: How,
): Promise<Outcome[]> {
  return change(ctx, clusterName, how, async (tx, cluster) => {
    const rules = await tx.clusters.rules(cluster.id);
    const rule =
      rules.find((each) => isAbout(each, group, what)) ??
      refuse("not-found", `the group ${quote(group)} grants no ${what.kind} ${what.account ?? ""} in ${clusterName}`);
    await tx.clusters.removeRule(cluster.id, rule);
    recordRule(tx, actor, cluster, "rule.remove", { before: rule });
    await followRules(tx, cluster, [rule.group], `${show(actor)}: rule`, ctx.now(), how);
  });
}

async function change(
  ctx: Context,
  clusterName: string,
  { dryRun }: How,
  work: (tx: Tx, cluster: Cluster) => Promise<void>,
): Promise<Outcome[]> {
  const command = async (tx: Tx): Promise<Outcome[]> => {
    await work(tx, await clusterByName(tx, clusterName));
    const outcomes: Outcome[] = [];
    for (const effect of tx.effects) outcomes.push({ ...effect, slurm: dryRun ? await slurmWork(tx, effect) : [] });
    return outcomes;
  };
  return dryRun ? ctx.store.rehearse(command) : ctx.store.write(command);
}

/**
 * Adds rules that nobody of the cluster has yet. What follows from them is the caller's to project.
 * They must have passed {@link checkAccount}.
 */
export async function adoptRules(tx: Tx, actor: Actor, cluster: Cluster, rules: readonly Rule[]): Promise<void> {
  for (const rule of rules) {
    await tx.clusters.putRule(cluster.id, rule);
    recordRule(tx, actor, cluster, "rule.add", { after: rule });
  }
}

function recordRule(
  tx: Tx,
  actor: Actor,
  { org, name, id }: Cluster,
  action: string,
  { before, after }: { before?: Rule | undefined; after?: Rule },
): void {
  record(tx, actor, {
    org,
    action,
    subject: named(name, id),
    before: before && { ...before },
    after: after && { ...after },
  });
}

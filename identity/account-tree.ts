/** The tree of Slurm accounts that a cluster's rules make: an account has one place in it, whoever grants it. */

import { fold } from "./fold.ts";
import type { Rule } from "./grant.ts";
import { quote, refuse } from "./refusal.ts";
import type { Account } from "./resource.ts";
import { printLimits } from "./slurm.ts";

/** The Slurm accounts that rules name, each with those above it, by name. */
export function accountsOf(rules: readonly Rule[]): Account[] {
  const accounts = new Map<string, Account>();
  const bare = (name: string): Account =>
    accounts.get(name) ?? { kind: "account", name, parent: undefined, description: "", limits: {} };
  for (const { grant } of rules) {
    if (grant.kind !== "account") continue;
    const { account: name, parent } = grant;
    if (parent !== undefined) accounts.set(parent, bare(parent));
    const known = bare(name);
    accounts.set(name, {
      ...known,
      parent: parent ?? known.parent,
      description: grant.description || known.description,
      limits: isEmpty(grant.accountLimits) ? known.limits : grant.accountLimits,
    });
  }
  return [...accounts.values()];
}

/** Whether a rule is about what is named: a group grants many Slurm accounts, and one of every other kind. */
export function isAbout(
  { group, grant }: Rule,
  named: string,
  what: { readonly kind: string; readonly account?: string },
): boolean {
  if (fold(group) !== fold(named) || grant.kind !== what.kind) return false;
  return grant.kind !== "account" || grant.account === what.account;
}

/** @throws Refusal `conflict` (another rule says otherwise of the account), `invalid` (a circle). */
export function checkAccount(rules: readonly Rule[], { group, grant }: Rule): void {
  if (grant.kind !== "account") return;
  const others = rules.filter((rule) => !isAbout(rule, group, grant));
  for (const other of others) {
    if (other.grant.kind !== "account" || other.grant.account !== grant.account) continue;
    const byRule = `by the rule of ${quote(other.group)}`;
    if (other.grant.parent !== grant.parent) {
      refuse("conflict", `the account ${quote(grant.account)} is below ${other.grant.parent ?? "root"} ${byRule}`);
    }
    if (grant.description !== "" && other.grant.description !== "" && grant.description !== other.grant.description) {
      refuse(
        "conflict",
        `the account ${quote(grant.account)} is described as ${quote(other.grant.description)} ${byRule}`,
      );
    }
    const [ours, theirs] = [grant.accountLimits, other.grant.accountLimits];
    if (!isEmpty(ours) && !isEmpty(theirs) && printLimits(ours) !== printLimits(theirs)) {
      refuse("conflict", `the account ${quote(grant.account)} has the limits ${printLimits(theirs)} ${byRule}`);
    }
  }
  const above = new Map(accountsOf([...others, { group, grant }]).map(({ name, parent }) => [name, parent]));
  const seen = new Set<string>();
  for (let at: string | undefined = grant.account; at !== undefined; at = above.get(at)) {
    if (seen.has(at)) refuse("invalid", `parent: the account ${quote(at)} would be below itself`);
    seen.add(at);
  }
}

function isEmpty(limits: Readonly<Record<string, string>>): boolean {
  return Object.keys(limits).length === 0;
}

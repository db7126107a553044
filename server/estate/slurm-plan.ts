/**
 * What of a Slurm dump can become access rules: an account whose name is a group's. Who may administer Slurm is never
 * taken over: only an operator's rule says that.
 */

import { checkAccount, isAbout } from "../../identity/account-tree.ts";
import { fold } from "../../identity/fold.ts";
import type { AccountGrant, Rule } from "../../identity/grant.ts";
import { Refusal } from "../../identity/refusal.ts";
import { parseAccountName } from "../../identity/slurm.ts";
import type { Problem } from "./estate.ts";
import type { SlurmAccount, SlurmDump } from "./sacctmgr.ts";

export interface SlurmPlan {
  readonly rules: readonly { readonly group: string; readonly grant: AccountGrant }[];
  /** Accounts that their group is granted already, by a rule that is left as it is. */
  readonly kept: readonly string[];
  /** Accounts without a group of their name. */
  readonly unmatched: readonly string[];
  /** Users with an admin level above none. */
  readonly admins: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * `people`: POSIX names; `groups`: display names by each name that a group goes by, folded; `present`: the cluster's rules.
 */
export function planSlurm(
  { accounts, users, problems: before }: SlurmDump,
  people: ReadonlySet<string>,
  groups: ReadonlyMap<string, string>,
  present: readonly Rule[],
): SlurmPlan {
  const problems = [...before];
  const ours = users.filter(({ name }) => name !== "root");
  for (const { name, file, line } of ours) {
    if (people.has(name)) continue;
    const rule = "nobody of the directory or the files has this POSIX name";
    problems.push({ file, line, field: "user", value: name, rule });
  }
  const members = Map.groupBy(ours, ({ account }) => account);
  const rules: SlurmPlan["rules"][number][] = [];
  const kept: string[] = [];
  const named = new Map<string, SlurmAccount>();
  const unmatched: string[] = [];
  for (const account of accounts.filter(({ name: each }) => each !== "root")) {
    const { name, parent, file, line } = account;
    const other = named.get(name);
    if (other) {
      const rule = `${other.file}:${other.line} has the same account: an account has one place`;
      problems.push({ file, line, field: "account", value: name, rule });
      continue;
    }
    named.set(name, account);
    try {
      const parsed = parseAccountName(name);
      const above = parent === undefined ? undefined : parseAccountName(parent, "parent");
      const group = groups.get(fold(name));
      if (group === undefined) {
        unmatched.push(name);
        continue;
      }
      if (present.some((rule) => isAbout(rule, group, { kind: "account", account: name }))) {
        kept.push(name);
        continue;
      }
      const its = members.get(name) ?? [];
      const isDefault = its.length > 0 && its.every(({ defaultAccount }) => defaultAccount === name);
      const grant: AccountGrant = {
        kind: "account",
        account: parsed,
        parent: above,
        isDefault,
        adminLevel: "none",
        limits: {},
        jobs: "cancel",
        description: "",
        accountLimits: {},
      };
      checkAccount([...present, ...rules], { group, grant });
      rules.push({ group, grant });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      problems.push({ file, line, field: "account", value: name, rule: error.message });
    }
  }
  const isAdmin = ({ adminLevel = "None" }: (typeof ours)[number]) => fold(adminLevel) !== "none";
  return { rules, kept, unmatched, admins: [...new Set(ours.filter(isAdmin).map(({ name }) => name))], problems };
}

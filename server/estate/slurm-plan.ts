/**
 * What of a Slurm dump can become access rules: an account whose name is a group's. Who may administer Slurm is never
 * taken over: only an operator's rule says that.
 */

import { fold } from "../../identity/fold.ts";
import type { AccountGrant } from "../../identity/grant.ts";
import { Refusal } from "../../identity/refusal.ts";
import { parseAccountName } from "../../identity/slurm.ts";
import type { Problem } from "./estate.ts";
import type { SlurmDump } from "./sacctmgr.ts";

export interface SlurmPlan {
  readonly rules: readonly { readonly group: string; readonly grant: AccountGrant }[];
  /** Accounts without a group of their name. */
  readonly unmatched: readonly string[];
  /** Users with an admin level above none. */
  readonly admins: readonly string[];
  readonly problems: readonly Problem[];
}

/** `people`: POSIX names; `groups`: display names by each name that a group goes by, folded. */
export function planSlurm(
  { accounts, users, problems: before }: SlurmDump,
  people: ReadonlySet<string>,
  groups: ReadonlyMap<string, string>,
): SlurmPlan {
  const problems = [...before];
  const ours = users.filter(({ name }) => name !== "root");
  for (const { name, file, line } of ours) {
    if (people.has(name)) continue;
    const rule = "nobody of the directory or the files has this POSIX name";
    problems.push({ file, line, field: "user", value: name, rule });
  }
  const rules: SlurmPlan["rules"][number][] = [];
  const unmatched: string[] = [];
  for (const { name, parent, file, line } of accounts.filter(({ name: each }) => each !== "root")) {
    try {
      const account = parseAccountName(name);
      const above = parent === undefined ? undefined : parseAccountName(parent, "parent");
      const group = groups.get(fold(name));
      const members = ours.filter((user) => user.account === name);
      const isDefault = members.length > 0 && members.every(({ defaultAccount }) => defaultAccount === name);
      const grant = { kind: "account", account, parent: above, isDefault, adminLevel: "none", limits: {} } as const;
      if (group === undefined) unmatched.push(name);
      else rules.push({ group, grant });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      problems.push({ file, line, field: "account", value: name, rule: error.message });
    }
  }
  const isAdmin = ({ adminLevel = "None" }: (typeof ours)[number]) => fold(adminLevel) !== "none";
  return { rules, unmatched, admins: [...new Set(ours.filter(isAdmin).map(({ name }) => name))], problems };
}

/** What a cluster's rules and settings say, ready to be asked of one person or one group. */

import { fold } from "../../identity/fold.ts";
import type { AccountGrant, Rule, SudoGrant } from "../../identity/grant.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Group } from "../store/groups.ts";
import type { OrgSettings } from "../store/settings.ts";

export interface Access {
  /** By folded display name, what a group grants; a group that is not here grants nothing. */
  readonly grants: ReadonlyMap<string, GroupGrants>;
  readonly org: string;
  readonly cluster: string;
  /** Template of home directories. */
  readonly home: string;
  readonly shell: string;
}

export interface GroupGrants {
  readonly login: boolean;
  readonly sudo: SudoGrant | undefined;
  readonly accounts: readonly AccountGrant[];
}

/** `org`: its name, which is part of what templates may say. */
export function accessOf(cluster: Cluster, rules: readonly Rule[], org: string, settings: OrgSettings): Access {
  const { home, shell } = cluster.settings;
  return {
    grants: grantsOf(rules),
    org,
    cluster: cluster.name,
    home: home ?? settings.home,
    shell: shell ?? settings.shell,
  };
}

export function grantsOf(rules: readonly Rule[]): Access["grants"] {
  const grants = new Map<string, GroupGrants>();
  for (const { group, grant } of rules) {
    const { login, sudo, accounts } = grants.get(fold(group)) ?? { login: false, sudo: undefined, accounts: [] };
    grants.set(fold(group), {
      login: login || grant.kind === "login",
      sudo: grant.kind === "sudo" ? grant : sudo,
      accounts: grant.kind === "account" ? [...accounts, grant] : accounts,
    });
  }
  return grants;
}

/** What a group grants; undefined if no rule names it. */
export function grantedBy({ grants }: Pick<Access, "grants">, { displayName }: Pick<Group, "displayName">) {
  return grants.get(fold(displayName));
}

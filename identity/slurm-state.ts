/**
 * The Slurm accounting of one cluster, thrice: as it is, as a copy wants it, and what of it is Rollcall's. An account is Rollcall's by
 * its Organization, which everybody can read and set; users and associations have no such field, so they are by claim.
 */

import type { Uid } from "./id.ts";
import type { Account, Association, Resource, User } from "./resource.ts";
import type { AdminLevel, JobsOnLeave } from "./slurm.ts";
import type { Limits } from "./slurm-limit.ts";

/** The Organization of accounts that are Rollcall's. */
export const organization = "rollcall";

/** What Slurm holds. */
export interface SlurmState {
  /** Slurm's name of the cluster. Other clusters may keep their accounting in the same place: they are not touched. */
  readonly cluster: string;
  /** By name, of all clusters. */
  readonly accounts: ReadonlyMap<string, { readonly description: string; readonly organization: string }>;
  /** Where an account stands in this cluster, by its name; below `root`, which is not listed. */
  readonly places: ReadonlyMap<string, { readonly parent: string; readonly limits: Limits }>;
  /** By name. The default account is this cluster's; empty: none. */
  readonly users: ReadonlyMap<string, { readonly defaultAccount: string; readonly adminLevel: string }>;
  /** Of users in this cluster, by `account/user`. */
  readonly associations: ReadonlyMap<string, SlurmAssociation>;
  /** Those that hold in one partition only: always somebody else's, and beside one of the same account and user. */
  readonly partitioned: readonly Pick<SlurmAssociation, "account" | "user">[];
  /** What other clusters use. */
  readonly elsewhere: { readonly accounts: ReadonlySet<string>; readonly users: ReadonlySet<string> };
  /** Jobs that are not over; undefined: the controller was not asked, or did not answer. */
  readonly jobs: readonly Job[] | undefined;
}

export interface SlurmAssociation {
  readonly account: string;
  readonly user: string;
  readonly limits: Limits;
}

export interface Job {
  readonly id: string;
  readonly uid: number;
  readonly account: string;
  /** It has not started: where nobody may start jobs any more, it never will. */
  readonly isQueued: boolean;
}

/** An association that Rollcall made, or is about to make. */
export interface Claim {
  readonly account: string;
  readonly user: string;
  readonly uid: Uid;
  /** What becomes of its jobs when it goes: the resource is gone by then. */
  readonly jobs: JobsOnLeave;
}

/** What Rollcall made, as far as Slurm cannot say so. */
export interface Owned {
  /** By name. */
  readonly users: ReadonlySet<string>;
  /** By `account/user`. */
  readonly associations: ReadonlyMap<string, Claim>;
}

/** What others than who has these claims gave people in this cluster. */
export function associationsOfOthers(
  { associations, partitioned }: SlurmState,
  claims: Owned["associations"],
): Pick<SlurmAssociation, "account" | "user">[] {
  return [...partitioned, ...[...associations].flatMap(([key, each]) => (claims.has(key) ? [] : each))];
}

/** What a copy wants. */
export interface SlurmWanted {
  /** By name, each after the one above it. */
  readonly accounts: ReadonlyMap<string, Account>;
  /** By `account/user`. */
  readonly associations: ReadonlyMap<string, WantedAssociation>;
}

export interface WantedAssociation extends Association {
  readonly user: string;
}

/** What resources want of Slurm. Somebody on the way out wants nothing, nor does an account that is below itself. */
export function wantedOf(resources: Iterable<Resource>): SlurmWanted {
  const users = new Map<Uid, User>();
  const stated = new Map<string, Account>();
  const uses: Association[] = [];
  for (const resource of resources) {
    if (resource.kind === "user") users.set(resource.uid, resource);
    else if (resource.kind === "account") stated.set(resource.name, resource);
    else if (resource.kind === "association") uses.push(resource);
  }
  const accounts = new Map<string, Account>();
  const place = (account: Account, below: ReadonlySet<string>): void => {
    if (accounts.has(account.name) || below.has(account.name)) return;
    const above = account.parent === undefined ? undefined : stated.get(account.parent);
    if (above) place(above, new Set([...below, account.name]));
    if (account.parent === undefined || accounts.has(account.parent)) accounts.set(account.name, account);
  };
  for (const account of stated.values()) place(account, new Set());
  const associations = new Map<string, WantedAssociation>();
  for (const use of uses) {
    const user = users.get(use.uid);
    if (!user || user.locked || !accounts.has(use.account)) continue;
    associations.set(`${use.account}/${user.name}`, { ...use, user: user.name });
  }
  return { accounts, associations };
}

/** Slurm once all that is wanted is true, and all of it is Rollcall's: to show what the next change would do. */
export function settled(cluster: string, { accounts, associations }: SlurmWanted): readonly [SlurmState, Owned] {
  const users = new Map<string, { defaultAccount: string; adminLevel: AdminLevel }>();
  for (const { user, account, isDefault, adminLevel } of associations.values()) {
    const known = users.get(user);
    users.set(user, {
      defaultAccount: isDefault || !known ? account : known.defaultAccount,
      adminLevel: known && known.adminLevel !== "none" ? known.adminLevel : adminLevel,
    });
  }
  const state: SlurmState = {
    cluster,
    accounts: new Map(
      // Slurm calls an account without a description by its name.
      [...accounts].map(([name, { description }]) => [name, { description: description || name, organization }]),
    ),
    places: new Map([...accounts].map(([name, { parent = "root", limits }]) => [name, { parent, limits }])),
    users,
    associations,
    partitioned: [],
    elsewhere: { accounts: new Set(), users: new Set() },
    jobs: [],
  };
  return [state, { users: new Set(users.keys()), associations }];
}

/**
 * After a command wrote its rows: finds what the change did to each cluster's projection, and releases it. Looks at the
 * touched subjects only.
 */

import { accountsOf } from "../../identity/account-tree.ts";
import { keyOf, print, type Resource, type ResourceKey } from "../../identity/resource.ts";
import { release } from "../release/release.ts";
import type { Group } from "../store/groups.ts";
import type { StoredKey } from "../store/keys.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Tx } from "../store/store.ts";
import type { User } from "../store/users.ts";
import { accessOf } from "./access.ts";
import { projectGroup, projectUser } from "./project.ts";

/** Subjects of an org whose resources may differ now. A subject that no longer exists is projected as nothing. */
export interface Touched {
  readonly org: string;
  readonly users?: readonly string[];
  readonly groups?: readonly string[];
  /** Ids of clusters whose rules changed: they own their Slurm accounts. */
  readonly clusters?: readonly string[];
}

/** What of a change the guard has no say in. */
export interface Passing {
  /** All of it: an operator's word. */
  readonly urgent?: boolean;
  /** These resources: each was removed by itself. */
  readonly sure?: readonly ResourceKey[];
}

export async function reproject(
  tx: Tx,
  touched: Touched,
  cause: string,
  now: number,
  { urgent = false, sure = [] }: Passing = {},
): Promise<void> {
  const { org } = touched;
  const users = [...new Set(touched.users)];
  const groups = [...new Set(touched.groups)];
  if (users.length + groups.length + (touched.clusters ?? []).length === 0) return;
  const people = await load(tx, org, users);
  const known = await tx.groups.many(org, groups);
  const { name, settings } = await tx.clusters.orgOf(org);
  for (const cluster of await tx.clusters.ofOrg(org)) {
    const rules = await tx.clusters.rules(cluster.id);
    const access = accessOf(cluster, rules, name, settings);
    const own = touched.clusters?.includes(cluster.id) ? [cluster.id] : [];
    const owners = [...own, ...groups, ...users];
    const held = await tx.log.resourcesOf(cluster.id, owners);
    const wanted = (id: string): readonly Resource[] => {
      const group = known.get(id);
      const person = people.get(id);
      if (id === cluster.id) return accountsOf(rules);
      if (group) return projectGroup(group, access);
      return person ? projectUser(person.user, person.groups, person.keys, access) : [];
    };
    const edits = owners.flatMap((id) => difference(id, held.get(id) ?? [], wanted(id)));
    await release(tx, cluster, owners, edits, { cause, now, urgent, sure: new Set(sure) });
  }
}

/** As {@link reproject}, of every person of an org: what concerns them all was changed. */
export async function reprojectOrg(tx: Tx, org: string, cause: string, now: number): Promise<void> {
  for (let after = ""; ; ) {
    const users = await tx.users.idsAfter(org, after, peopleAtOnce);
    if (users.length === 0) return;
    await reproject(tx, { org, users }, cause, now);
    after = users.at(-1) ?? "";
  }
}

/** What is loaded of an org at a time. */
const peopleAtOnce = 1000;

interface Person {
  readonly user: User;
  readonly groups: readonly Group[];
  readonly keys: readonly StoredKey[];
}

/** Those of some users that may be anywhere at all, with what their access follows from. */
async function load(tx: Tx, org: string, ids: readonly string[]): Promise<Map<string, Person>> {
  const users = [...(await tx.users.many(org, ids)).values()].filter(({ active }) => active);
  const active = users.map(({ id }) => id);
  const locked = await tx.locks.among(org, active);
  const memberships = await tx.groups.of(active);
  const keys = await tx.keys.ofMany(active);
  return new Map(
    users
      .filter(({ id }) => !locked.has(id))
      .map((user) => {
        const groups = (memberships.get(user.id) ?? []).map(({ group }) => group);
        return [user.id, { user, groups, keys: keys.get(user.id) ?? [] }];
      }),
  );
}

function difference(owner: string, held: readonly Resource[], wanted: readonly Resource[]): OwnedEdit[] {
  const after = new Map(wanted.map((resource) => [keyOf(resource), resource]));
  const edits: OwnedEdit[] = [];
  for (const before of held) {
    const key = keyOf(before);
    const next = after.get(key);
    after.delete(key);
    if (!next || print(next) !== print(before)) edits.push({ owner, key, before, after: next });
  }
  for (const [key, next] of after) edits.push({ owner, key, before: undefined, after: next });
  return edits;
}

/**
 * After a command wrote its rows: finds what the change did to each cluster's projection, and appends it to the log. Looks
 * at the touched subjects only.
 */

import { keyOf, print, type Resource } from "../../identity/resource.ts";
import type { SshKey } from "../../identity/ssh-key.ts";
import type { Group } from "../store/groups.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Tx } from "../store/store.ts";
import type { User } from "../store/users.ts";
import { accessOf, projectGroup, projectUser } from "./project.ts";

/** Subjects of an org whose resources may differ now. A subject that no longer exists is projected as nothing. */
export interface Touched {
  readonly org: string;
  readonly users?: readonly string[];
  readonly groups?: readonly string[];
}

export async function reproject(tx: Tx, touched: Touched, cause: string, now: number): Promise<void> {
  const { org } = touched;
  const userIds = [...new Set(touched.users)];
  const groupIds = [...new Set(touched.groups)];
  const people = await load(tx, org, userIds);
  const groups = await tx.groups.many(org, groupIds);
  for (const cluster of await tx.clusters.ofOrg(org)) {
    const access = accessOf(await tx.clusters.rules(cluster.id));
    const held = await tx.log.resourcesOf(cluster.id, [...userIds, ...groupIds]);
    const edits: OwnedEdit[] = [];
    for (const id of groupIds) {
      const group = groups.get(id);
      edits.push(...difference(id, held.get(id) ?? [], group ? projectGroup(group, access) : []));
    }
    for (const id of userIds) {
      const person = people.get(id);
      const wanted = person ? projectUser(person.user, person.groups, person.keys, access) : [];
      edits.push(...difference(id, held.get(id) ?? [], wanted));
    }
    if (edits.length > 0) await tx.log.append(cluster.id, edits, cause, now);
  }
}

interface Person {
  readonly user: User;
  readonly groups: readonly Group[];
  readonly keys: readonly SshKey[];
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

/**
 * After a command wrote its rows: finds what the change did to each cluster's projection, and appends it to the log. Looks
 * at the touched subjects only.
 */

import { keyOf, print, type Resource } from "../../identity/resource.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Tx } from "../store/store.ts";
import { accessOf, projectGroup, projectUser } from "./project.ts";

/** Subjects of an org whose resources may differ now. A subject that no longer exists is projected as nothing. */
export interface Touched {
  readonly org: string;
  readonly users?: readonly string[];
  readonly groups?: readonly string[];
}

export async function reproject(tx: Tx, touched: Touched, cause: string, now: number): Promise<void> {
  const users = [...new Set(touched.users)];
  const groups = [...new Set(touched.groups)];
  for (const cluster of await tx.clusters.ofOrg(touched.org)) {
    const access = accessOf(await tx.clusters.rules(cluster.id));
    const held = await tx.log.resourcesOf(cluster.id, [...users, ...groups]);
    const edits: OwnedEdit[] = [];
    for (const id of groups) {
      const group = await tx.groups.get(touched.org, id);
      edits.push(...difference(id, held.get(id) ?? [], group ? projectGroup(group, access) : []));
    }
    for (const id of users) {
      const user = await tx.users.get(touched.org, id);
      const wanted = user ? projectUser(user, await tx.groups.of(id), await tx.keys.of(id), access) : [];
      edits.push(...difference(id, held.get(id) ?? [], wanted));
    }
    if (edits.length > 0) await tx.log.append(cluster.id, edits, cause, now);
  }
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

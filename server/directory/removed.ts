/**
 * People whom nobody states any more, and whom nodes hold still: until Slurm has let go of their jobs, or an operator has decided about a
 * hold. Names and numbers are given for ever, so they lead to them.
 */

import type { Tx } from "../store/store.ts";
import type { User } from "../store/users.ts";

/** One of them, by POSIX name or id, as nodes are told of them. */
export async function findRemoved(tx: Tx, org: string, handle: string): Promise<User | undefined> {
  const id = (await tx.users.nameHolder(org, handle)) ?? handle;
  for (const cluster of await tx.clusters.ofOrg(org)) {
    const held = await tx.log.resourcesOf(cluster.id, [id]);
    const told = held.get(id)?.find((resource) => resource.kind === "user");
    if (told?.kind !== "user") continue;
    const { uid, gid, name: posixName, gecos, home, shell } = told;
    const unstated = { origin: "", userName: "", externalId: undefined, active: false, attributes: {} };
    const known = { name: posixName, uid, gid, fullName: gecos, home, shell };
    return { id, org, ...unstated, ...known, createdAt: 0, modifiedAt: 0 };
  }
  return undefined;
}

/** The id of the person who has or had a UID. */
export async function subjectByNumber(tx: Tx, org: string, handle: string): Promise<string | undefined> {
  return /^[0-9]{1,10}$/.test(handle) ? tx.users.numberHolder(org, Number(handle)) : undefined;
}

/**
 * A cluster's people and groups at one revision, as its nodes hold them: what every answer of the read endpoint is made of.
 * A view never changes, so all walks of all nodes share it.
 */

import type { Revision } from "../../identity/position.ts";
import type { Group, Key, Member, Resource, User } from "../../identity/resource.ts";
import { printSshKey } from "../../identity/ssh-key.ts";
import { slices } from "./slices.ts";

export interface Account {
  readonly user: User;
  /** Lines of authorized_keys. */
  readonly keys: readonly string[];
  readonly groups: readonly Group[];
}

export interface Team {
  readonly group: Group;
  readonly members: readonly User[];
}

export interface View {
  readonly revision: Revision;
  /** By uid, ascending, under the id that SCIM knows them by. */
  readonly accounts: ReadonlyMap<string, Account>;
  /** By gid, ascending. */
  readonly teams: ReadonlyMap<string, Team>;
  /** How many resources it was made of. */
  readonly size: number;
}

/**
 * The id of a person or group here is its number: it never goes to another, it is known of a revision of the past too,
 * and a client that takes the id for a uid when it finds no other (nsscache does) takes the right one.
 */
export function idOf(resource: User | Group): string {
  return String(resource.kind === "user" ? resource.uid : resource.gid);
}

export async function viewOf(resources: readonly Resource[], revision: Revision): Promise<View> {
  const users: User[] = [];
  const groups: Group[] = [];
  const members: Member[] = [];
  const keys: Key[] = [];
  const take = (resource: Resource): unknown => {
    switch (resource.kind) {
      case "user":
        return users.push(resource);
      case "group":
        return groups.push(resource);
      case "member":
        return members.push(resource);
      case "key":
        return keys.push(resource);
      // Of no use to nsscache.
      case "sudo":
      case "account":
      case "association":
        return undefined;
    }
  };
  for await (const slice of slices(resources, one)) slice.forEach(take);

  const accounts = new Map<string, Growing>();
  for await (const slice of slices(
    users.sort((a, b) => a.uid - b.uid),
    one,
  )) {
    for (const user of slice) accounts.set(idOf(user), { user, keys: [], groups: [] });
  }
  const teams = new Map(
    groups.sort((a, b) => a.gid - b.gid).map((group) => [idOf(group), { group, members: [] as User[] }] as const),
  );
  // In one order, so that the same revision always gives the same answer.
  for await (const slice of slices(
    members.sort((a, b) => a.gid - b.gid || a.uid - b.uid),
    one,
  )) {
    for (const { gid, uid } of slice) {
      const account = accounts.get(String(uid));
      const team = teams.get(String(gid));
      if (!account || !team) continue;
      account.groups.push(team.group);
      team.members.push(account.user);
    }
  }
  for await (const slice of slices(keys, one)) {
    for (const { uid, key } of slice) accounts.get(String(uid))?.keys.push(printSshKey(key));
  }
  for await (const slice of slices([...accounts.values()], one)) for (const account of slice) account.keys.sort();
  return { revision, accounts, teams, size: resources.length };
}

const one = (): number => 1;

interface Growing extends Account {
  readonly keys: string[];
  readonly groups: Group[];
}

/** What both sides hold in the comparison with nsscache, and the maps that nsscache is given of it. */

import type { Delta } from "../../../identity/delta.ts";
import { shift } from "../../../identity/digest.ts";
import type { Position } from "../../../identity/position.ts";
import type { Resource } from "../../../identity/resource.ts";
import { printSshKey } from "../../../identity/ssh-key.ts";
import { aGroup, aKey, aMember, aSudo, aUser } from "../../../identity/testing.ts";

/** One user changes: how, and what is put for that. `round` makes each time another. */
export const changes = {
  "a user's gecos": (_: number, round: number): Resource[] => [aUser(7, { gecos: `User 7 ${"x".repeat(round)}` })],
  "a new user, in a group, with a key": (users: number, round: number): Resource[] => [
    aUser(users + round),
    aMember(1, users + round),
    aKey(users + round, `new ${round}`),
  ],
} as const;

export type Kind = keyof typeof changes;

/** The size of a large group; each other one has about two hundred members. */
const crowd = 10_000;

/** People with private groups, each in two groups, every tenth with a key; one large group, and one with sudo. */
export function content(users: number): Resource[] {
  const teams = Math.max(2, Math.floor(users / 100));
  const resources: Resource[] = [aSudo(1, ["/usr/bin/id"]), aGroup(0)];
  for (let n = 1; n <= teams; n++) resources.push(aGroup(n));
  for (let n = 0; n < users; n++) {
    resources.push(aUser(n));
    if (n < crowd) resources.push(aMember(0, n));
    for (const team of new Set([(n % teams) + 1, ((n * 7 + 3) % teams) + 1])) resources.push(aMember(team, n));
    if (n % 10 === 0) resources.push(aKey(n, `key ${n}`));
  }
  return resources;
}

/** The delta that puts some resources on top of a copy. */
export function deltaOf(at: Position, held: (put: Resource) => Resource | undefined, puts: readonly Resource[]): Delta {
  const went = puts.flatMap((put) => held(put) ?? []);
  return {
    from: at,
    to: { ...at, revision: at.revision + 1n, digest: shift(at.digest, puts, went) },
    puts,
    removals: [],
  };
}

export type Maps = Readonly<Record<"passwd" | "group" | "shadow" | "sshkey", string>>;

/** The same, as the files that nsscache's http source reads. Private groups are in: it serves what it is told, and no more. */
export function mapsOf(resources: Iterable<Resource>): Maps {
  const users = new Map<number, Resource & { kind: "user" }>();
  const groups = new Map<number, { readonly name: string; readonly members: string[] }>();
  const all = [...resources];
  for (const resource of all) {
    if (resource.kind === "user") users.set(resource.uid, resource);
    if (resource.kind === "group") groups.set(resource.gid, { name: resource.name, members: [] });
  }
  const nameOf = (uid: number) => users.get(uid)?.name ?? "";
  const keys: string[] = [];
  for (const resource of all) {
    if (resource.kind === "member") groups.get(resource.gid)?.members.push(nameOf(resource.uid));
    if (resource.kind === "key") keys.push(`${nameOf(resource.uid)}:${printSshKey(resource.key)}`);
  }
  for (const { uid, name } of users.values()) groups.set(uid, { name, members: [] });
  const lines = (of: Iterable<string>) => `${[...of].join("\n")}\n`;
  return {
    passwd: lines(
      [...users.values()].map(
        ({ name, uid, gid, gecos, home, shell }) => `${name}:x:${uid}:${gid}:${gecos}:${home}:${shell}`,
      ),
    ),
    group: lines([...groups].map(([gid, { name, members }]) => `${name}:x:${gid}:${members.join(",")}`)),
    shadow: lines([...users.values()].map(({ name }) => `${name}:*:20000:0:99999:7:::`)),
    sshkey: lines(keys),
  };
}

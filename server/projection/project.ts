/**
 * The projection: what a cluster should hold of one subject, from the subject and the cluster's rules alone. Pure, and
 * costs what the subject has, never what the directory has.
 *
 * A person is in a cluster iff active and in a group that a login rule names. A group is a POSIX group there iff a rule
 * names it; a membership exists iff both ends do.
 */

import { fold } from "../../identity/fold.ts";
import type { Gid } from "../../identity/id.ts";
import { homeOf, type Resource, sanitiseGecos, usualShell } from "../../identity/resource.ts";
import type { SshKey } from "../../identity/ssh-key.ts";
import type { Rule } from "../store/clusters.ts";
import type { Group } from "../store/groups.ts";
import type { User } from "../store/users.ts";

/** What a cluster's rules say, ready to be asked. */
export interface Access {
  /** Folded display names of groups that may sign in. */
  readonly login: ReadonlySet<string>;
}

export function accessOf(rules: readonly Rule[]): Access {
  return { login: new Set(rules.filter(({ grant }) => grant.kind === "login").map(({ group }) => fold(group))) };
}

/** Whether a rule of the cluster names a group. */
export function names({ login }: Access, { displayName }: Pick<Group, "displayName">): boolean {
  return login.has(fold(displayName));
}

/** What the cluster should hold of a person; nothing if they have no access. */
export function projectUser(
  user: User,
  groups: readonly Group[],
  keys: readonly SshKey[],
  access: Access,
): readonly Resource[] {
  const granting = groups.filter((group) => names(access, group));
  if (!user.active || granting.length === 0) return [];
  const { uid, name } = user;
  return [
    {
      kind: "user",
      uid,
      gid: Number(uid) as Gid,
      name,
      gecos: sanitiseGecos(user.fullName),
      home: homeOf(name),
      shell: usualShell,
    },
    ...granting.map(({ gid }) => ({ kind: "member", gid, uid }) as const),
    ...keys.map(
      ({ type, base64, comment, sha256 }) => ({ kind: "key", uid, key: { type, base64, comment, sha256 } }) as const,
    ),
  ];
}

/** What the cluster should hold of a group itself; its members are the users' resources. */
export function projectGroup(group: Group, access: Access): readonly Resource[] {
  return names(access, group) ? [{ kind: "group", gid: group.gid, name: group.name }] : [];
}

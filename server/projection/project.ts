/**
 * The projection: what a cluster should hold of one subject, from the subject and the cluster's rules alone. Pure, and
 * costs what the subject has, never what the directory has.
 *
 * A person is in a cluster iff active and in a group that a login rule names. A group is a POSIX group there iff a rule
 * names it; a membership exists iff both ends do; sudo is the group's, an association is each member's.
 */

import type { AccountGrant } from "../../identity/grant.ts";
import type { Gid, Uid } from "../../identity/id.ts";
import { type Association, type Resource, sanitiseGecos } from "../../identity/resource.ts";
import { homeFrom } from "../../identity/template.ts";
import type { Group } from "../store/groups.ts";
import type { StoredKey } from "../store/keys.ts";
import type { User } from "../store/users.ts";
import { type Access, grantedBy } from "./access.ts";

/** What the cluster should hold of a person; nothing if they have no access. */
export function projectUser(
  user: User,
  groups: readonly Group[],
  keys: readonly StoredKey[],
  access: Access,
): readonly Resource[] {
  const granting = groups.flatMap((group) => {
    const grants = grantedBy(access, group);
    return grants ? [{ gid: group.gid, grants }] : [];
  });
  if (!user.active || !granting.some(({ grants }) => grants.login)) return [];
  const { uid, name } = user;
  const { org, cluster } = access;
  return [
    {
      kind: "user",
      uid,
      gid: user.gid ?? (Number(uid) as Gid),
      name,
      gecos: sanitiseGecos(user.fullName),
      home: user.home ?? homeFrom(access.home, { name, uid, org, cluster }),
      shell: user.shell ?? access.shell,
      locked: false,
    },
    ...granting.map(({ gid }) => ({ kind: "member", gid, uid }) as const),
    ...keys.map(({ type, base64, comment, sha256, expiresAt }) => {
      const expires = expiresAt === undefined ? undefined : Math.floor(expiresAt / 1000);
      return { kind: "key", uid, key: { type, base64, comment, sha256 }, expires } as const;
    }),
    ...associations(
      uid,
      granting.flatMap(({ grants }) => grants.accounts),
    ),
  ];
}

/** What the cluster should hold of a group itself; its members are the users' resources. */
export function projectGroup(group: Group, access: Access): readonly Resource[] {
  const grants = grantedBy(access, group);
  if (!grants) return [];
  const { gid, name } = group;
  const sudo =
    grants.sudo && ({ kind: "sudo", gid, password: grants.sudo.password, commands: grants.sudo.commands } as const);
  return [{ kind: "group", gid, name }, ...(sudo ? [sudo] : [])];
}

const levels = ["none", "operator", "administrator"] as const;

/**
 * One association for each account. Several groups may grant one: the highest admin level counts, and of a limit that they state
 * differently, that of the last group by name. Jobs may finish if any of them says so. One account is the default.
 */
function associations(uid: Uid, grants: readonly AccountGrant[]): Association[] {
  const accounts = [...new Set(grants.map(({ account }) => account))].sort();
  const main = accounts.find((name) => grants.some(({ account, isDefault }) => account === name && isDefault));
  return accounts.map((account) => {
    const granted = grants.filter((grant) => grant.account === account);
    const highest = Math.max(...granted.map(({ adminLevel }) => levels.indexOf(adminLevel)));
    return {
      kind: "association",
      account,
      uid,
      isDefault: account === (main ?? accounts[0]),
      adminLevel: levels[highest] ?? "none",
      limits: Object.assign({}, ...granted.map(({ limits }) => limits)) as Association["limits"],
      jobs: granted.some(({ jobs }) => jobs === "finish") ? "finish" : "cancel",
    };
  });
}

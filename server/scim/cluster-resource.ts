/** A cluster's people and groups in SCIM's words. No list is ever null or absent: clients loop over them unasked. */

import type { Group, User } from "../../identity/resource.ts";
import { clusterGroupType, clusterUserType, coreweaveUrn } from "./cluster-schema.ts";
import { type Account, idOf, type Team } from "./cluster-view.ts";
import type { Doc } from "./json.ts";
import { locationOf } from "./meta.ts";
import { posixUrn } from "./schema.ts";

// The name is the POSIX name everywhere: whatever a client puts into passwd, it must not be an e-mail address.
export function renderAccount({ user, keys, groups }: Account, base: string): Doc {
  const { uid, gid, name, gecos, home, shell } = user;
  const account = { userName: name, uidNumber: uid, gidNumber: gid, homeDirectory: home, loginShell: shell };
  return {
    schemas: [clusterUserType.core.id, posixUrn.user, coreweaveUrn],
    id: idOf(user),
    userName: name,
    ...(gecos !== "" && { name: { formatted: gecos }, displayName: gecos }),
    active: !user.locked,
    groups: groups.map((group) => ({ ...reference(group, base), type: "direct" })),
    [posixUrn.user]: { ...account, ...(gecos !== "" && { gecos }), sshKeys: keys },
    [coreweaveUrn]: { ...account, sunkSshKeys: keys },
    meta: { resourceType: "User", location: locationOf(clusterUserType, idOf(user), base) },
  };
}

/** The same without the names that were not asked for. */
export function withoutAlias(doc: Doc): Doc {
  return {
    ...Object.fromEntries(Object.entries(doc).filter(([name]) => name !== coreweaveUrn)),
    schemas: [clusterUserType.core.id, posixUrn.user],
  };
}

export function renderTeam({ group, members }: Team, base: string): Doc {
  const { name, gid } = group;
  return {
    schemas: [clusterGroupType.core.id, posixUrn.group],
    id: idOf(group),
    displayName: name,
    members: members.map((user) => ({ ...reference(user, base), type: "User" })),
    [posixUrn.group]: { groupName: name, gidNumber: gid },
    meta: { resourceType: "Group", location: locationOf(clusterGroupType, idOf(group), base) },
  };
}

function reference(resource: User | Group, base: string): Doc {
  const type = resource.kind === "user" ? clusterUserType : clusterGroupType;
  const id = idOf(resource);
  return { value: id, $ref: locationOf(type, id, base), display: resource.name };
}

/** A group in SCIM's words, and back. */

import type { GroupEdit } from "../directory/groups.ts";
import type { Group, GroupMember } from "../store/groups.ts";
import { refuseAs } from "./errors.ts";
import { type Doc, isObject, property } from "./json.ts";
import { metaOf } from "./meta.ts";
import { groupType, posixUrn, userType } from "./schema.ts";
import { readResource } from "./value.ts";

export interface StatedGroup {
  readonly displayName: string;
  readonly externalId: string | undefined;
  /** Ids of users and groups; undefined if the request does not say who is in it. */
  readonly members: readonly string[] | undefined;
  readonly gidNumber: number | undefined;
}

/** @throws ScimRefusal `invalidValue`. */
export function readGroup(body: Doc): StatedGroup {
  const stated = property(body, "members");
  // Members are read apart: a group has more of them than any other attribute has values.
  const others = Object.fromEntries(Object.entries(body).filter(([key]) => key.toLowerCase() !== "members"));
  const { displayName, externalId, [posixUrn.group]: posix } = readResource(groupType, others);
  if (typeof displayName !== "string") refuseAs("invalidValue", "displayName is required");
  return {
    displayName,
    externalId: typeof externalId === "string" ? externalId : undefined,
    members: stated === undefined || stated === null ? undefined : memberIds(stated),
    gidNumber: isObject(posix) && typeof posix.gidNumber === "number" ? posix.gidNumber : undefined,
  };
}

/** A group's number is given once: an edit may repeat it. @throws ScimRefusal `mutability`, when it is carried out. */
export function sameNumber(stated: unknown): GroupEdit {
  return {
    kind: "check",
    check({ gid }) {
      if (stated !== gid) refuseAs("mutability", `gidNumber is ${gid}, and never changes`);
    },
  };
}

/**
 * Ids of the users and groups that a value of `members` names: an array, or one, of `{value}` or bare ids.
 * @throws ScimRefusal `invalidValue`.
 */
export function memberIds(stated: unknown): string[] {
  const members = (Array.isArray(stated) ? stated : [stated]) as unknown[];
  return [...new Set(members.map(memberId))];
}

/** What is answered; without `members` if they were not asked for. */
export function renderGroup(group: Group, members: readonly GroupMember[] | undefined, base: string): Doc {
  const { id, externalId, displayName, name, gid } = group;
  return {
    schemas: [groupType.core.id, posixUrn.group],
    id,
    ...(externalId !== undefined && { externalId }),
    displayName,
    ...(members && { members: members.map((member) => renderMember(member, base)) }),
    [posixUrn.group]: { groupName: name, gidNumber: gid },
    meta: metaOf(groupType, group, base),
  };
}

function renderMember({ id, type, display }: GroupMember, base: string): Doc {
  const { name, endpoint } = type === "user" ? userType : groupType;
  return { value: id, $ref: `${base}${endpoint}/${id}`, display, type: name };
}

function memberId(member: unknown): string {
  const id = isObject(member) ? property(member, "value") : member;
  if (typeof id !== "string" || id === "") {
    refuseAs("invalidValue", "members: each must have the id of a user or a group as value");
  }
  return id;
}

/**
 * A person in SCIM's words, and back. What the directory decides with is a field of its own; everything else that was
 * stated is kept, canonical, to be said back.
 */

import { printable } from "../../identity/display-name.ts";
import { homeOf, sanitiseGecos, usualShell } from "../../identity/resource.ts";
import type { UserInput, UserState } from "../directory/users.ts";
import type { Membership } from "../store/groups.ts";
import type { User } from "../store/users.ts";
import { refuseAs } from "./errors.ts";
import { type Doc, isObject } from "./json.ts";
import { metaOf } from "./meta.ts";
import { ownAttributes, posixUrn, userType } from "./schema.ts";
import { searchValues } from "./search-values.ts";

/**
 * What the directory is told of a canonical resource.
 * @throws ScimRefusal `invalidValue` without a userName, `mutability` with another uidNumber than theirs.
 */
export function toInput(doc: Doc, { active: unlessStated, uid }: Before): UserInput {
  const { userName, externalId, active, [posixUrn.user]: account, ...stated } = doc;
  if (typeof userName !== "string") refuseAs("invalidValue", "userName is required");
  const uidNumber = isObject(account) && typeof account.uidNumber === "number" ? account.uidNumber : undefined;
  if (uid !== undefined && uidNumber !== undefined && uidNumber !== uid) {
    refuseAs("mutability", `uidNumber is ${uid}, and never changes`);
  }
  const attributes = ordered({
    ...stated,
    displayName: typeof stated.displayName === "string" ? printable(stated.displayName) : undefined,
  });
  return {
    userName,
    externalId: typeof externalId === "string" ? externalId : undefined,
    active: typeof active === "boolean" ? active : unlessStated,
    fullName: fullName(attributes),
    attributes,
    values: searchValues(attributes),
    ...(uid === undefined && uidNumber !== undefined && { uidNumber }),
  };
}

/** What holds if a resource does not state it. */
export interface Before {
  readonly active: boolean;
  /** The number that the person has; undefined: they are new. */
  readonly uid?: number;
}

/** The canonical resource that a PATCH starts from. */
export function fromInput({ userName, externalId, active, attributes, uid }: UserState & Pick<User, "uid">): Doc {
  const account = { [posixUrn.user]: { uidNumber: uid } };
  return { ...attributes, userName, ...(externalId !== undefined && { externalId }), active, ...account };
}

/** What is answered. Without `groups` (the person's), none are shown. */
export function renderUser(user: User, groups: readonly Membership[], base: string): Doc {
  const { id, externalId, userName, active, attributes, name, uid } = user;
  const extensions = userType.extensions
    .map((extension) => extension.id)
    .filter((urn) => Object.hasOwn(attributes, urn));
  return {
    schemas: [userType.core.id, ...extensions, posixUrn.user],
    id,
    ...(externalId !== undefined && { externalId }),
    userName,
    active,
    ...attributes,
    ...(groups.length > 0 && { groups: groups.map((group) => membership(group, base)) }),
    [posixUrn.user]: {
      userName: name,
      uidNumber: uid,
      gidNumber: user.gid ?? uid,
      homeDirectory: homeOf(name),
      loginShell: usualShell,
    },
    meta: metaOf(userType, user, base),
  };
}

function membership({ group: { id, displayName }, type }: Membership, base: string): Doc {
  return { value: id, $ref: `${base}/Groups/${id}`, display: displayName, type };
}

/** For passwd's gecos field: the display name, or what the parts of the name give. */
function fullName({ displayName, name }: Doc): string {
  const { formatted, givenName, familyName } = isObject(name) ? name : ({} as Doc);
  const parts = [givenName, familyName].filter((part) => typeof part === "string").join(" ");
  const full = [displayName, formatted, parts].find((text) => typeof text === "string" && text !== "");
  return sanitiseGecos(typeof full === "string" ? full : "");
}

/** The same resource always has the same text, so that a change that changes nothing is seen as none. */
function ordered(doc: Doc): Doc {
  const names = [...ownAttributes(userType).map(({ name }) => name), ...userType.extensions.map(({ id }) => id)];
  return Object.fromEntries(names.flatMap((name) => (doc[name] === undefined ? [] : [[name, doc[name]]])));
}

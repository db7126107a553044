/**
 * Where the store keeps what a SCIM name means: a column, a set of values that are asked one by one, or something that is
 * the same for every resource. The one table that both filters and sorting go by.
 */

import type { Name } from "../../identity/name.ts";
import { homeOf, usualShell } from "../../identity/resource.ts";
import type { Column, Field, SetName } from "../store/search.ts";
import type { Attribute } from "./attribute.ts";
import { groupType, posixUrn, type ResourceType, type Target, userType } from "./schema.ts";

export type Stored =
  | { readonly kind: "field"; readonly field: Field }
  /** A millisecond of which the client sees `W/"..."`. */
  | { readonly kind: "version"; readonly field: Field }
  | { readonly kind: "constant"; readonly value: string }
  /** One value of a user, in a row of its own. */
  | { readonly kind: "value"; readonly attribute: string }
  /** Values of which each is looked at by itself, and has these parts. */
  | { readonly kind: "sets"; readonly sets: readonly StoredSet[] };

export interface StoredSet {
  readonly of: SetName;
  readonly part: (name: string) => Stored;
}

/** Undefined for what cannot be asked about at all: `password`, and what is only made of parts. */
export function storedAt(type: ResourceType, { extension, attribute, sub }: Target, base: string): Stored | undefined {
  if (attribute.returned === "never" || attribute.mutability === "writeOnly") return undefined;
  if (extension?.id === posixUrn.user) return posixUser(attribute.name);
  if (extension?.id === posixUrn.group) return field(attribute.name === "groupName" ? "name" : "gid");
  if (attribute.name === "meta") return metaPart(type, sub?.name, base);
  if (attribute.name === "schemas") return undefined;
  if (type === groupType) return groupPart(attribute.name, base);
  if (attribute.name === "groups") return { kind: "sets", sets: groupsOfUser(base) };
  const column = Object.hasOwn(userFields, attribute.name) ? userFields[attribute.name] : undefined;
  if (column) return field(column);
  if (attribute.multiValued) return { kind: "sets", sets: [valuesOf(attribute)] };
  if (attribute.type !== "complex") return { kind: "value", attribute: attribute.name };
  return sub ? { kind: "value", attribute: `${attribute.name}.${sub.name}` } : undefined;
}

const userFields: Readonly<Record<string, Column>> = {
  id: "id",
  externalId: "externalId",
  userName: "userName",
  active: "active",
};

/** What stands before the name in everybody's home directory. */
const homePrefix = homeOf("x" as Name).slice(0, -1);

function field(column: Column, prefix?: string): Stored {
  return { kind: "field", field: prefix === undefined ? { column } : { column, prefix } };
}

function posixUser(name: string): Stored {
  switch (name) {
    case "userName":
      return field("name");
    case "homeDirectory":
      return field("name", homePrefix);
    case "loginShell":
      return { kind: "constant", value: usualShell };
    default:
      return field("uid");
  }
}

function metaPart({ name, endpoint }: ResourceType, part: string | undefined, base: string): Stored | undefined {
  switch (part) {
    case "resourceType":
      return { kind: "constant", value: name };
    case "created":
      return field("created");
    case "lastModified":
      return field("modified");
    case "location":
      return field("id", `${base}${endpoint}/`);
    case "version":
      return { kind: "version", field: { column: "modified" } };
    default:
      return undefined;
  }
}

function groupPart(name: string, base: string): Stored {
  switch (name) {
    case "members":
      return {
        kind: "sets",
        sets: [
          { of: "member users", part: reference("User", "userName", `${base}${userType.endpoint}/`) },
          { of: "member groups", part: reference("Group", "displayName", `${base}${groupType.endpoint}/`) },
        ],
      };
    case "displayName":
      return field("displayName");
    default:
      return field(name === "id" ? "id" : "externalId");
  }
}

function groupsOfUser(base: string): StoredSet[] {
  const url = `${base}${groupType.endpoint}/`;
  return [
    { of: "direct groups", part: reference("direct", "displayName", url) },
    { of: "indirect groups", part: reference("indirect", "displayName", url) },
  ];
}

/** The parts of a reference to a resource: `value`, `$ref`, `display`, `type`. */
function reference(type: string, display: Column, url: string): (name: string) => Stored {
  return (name) => {
    switch (name) {
      case "type":
        return { kind: "constant", value: type };
      case "display":
        return field(display);
      default:
        return field("id", name === "$ref" ? url : undefined);
    }
  };
}

function valuesOf({ name }: Attribute): StoredSet {
  return { of: { attribute: name }, part: (part) => field(part as Column) };
}

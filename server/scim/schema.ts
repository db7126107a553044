/** The schemas that this server knows: what RFC 7643 says of users and groups, and what a POSIX account adds to it. */

import { type Attribute, attribute, complex, named, plural, texts } from "./attribute.ts";

export interface Schema {
  /** Its URN. */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly attributes: readonly Attribute[];
}

export interface ResourceType {
  readonly name: "User" | "Group";
  readonly endpoint: "/Users" | "/Groups";
  readonly core: Schema;
  readonly extensions: readonly Schema[];
}

/** An attribute where it lives: in the core, or in an extension; perhaps one of its parts only. */
export interface Target {
  readonly extension: Schema | undefined;
  readonly attribute: Attribute;
  readonly sub: Attribute | undefined;
}

const readOnly = { mutability: "readOnly" } as const;
const immutable = { mutability: "immutable" } as const;

/** What every resource has, and no schema lists (RFC 7643, section 3.1). */
const common: readonly Attribute[] = [
  attribute("schemas", { ...readOnly, multiValued: true, returned: "always", caseExact: true }),
  attribute("id", { ...readOnly, returned: "always", caseExact: true, uniqueness: "server" }),
  attribute("externalId", { caseExact: true }),
  complex(
    "meta",
    [
      attribute("resourceType", { ...readOnly, caseExact: true }),
      attribute("created", { ...readOnly, type: "dateTime" }),
      attribute("lastModified", { ...readOnly, type: "dateTime" }),
      attribute("location", { ...readOnly, type: "reference", caseExact: true }),
      attribute("version", { ...readOnly, caseExact: true }),
    ],
    readOnly,
  ),
];

/** The parts of an attribute that points to another resource. */
function reference(value: string, ...others: readonly string[]): Attribute[] {
  return [...texts(value), attribute("$ref", { type: "reference", caseExact: true }), ...texts(...others)];
}

const userCore: Schema = {
  id: "urn:ietf:params:scim:schemas:core:2.0:User",
  name: "User",
  description: "A person",
  attributes: [
    attribute("userName", { required: true, uniqueness: "server" }),
    complex("name", texts("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")),
    ...texts("displayName", "nickName"),
    attribute("profileUrl", { type: "reference", caseExact: true }),
    ...texts("title", "userType", "preferredLanguage", "locale", "timezone"),
    attribute("active", { type: "boolean" }),
    attribute("password", { mutability: "writeOnly", returned: "never", caseExact: true }),
    plural("emails"),
    plural("phoneNumbers"),
    plural("ims"),
    plural("photos", { type: "reference", caseExact: true }),
    complex(
      "addresses",
      [
        ...texts("formatted", "streetAddress", "locality", "region", "postalCode", "country", "type"),
        attribute("primary", { type: "boolean" }),
      ],
      { multiValued: true },
    ),
    complex("groups", reference("value", "display", "type"), { ...readOnly, multiValued: true }),
    plural("entitlements"),
    plural("roles"),
  ],
};

const enterprise: Schema = {
  id: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
  name: "EnterpriseUser",
  description: "A person's place in an organisation",
  attributes: [
    ...texts("employeeNumber", "costCenter", "organization", "division", "department"),
    complex("manager", reference("value", "displayName")),
  ],
};

const posixUser: Schema = {
  id: "urn:rollcall:params:scim:schemas:extension:posix:1.0:User",
  name: "PosixUser",
  description: "The account that the person has on every node of their clusters",
  attributes: [
    attribute("userName", { ...readOnly, caseExact: true, uniqueness: "server" }),
    attribute("uidNumber", { ...immutable, type: "integer", uniqueness: "server" }),
    attribute("gidNumber", { ...readOnly, type: "integer" }),
    attribute("homeDirectory", { ...readOnly, caseExact: true }),
    attribute("loginShell", { ...readOnly, caseExact: true }),
  ],
};

const groupCore: Schema = {
  id: "urn:ietf:params:scim:schemas:core:2.0:Group",
  name: "Group",
  description: "A set of people",
  attributes: [
    attribute("displayName", { required: true, uniqueness: "server" }),
    complex("members", reference("value", "display", "type"), { multiValued: true }),
  ],
};

const posixGroup: Schema = {
  id: "urn:rollcall:params:scim:schemas:extension:posix:1.0:Group",
  name: "PosixGroup",
  description: "The group that nodes know",
  attributes: [
    attribute("groupName", { ...readOnly, caseExact: true, uniqueness: "server" }),
    attribute("gidNumber", { ...immutable, type: "integer", uniqueness: "server" }),
  ],
};

export const userType: ResourceType = {
  name: "User",
  endpoint: "/Users",
  core: userCore,
  extensions: [enterprise, posixUser],
};

export const groupType: ResourceType = {
  name: "Group",
  endpoint: "/Groups",
  core: groupCore,
  extensions: [posixGroup],
};

export const posixUrn = { user: posixUser.id, group: posixGroup.id } as const;

/** Attributes of a resource itself, not of an extension. */
export function ownAttributes(type: ResourceType): readonly Attribute[] {
  return [...common, ...type.core.attributes];
}

/** An extension by its URN, whatever its case. */
export function extensionNamed({ extensions }: ResourceType, urn: string): Schema | undefined {
  const wanted = urn.toLowerCase();
  return extensions.find(({ id }) => id.toLowerCase() === wanted);
}

/**
 * What a name means: `userName`, `name.givenName`, `urn:...:User:department`. Entra says `manager` without its URN, so a
 * name that the core does not have is looked for in the extensions.
 */
export function resolve(type: ResourceType, name: string): Target | undefined {
  const lower = name.toLowerCase();
  const schema = [type.core, ...type.extensions].find(({ id }) => lower.startsWith(`${id.toLowerCase()}:`));
  if (schema) return within(type, schema, name.slice(schema.id.length + 1));
  for (const candidate of [type.core, ...type.extensions]) {
    const target = within(type, candidate, name);
    if (target) return target;
  }
  return undefined;
}

function within(type: ResourceType, schema: Schema, name: string): Target | undefined {
  const [first = "", second, ...rest] = name.split(".");
  const isCore = schema === type.core;
  const found = named(isCore ? ownAttributes(type) : schema.attributes, first);
  const sub = second === undefined ? undefined : named(found?.subAttributes, second);
  if (!found || rest.length > 0 || (second !== undefined && !sub)) return undefined;
  return { extension: isCore ? undefined : schema, attribute: found, sub };
}

/** `active` may be absent, but not taken away: what then? A leaver would be back by a null. */
export function canBeUnassigned({ name, required }: Attribute): boolean {
  return !required && name !== "active";
}

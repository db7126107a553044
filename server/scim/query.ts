/**
 * Compiles a filter to what the store can be asked. So far the questions that Okta and Entra ask: equality of the
 * unique attributes, joined by `and`. Everything else of the grammar is understood, and refused with that said.
 */

import type { GroupQuery } from "../store/groups.ts";
import type { UserQuery } from "../store/users.ts";
import { refuseAs } from "./errors.ts";
import { type Filter, parseFilter } from "./filter.ts";
import { groupType, type ResourceType, resolve, userType } from "./schema.ts";

/** @throws ScimRefusal `invalidFilter`. */
export function userQuery(filter: string | undefined): UserQuery {
  return compile<keyof UserQuery>(userType, filter, {
    userName: "userName",
    externalId: "externalId",
    id: "id",
  });
}

/** @throws ScimRefusal `invalidFilter`. */
export function groupQuery(filter: string | undefined): GroupQuery {
  return compile<keyof GroupQuery>(groupType, filter, {
    displayName: "displayName",
    externalId: "externalId",
    id: "id",
    members: "member",
    "members.value": "member",
  });
}

/** Which field of the store's query answers for an attribute. */
type Columns<Field extends string> = Readonly<Record<string, Field>>;

function compile<Field extends string>(
  type: ResourceType,
  text: string | undefined,
  columns: Columns<Field>,
): Partial<Record<Field, string>> {
  if (text === undefined) return {};
  const query: Partial<Record<Field, string>> = {};
  for (const [field, value] of equalities(type, parseFilter(text), columns)) {
    if (query[field] !== undefined) refuseAs("invalidFilter", `asking for ${field} twice is not supported yet`);
    query[field] = value;
  }
  return query;
}

function equalities<Field extends string>(
  type: ResourceType,
  filter: Filter,
  columns: Columns<Field>,
  prefix = "",
): [Field, string][] {
  if (filter.kind === "and") return filter.terms.flatMap((term) => equalities(type, term, columns, prefix));
  if (filter.kind === "some" && prefix === "") return equalities(type, filter.of, columns, `${filter.name}.`);
  const field =
    filter.kind === "compare" && filter.op === "eq" ? fieldOf(type, prefix + filter.name, columns) : undefined;
  if (filter.kind !== "compare" || field === undefined || typeof filter.value !== "string") {
    const known = Object.keys(columns).join(", ");
    return refuseAs("invalidFilter", `only eq with text is supported yet, joined by and, on: ${known}`);
  }
  return [[field, filter.value]];
}

function fieldOf<Field extends string>(type: ResourceType, name: string, columns: Columns<Field>): Field | undefined {
  const target = resolve(type, name);
  if (!target || target.extension) return undefined;
  const full = target.sub ? `${target.attribute.name}.${target.sub.name}` : target.attribute.name;
  return Object.hasOwn(columns, full) ? columns[full] : undefined;
}

/**
 * Questions to the directory as data, and their SQL. Identifiers come from the tables below only, every value is bound.
 * Truth has two values: a comparison with something that is not there is false, and `not` of it is true; so negation is
 * carried down to the comparisons, where SQL's NULL is asked for by name. Sets (`emails`, `members`) are `id in (select
 * ...)`, which an index answers; as a correlated EXISTS they cost thousands of times more.
 *
 * Text compares by code point. What ignores case is folded on both sides before it comes here.
 */

import { type RawBuilder, sql } from "kysely";

export type Operator = "eq" | "co" | "sw" | "ew" | "gt" | "ge" | "lt" | "le";

export type Where =
  | { readonly kind: "all" | "none" }
  | { readonly kind: "and" | "or"; readonly terms: readonly Where[] }
  | { readonly kind: "not"; readonly term: Where }
  | { readonly kind: "compare"; readonly field: Field; readonly op: Operator; readonly value: string | number }
  | { readonly kind: "present"; readonly field: Field }
  /** Something of a set satisfies all of this at once. */
  | { readonly kind: "some"; readonly of: SetName; readonly where: Where };

/** A column by the name that this file gives it; with a prefix, the text that the two make together. */
export interface Field {
  readonly column: Column;
  readonly prefix?: string;
}

export type Column = keyof typeof userColumns | keyof typeof groupColumns | keyof typeof valueColumns;

/** Groups of a user, members of a group, or the values of one of a user's attributes. */
export type SetName = "direct groups" | "indirect groups" | "member users" | "member groups" | { attribute: string };

/** What a list is sorted by: a column of the resource, or of the leading value of one of a user's attributes. */
export interface Order {
  readonly column: Column;
  readonly attribute?: string;
  readonly descending: boolean;
}

export interface Search {
  readonly where: Where;
  readonly order: Order | undefined;
}

export const everything: Search = { where: { kind: "all" }, order: undefined };

const userColumns = {
  id: "users.id",
  externalId: "users.external_id",
  userName: "users.user_name_folded",
  active: "users.active",
  created: "users.created_at",
  modified: "users.modified_at",
  name: "users.name",
  uid: "users.uid",
} as const;

const groupColumns = {
  id: "groups.id",
  externalId: "groups.external_id",
  displayName: "groups.display_name_folded",
  created: "groups.created_at",
  modified: "groups.modified_at",
  name: "groups.name",
  gid: "groups.gid",
} as const;

const valueColumns = {
  value: "v.value",
  display: "v.display",
  type: "v.type",
  primary: "v.is_primary",
  formatted: "v.formatted",
  streetAddress: "v.street_address",
  locality: "v.locality",
  region: "v.region",
  postalCode: "v.postal_code",
  country: "v.country",
} as const;

type Table = Readonly<Partial<Record<Column, string>>>;
type Condition = RawBuilder<boolean>;

export function userCondition(where: Where): Condition {
  return emit(where, userColumns, false);
}

export function groupCondition(where: Where): Condition {
  return emit(where, groupColumns, false);
}

/** The column that users are sorted by; of an attribute, that of the joined leading value `v`. */
export function userOrder({ column, attribute }: Order): RawBuilder<unknown> {
  return reference(attribute === undefined ? userColumns : valueColumns, column);
}

export function groupOrder({ column }: Order): RawBuilder<unknown> {
  return reference(groupColumns, column);
}

function emit(where: Where, table: Table, negated: boolean): Condition {
  switch (where.kind) {
    case "all":
    case "none":
      return (where.kind === "all") === negated ? sql`1 = 0` : sql`1 = 1`;
    case "and":
    case "or": {
      const terms = where.terms.map((term) => emit(term, table, negated));
      const joint = (where.kind === "and") === negated ? sql` or ` : sql` and `;
      return sql`(${sql.join(terms, joint)})`;
    }
    case "not":
      return emit(where.term, table, !negated);
    case "present": {
      const column = reference(table, where.field.column);
      return negated ? sql`${column} is null` : sql`${column} is not null`;
    }
    case "compare":
      return comparison(where.field, where.op, where.value, table, negated);
    case "some": {
      const own = table === userColumns ? sql.ref("users.id") : sql.ref("groups.id");
      const chosen = members(where.of, where.where);
      return negated ? sql`${own} not in (${chosen})` : sql`${own} in (${chosen})`;
    }
  }
}

/** The ids of those that have something of the set that satisfies a condition. */
function members(of: SetName, where: Where): RawBuilder<unknown> {
  switch (of) {
    case "direct groups":
      return sql`select m.user_id from memberships m join groups on groups.id = m.group_id
        where ${emit(where, groupColumns, false)}`;
    case "indirect groups":
      return sql`with recursive below (root, id) as (
          select n.group_id, n.member_id from nestings n join groups on groups.id = n.group_id
            where ${emit(where, groupColumns, false)}
          union select below.root, n.member_id from below join nestings n on n.group_id = below.id)
        select m.user_id from below join memberships m on m.group_id = below.id
          where not exists (select 1 from memberships d where d.group_id = below.root and d.user_id = m.user_id)`;
    case "member users":
      return sql`select m.group_id from memberships m join users on users.id = m.user_id
        where ${emit(where, userColumns, false)}`;
    case "member groups":
      return sql`select n.group_id from nestings n join groups on groups.id = n.member_id
        where ${emit(where, groupColumns, false)}`;
    default:
      return sql`select v.user_id from user_values v
        where v.attribute = ${of.attribute} and ${emit(where, valueColumns, false)}`;
  }
}

function comparison(
  { column: name, prefix = "" }: Field,
  op: Operator,
  value: string | number,
  table: Table,
  negated: boolean,
): Condition {
  const column = reference(table, name);
  if (op === "eq" && prefix !== "") {
    // Asked of the column itself, so that its index answers.
    const text = String(value);
    if (!text.startsWith(prefix)) return emit({ kind: "none" }, table, negated);
    return comparison({ column: name }, op, text.slice(prefix.length), table, negated);
  }
  const held = prefix === "" ? column : sql`${prefix} || ${column}`;
  const condition = operation(held, op, value);
  return negated ? sql`(${column} is null or not (${condition}))` : condition;
}

function operation(held: RawBuilder<unknown>, op: Operator, value: string | number): Condition {
  // PostgreSQL takes a value for one of the column's type, and columns of numbers are whole.
  const isWhole = typeof value === "string" || Number.isSafeInteger(value);
  const operand = isWhole ? sql`${value}` : sql`cast(${value} as double precision)`;
  switch (op) {
    case "eq":
      return sql`${held} = ${operand}`;
    case "gt":
      return sql`${held} > ${operand}`;
    case "ge":
      return sql`${held} >= ${operand}`;
    case "lt":
      return sql`${held} < ${operand}`;
    case "le":
      return sql`${held} <= ${operand}`;
    case "co":
      return sql`${held} like ${`%${escaped(value)}%`} escape '\\'`;
    case "ew":
      return sql`${held} like ${`%${escaped(value)}`} escape '\\'`;
    case "sw": {
      const from = String(value);
      const until = after(from);
      return until === undefined ? sql`${held} >= ${from}` : sql`(${held} >= ${from} and ${held} < ${until})`;
    }
  }
}

export function escaped(value: string | number): string {
  return String(value).replace(/[\\%_]/g, "\\$&");
}

/** The least text above everything that starts like this one; undefined if there is none. */
function after(text: string): string | undefined {
  const points = Array.from(text, (char) => char.codePointAt(0) ?? 0);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}

function reference(table: Table, column: Column): RawBuilder<unknown> {
  const known = Object.hasOwn(table, column) ? table[column] : undefined;
  if (known === undefined) throw new Error(`no column ${column} in this table`);
  return sql.ref(known);
}

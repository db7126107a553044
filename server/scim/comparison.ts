/**
 * One attribute against one literal: what a comparison of a filter means for a value of the attribute's type. Checked when
 * it is made, so that a comparison that means nothing is refused before anything is looked at.
 *
 * Text compares folded unless the attribute is caseExact, and is ordered by code point, as databases order UTF-8. Numbers
 * and booleans in a filter compare with text as their text. Dates compare as instants.
 */

import { fold } from "../../identity/fold.ts";
import { quote } from "../../identity/refusal.ts";
import type { Attribute } from "./attribute.ts";
import { refuseAs } from "./errors.ts";
import type { Comparison, Literal } from "./filter.ts";
import { isUnassigned } from "./value.ts";

/** Whether a value that is assigned satisfies the comparison. */
export type Test = (held: unknown) => boolean;

/** @throws ScimRefusal `invalidFilter`: the type does not have the operator, or the literal is not of the type. */
export function comparison(attribute: Attribute, op: Comparison, literal: Exclude<Literal, null>): Test {
  const wanted = readLiteral(attribute, op, literal);
  switch (attribute.type) {
    case "boolean":
      return (held) => (held === wanted) === (op === "eq");
    case "integer":
      return numeric(op, Number(wanted), Number);
    case "dateTime":
      return numeric(op, Number(wanted), (held) => instant(String(held)) ?? Number.NaN);
    default:
      return textual(op, String(wanted), (held) => comparableText(attribute, held));
  }
}

/**
 * What a value of the attribute is compared with: its text in the form that compares, a number, a boolean, or the
 * milliseconds of a time. @throws ScimRefusal `invalidFilter`, as above.
 */
export function readLiteral(
  attribute: Attribute,
  op: Comparison,
  literal: Exclude<Literal, null>,
): string | number | boolean {
  if (!operators(attribute).includes(op)) {
    refuseAs("invalidFilter", `${attribute.name} cannot be compared by ${op}`);
  }
  switch (attribute.type) {
    case "boolean":
      return readBoolean(attribute, literal);
    case "integer":
      return readNumber(attribute, literal);
    case "dateTime":
      return readInstant(attribute, literal);
    case "string":
    case "reference":
      return comparableText(attribute, String(literal));
    case "complex":
      return refuseAs("invalidFilter", `${attribute.name} has parts: compare one of them`);
  }
}

/** The form in which a text of this attribute is compared. */
export function comparableText({ caseExact }: Attribute, text: string): string {
  return caseExact ? text : fold(text);
}

/** What holds of a singular attribute, assigned or not: nothing that is unassigned equals anything. */
export function singular(op: Comparison, test: Test): Test {
  return (held) => (isUnassigned(held) ? op === "ne" : test(held));
}

/** Milliseconds since 1970 of an RFC 3339 time; a fraction finer than a millisecond counts too. */
export function instant(text: string): number | undefined {
  const [, day, time, fraction = "", offset] =
    /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/.exec(text) ?? [];
  if (day === undefined || time === undefined || offset === undefined) return undefined;
  // Date.parse takes February 30 for March 2.
  const midnight = Date.parse(`${day}T00:00:00Z`);
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return undefined;
  const second = Date.parse(`${day}T${time}${offset.toUpperCase()}`);
  const digits = fraction.padEnd(3, "0");
  return Number.isNaN(second) ? undefined : second + Number(`${digits.slice(0, 3)}.${digits.slice(3) || "0"}`);
}

const ordered: readonly Comparison[] = ["eq", "ne", "gt", "ge", "lt", "le"];

function operators({ name, type }: Attribute): readonly Comparison[] {
  // Only `meta` has a version: an opaque tag, which has no order and no inside.
  if (type === "boolean" || name === "version") return ["eq", "ne"];
  return type === "integer" || type === "dateTime" ? ordered : [...ordered, "co", "sw", "ew"];
}

function numeric(op: Comparison, wanted: number, read: (held: unknown) => number): Test {
  return (held) => inOrder(op, Math.sign(read(held) - wanted));
}

function textual(op: Comparison, wanted: string, form: (text: string) => string): Test {
  const bytes = Buffer.from(wanted);
  return (held) => {
    const text = form(String(held));
    switch (op) {
      case "co":
        return text.includes(wanted);
      case "sw":
        return text.startsWith(wanted);
      case "ew":
        return text.endsWith(wanted);
      case "eq":
        return text === wanted;
      case "ne":
        return text !== wanted;
      default:
        return inOrder(op, Buffer.compare(Buffer.from(text), bytes));
    }
  };
}

/** `order` is negative if what is held comes first, 0 if it is equal, positive if it comes last. */
function inOrder(op: Comparison, order: number): boolean {
  switch (op) {
    case "eq":
      return order === 0;
    case "ne":
      return order !== 0;
    case "gt":
      return order > 0;
    case "ge":
      return order >= 0;
    case "lt":
      return order < 0;
    default:
      return op === "le" && order <= 0;
  }
}

// As text too: Entra says "True", and nsscache's usual filter is active eq "true".
function readBoolean({ name }: Attribute, literal: string | number | boolean): boolean {
  const said = String(literal).toLowerCase();
  if (typeof literal === "number" || (said !== "true" && said !== "false")) {
    return refuseAs("invalidFilter", `${name} is a boolean: ${quote(literal)} is neither true nor false`);
  }
  return said === "true";
}

function readNumber({ name }: Attribute, literal: string | number | boolean): number {
  const isNumber = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(String(literal));
  const number = isNumber ? Number(literal) : Number.NaN;
  return Number.isFinite(number) ? number : refuseAs("invalidFilter", `${name} is a number, not ${quote(literal)}`);
}

function readInstant({ name }: Attribute, literal: string | number | boolean): number {
  const read = typeof literal === "string" ? instant(literal) : undefined;
  return read ?? refuseAs("invalidFilter", `${name} is a time as in RFC 3339, not ${quote(literal)}`);
}

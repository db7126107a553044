/**
 * What a filter compares with, read as the type of the attribute says (RFC 7644, section 3.4.2.2): one reading for filters
 * that become SQL and for those that are evaluated here.
 */

import { fold } from "../../identity/fold.ts";
import { quote } from "../../identity/refusal.ts";
import type { Attribute } from "./attribute.ts";
import { refuseAs } from "./errors.ts";
import type { Comparison, Literal } from "./filter.ts";

/** Text ready to be compared; of a boolean 1 or 0, of a date its milliseconds. Undefined for null. */
export type Comparable = string | number | undefined;

const orderings: readonly Comparison[] = ["eq", "ne", "gt", "ge", "lt", "le"];

/** @throws ScimRefusal `invalidFilter`: the attribute has no such comparison, or the literal is not of its type. */
export function readLiteral(attribute: Attribute, op: Comparison, literal: Literal): Comparable {
  const { name, type } = attribute;
  if (literal === null) {
    if (op !== "eq" && op !== "ne") refuseAs("invalidFilter", `${name} ${op} null means nothing: only eq and ne do`);
    return undefined;
  }
  switch (type) {
    case "boolean":
      if (op !== "eq" && op !== "ne") refuseAs("invalidFilter", `${name} is a boolean: it has no ${op}`);
      return boolean(name, literal);
    case "integer":
      if (!orderings.includes(op)) refuseAs("invalidFilter", `${name} is a number: it has no ${op}`);
      return whole(name, literal);
    case "dateTime":
      if (!orderings.includes(op)) refuseAs("invalidFilter", `${name} is a time: it has no ${op}`);
      return instant(name, literal);
    case "complex":
      return refuseAs("invalidFilter", `${name} has parts: name one of them`);
    case "string":
    case "reference":
      return comparableText(attribute, String(literal));
  }
}

/** The form in which a text of this attribute is compared. */
export function comparableText({ caseExact }: Attribute, text: string): string {
  return caseExact ? text : fold(text);
}

// Entra writes True and False; nsscache's configuration "true".
function boolean(name: string, literal: string | number | boolean): number {
  const text = String(literal).toLowerCase();
  if (text === "true") return 1;
  if (text === "false") return 0;
  return refuseAs("invalidFilter", `${name} is a boolean, which ${quote(literal)} is not`);
}

function whole(name: string, literal: string | number | boolean): number {
  const number = typeof literal === "string" && /^-?[0-9]{1,15}$/.test(literal) ? Number(literal) : literal;
  if (typeof number === "number") return number;
  return refuseAs("invalidFilter", `${name} is a number, which ${quote(literal)} is not`);
}

function instant(name: string, literal: string | number | boolean): number {
  const shape = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i;
  const millis = typeof literal === "string" && shape.test(literal) ? Date.parse(literal) : Number.NaN;
  if (!Number.isNaN(millis)) return millis;
  return refuseAs("invalidFilter", `${name} is a time such as 2026-01-31T12:00:00Z, which ${quote(literal)} is not`);
}

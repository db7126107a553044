/**
 * Values as clients state them, made canonical: names in the table's spelling and order, `null`, `""` and `[]` gone
 * (RFC 7643, section 2.5), booleans read in every spelling that Entra uses. What no table knows is left out; what has the
 * wrong type is refused, never guessed.
 */

import { quote } from "../../identity/refusal.ts";
import type { Attribute } from "./attribute.ts";
import { refuseAs } from "./errors.ts";
import { type Doc, isObject, property } from "./json.ts";
import { canBeUnassigned, ownAttributes, type ResourceType } from "./schema.ts";

/** More values of one attribute than any person has. */
const mostValues = 1000;

/** A whole resource, without what a client cannot state. */
export function readResource(type: ResourceType, body: Doc): Doc {
  const doc = readParts(ownAttributes(type), body, "");
  for (const { id, attributes } of type.extensions) {
    const stated = property(body, id);
    if (stated === undefined || stated === null) continue;
    if (!isObject(stated)) refuseAs("invalidValue", `${id} must be an object`);
    const extension = readParts(attributes, stated, `${id}:`);
    if (Object.keys(extension).length > 0) doc[id] = extension;
  }
  return doc;
}

/**
 * The canonical form of one attribute's value; undefined if that is "unassigned".
 * @throws ScimRefusal `invalidValue`, naming the attribute and what it takes.
 */
export function readValue(attribute: Attribute, value: unknown, where = attribute.name): unknown {
  if (isUnassigned(value)) {
    if (!canBeUnassigned(attribute)) refuseAs("invalidValue", `${where} must have a value`);
    return undefined;
  }
  if (!attribute.multiValued) return readOne(attribute, value, where);
  const values = (Array.isArray(value) ? value : [value]) as unknown[];
  if (values.length > mostValues) refuseAs("invalidValue", `${where} has more than ${mostValues} values`);
  const read = values.map((each) => readOne(attribute, each, where)).filter((each) => each !== undefined);
  if (read.filter(isPrimary).length > 1) refuseAs("invalidValue", `${where} has more than one primary value`);
  return read.length > 0 ? read : undefined;
}

export function isUnassigned(value: unknown): boolean {
  return value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0);
}

export function isPrimary(value: unknown): boolean {
  return isObject(value) && value.primary === true;
}

function readParts(attributes: readonly Attribute[], stated: Doc, prefix: string): Record<string, unknown> {
  const byName = new Map(Object.entries(stated).map(([key, value]) => [key.toLowerCase(), value]));
  const parts: Record<string, unknown> = {};
  for (const attribute of attributes) {
    const value = byName.get(attribute.name.toLowerCase());
    if (value === undefined || attribute.mutability === "readOnly") continue;
    const read = readValue(attribute, value, `${prefix}${attribute.name}`);
    if (read !== undefined && attribute.mutability !== "writeOnly") parts[attribute.name] = read;
  }
  return parts;
}

function readOne(attribute: Attribute, value: unknown, where: string): unknown {
  if (isUnassigned(value)) return undefined;
  switch (attribute.type) {
    case "boolean":
      return readBoolean(value, where);
    case "complex":
      return readComplex(attribute, value, where);
    case "string":
    case "reference":
    case "dateTime":
      return typeof value === "string" ? value : refuseAs("invalidValue", `${where} must be text`);
    case "integer":
      return Number.isInteger(value) ? value : refuseAs("invalidValue", `${where} must be a whole number`);
  }
}

/** Entra says "True" and "False". Anything else is refused: what cannot be read must never count as true. */
function readBoolean(value: unknown, where: string): boolean {
  const said = typeof value === "string" ? value.toLowerCase() : value;
  if (said === true || said === "true") return true;
  if (said === false || said === "false") return false;
  return refuseAs("invalidValue", `${where} is ${quote(value)}, but must be true or false`);
}

function readComplex(attribute: Attribute, value: unknown, where: string): unknown {
  // Entra states a manager as a bare id, or as an array of one; roles as bare text.
  if (!attribute.multiValued && Array.isArray(value) && value.length === 1) {
    return readComplex(attribute, value[0], where);
  }
  const parts = attribute.subAttributes ?? [];
  if (typeof value === "string" && parts.some(({ name }) => name === "value")) return { value };
  if (!isObject(value)) return refuseAs("invalidValue", `${where} must be an object`);
  const read = readParts(parts, value, `${where}.`);
  return Object.keys(read).length > 0 ? read : undefined;
}

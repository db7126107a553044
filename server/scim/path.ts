/** What a PATCH names: a path, resolved against the schema. */

import { quote } from "../../identity/refusal.ts";
import { named } from "./attribute.ts";
import { refuseAs } from "./errors.ts";
import { type Filter, parseRawPath } from "./filter.ts";
import { type ResourceType, resolve, type Target } from "./schema.ts";

export interface Path extends Target {
  /** Which values of a multi-valued attribute. */
  readonly filter: Filter | undefined;
}

/** @throws ScimRefusal `invalidPath`: not a path, or not of an attribute of this resource. */
export function parsePath(type: ResourceType, text: string): Path {
  return findPath(type, text) ?? refuseAs("invalidPath", `${quote(text)} is no attribute of a ${type.name}`);
}

/** The path, or undefined if it is well-formed but names nothing. @throws ScimRefusal `invalidPath`. */
export function findPath(type: ResourceType, text: string): Path | undefined {
  const { name, filter, sub } = parseRawPath(text);
  const target = resolve(type, name);
  if (!target) return undefined;
  if (filter && (!target.attribute.multiValued || target.sub || !target.attribute.subAttributes)) {
    refuseAs("invalidPath", `${quote(name)} cannot have a filter`);
  }
  if (sub === undefined) return { ...target, filter };
  const part = named(target.attribute.subAttributes, sub);
  return part && { ...target, sub: part, filter };
}

/** Whether the client may not change what the path names. */
export function isReadOnly({ attribute, sub }: Target): boolean {
  return attribute.mutability === "readOnly" || sub?.mutability === "readOnly";
}

/**
 * PATCH (RFC 7644, section 3.5.2) on a canonical resource: pure, in order, all or nothing. Only names from the schema
 * tables ever become keys, so no path reaches a prototype.
 *
 * More liberal than the RFC where Entra is: a replace on a value path that matches nothing makes the value it describes,
 * and a value-less add or replace (`""`, `null`) unassigns.
 */

import { quote } from "../../identity/refusal.ts";
import type { Attribute } from "./attribute.ts";
import { refuseAs } from "./errors.ts";
import { asObject, type Doc, isObject, property } from "./json.ts";
import { described, predicate } from "./match.ts";
import type { Operation } from "./operation.ts";
import { findPath, isReadOnly, type Path, parsePath } from "./path.ts";
import { canBeUnassigned, extensionNamed, type ResourceType, type Schema } from "./schema.ts";
import { isPrimary, isUnassigned, readValue } from "./value.ts";

type Change = Pick<Operation, "op" | "value">;

/** @throws ScimRefusal `invalidPath`, `noTarget`, `mutability`, `invalidValue`, `invalidFilter`. */
export function applyPatch(type: ResourceType, doc: Doc, operations: readonly Operation[], id: string): Doc {
  return operations.reduce((current, operation) => apply(type, current, operation, id), doc);
}

function apply(type: ResourceType, doc: Doc, { op, path: text, value }: Operation, id: string): Doc {
  if (text === undefined) return spread(type, doc, { op, value }, id);
  const extension = extensionNamed(type, text);
  if (extension) return op === "remove" ? without(doc, extension) : spread(type, doc, { op, value }, id, extension);
  const path = parsePath(type, text);
  if (isReadOnly(path)) refuseAs("mutability", `${quote(text)} is read-only`);
  return edit(doc, path, { op, value });
}

/** A path-less operation: each key is a path, `name.givenName` and `emails[type eq "work"].value` too. */
function spread(type: ResourceType, doc: Doc, { op, value }: Change, id: string, within?: Schema): Doc {
  let next = doc;
  for (const [key, part] of Object.entries(asObject(value, "the value of an operation without a path"))) {
    const extension = within ? undefined : extensionNamed(type, key);
    if (extension) {
      next = spread(type, next, { op, value: part ?? {} }, id, extension);
      continue;
    }
    const path = findPath(type, within ? `${within.id}:${key}` : key);
    // Okta sends the id along; a wrong one is a mistake that must not pass.
    if (path?.attribute.name === "id" && part !== id) refuseAs("mutability", "the id of a resource never changes");
    // As in a POST or PUT: what is unknown or read-only is ignored.
    if (!path || isReadOnly(path)) continue;
    next = edit(next, path, { op, value: part });
  }
  return next;
}

function without(doc: Doc, { id, attributes }: Schema): Doc {
  if (attributes.every(({ mutability }) => mutability !== "readWrite")) refuseAs("mutability", `${id} is read-only`);
  return put(doc, id, undefined);
}

function edit(doc: Doc, path: Path, change: Change): Doc {
  const { extension, attribute } = path;
  const holder = extension ? held(doc, extension.id) : doc;
  if (change.op === "remove" && !path.sub && !canBeUnassigned(attribute)) {
    refuseAs("mutability", `${attribute.name} cannot be removed`);
  }
  if (attribute.mutability === "immutable") {
    const stays = change.op !== "remove" && change.value === holder[attribute.name];
    return stays ? doc : refuseAs("mutability", `${attribute.name} never changes`);
  }
  const next = put(holder, attribute.name, edited(attribute, holder[attribute.name], path, change));
  if (!extension) return next;
  return put(doc, extension.id, Object.keys(next).length > 0 ? next : undefined);
}

function edited(attribute: Attribute, current: unknown, path: Path, change: Change): unknown {
  if (attribute.mutability === "writeOnly") return void readValue(attribute, change.value ?? null);
  if (attribute.multiValued) return editMany(attribute, (current ?? []) as readonly Doc[], path, change);
  if (path.sub) return readValue(attribute, setPart(isObject(current) ? current : {}, path.sub, change));
  if (change.op === "remove") return undefined;
  if (attribute.type !== "complex" || !isObject(current) || isReference(attribute)) {
    return readValue(attribute, change.value);
  }
  return isUnassigned(change.value) ? undefined : readValue(attribute, merge(attribute, current, change.value));
}

// A reference (a manager) is replaced whole: the old one's $ref and name are not the new one's.
function isReference({ subAttributes }: Attribute): boolean {
  return subAttributes?.some(({ name }) => name === "$ref") ?? false;
}

function editMany(attribute: Attribute, current: readonly Doc[], { filter, sub }: Path, change: Change): unknown {
  if (filter || sub) return settle(attribute, current, editSome(attribute, current, { filter, sub }, change));
  switch (change.op) {
    case "replace":
      return readValue(attribute, change.value);
    case "add":
      return settle(attribute, current, union(current, values(attribute, change.value)));
    case "remove": {
      // Entra names in the value what is to go; without one, everything is.
      if (change.value === undefined) return undefined;
      const gone = values(attribute, change.value);
      return settle(
        attribute,
        current,
        current.filter((value) => !gone.some((each) => covers(value, each))),
      );
    }
  }
}

function editSome(
  attribute: Attribute,
  current: readonly Doc[],
  { filter, sub }: Pick<Path, "filter" | "sub">,
  change: Change,
): readonly Doc[] {
  const parts = attribute.subAttributes ?? [];
  const matches = filter ? predicate(filter, parts) : () => true;
  const alter = (value: Doc): Doc => (sub ? setPart(value, sub, change) : merge(attribute, value, change.value));
  const gone = change.op === "remove" || isUnassigned(change.value);
  if (gone && !sub) return current.filter((value) => !matches(value));
  if (current.some(matches)) return current.map((value) => (matches(value) ? alter(value) : value));
  if (gone) return current;
  const made =
    (filter ? described(filter, parts) : {}) ??
    refuseAs("noTarget", `no value of ${attribute.name} matches, and the filter describes none that could be made`);
  return [...current, alter(made)];
}

/** A multi-valued attribute after an edit: canonical, no hollow values, and a new primary value clears the old one. */
function settle(attribute: Attribute, before: readonly Doc[], after: readonly Doc[]): unknown {
  const wasPrimary = new Set(before.filter(isPrimary).map(print));
  const anew = after.some((value) => isPrimary(value) && !wasPrimary.has(print(value)));
  const cleared = after.map((value) =>
    anew && isPrimary(value) && wasPrimary.has(print(value)) ? { ...value, primary: false } : value,
  );
  return readValue(
    attribute,
    cleared.filter((value) => !isHollow(value)),
  );
}

/** A value of which only its label is left. */
function isHollow(value: Doc): boolean {
  return Object.keys(value).every((key) => ["type", "primary", "display", "$ref"].includes(key));
}

function setPart(value: Doc, part: Attribute, { op, value: stated }: Change): Doc {
  return put(value, part.name, op === "remove" ? undefined : readValue(part, stated));
}

function merge(attribute: Attribute, current: Doc, stated: unknown): Doc {
  const given = typeof stated === "string" ? { value: stated } : asGiven(attribute, stated);
  let next = current;
  for (const part of attribute.subAttributes ?? []) {
    const value = property(given, part.name);
    if (value !== undefined) next = put(next, part.name, readValue(part, value, `${attribute.name}.${part.name}`));
  }
  return next;
}

function asGiven({ name }: Attribute, stated: unknown): Doc {
  const one: unknown = Array.isArray(stated) && stated.length === 1 ? stated[0] : stated;
  return isObject(one) ? one : refuseAs("invalidValue", `${name} must be an object`);
}

function values(attribute: Attribute, stated: unknown): readonly Doc[] {
  return (readValue(attribute, stated) ?? []) as readonly Doc[];
}

function union(current: readonly Doc[], more: readonly Doc[]): readonly Doc[] {
  const seen = new Set(current.map(print));
  return [...current, ...more.filter((value) => !seen.has(print(value)))];
}

function covers(value: Doc, named: Doc): boolean {
  return Object.entries(named).every(([key, part]) => value[key] === part);
}

/** Canonical values are equal iff their texts are. */
function print(value: Doc): string {
  return JSON.stringify(value);
}

function held(doc: Doc, name: string): Doc {
  const value = doc[name];
  return isObject(value) ? value : {};
}

function put(doc: Doc, name: string, value: unknown): Doc {
  const { [name]: _, ...rest } = doc;
  return value === undefined ? rest : { ...doc, [name]: value };
}

/**
 * A filter as a plain predicate: over a whole resource, or over one value of a complex attribute as PATCH selects them.
 * Compiled first, so that a filter that means nothing is refused before anything is looked at. This is what filters mean;
 * the SQL that answers them in the store is tested against it.
 *
 * - Names are the schema's, in any case, with or without their URN. `a.b op v` and `a[b op v]` are the same. A name that no
 *   schema has, or whose value is never told (a password), is refused: `invalidFilter`, as is all below that is "refused".
 * - A singular attribute that is unassigned satisfies `ne`, and no other comparison.
 * - A multi-valued attribute satisfies what any of its values does: without values, nothing, not even `ne`. Without a part,
 *   its `value` is compared. A singular complex attribute is compared by its `value` too (a manager), or refused.
 * - `pr`: assigned; of a complex attribute, any part. `eq null` is "not present", `ne null` is `pr`, of the attribute
 *   as a whole, or of that part of a value; null with another operator is refused.
 * - Booleans know eq and ne, with true or false, as text too. Integers have an order, and no co, sw, ew; so have dates,
 *   which compare as instants. `meta.version` knows eq and ne. Text compares as in comparison.ts.
 * - and, or and not know true and false only.
 */

import { quote } from "../../identity/refusal.ts";
import { type Attribute, named } from "./attribute.ts";
import { comparison, singular } from "./comparison.ts";
import { refuseAs } from "./errors.ts";
import type { Comparison, Filter, Literal } from "./filter.ts";
import { type Doc, isObject } from "./json.ts";
import { type ResourceType, resolve, type Target } from "./schema.ts";
import { isUnassigned } from "./value.ts";

export type Predicate = (value: Doc) => boolean;

/** Whether a whole resource matches. @throws ScimRefusal `invalidFilter`. */
export function resourcePredicate(filter: Filter, type: ResourceType): Predicate {
  return combined(filter, (term) => {
    const target = resolve(type, term.name) ?? refuseAs("invalidFilter", `${quote(term.name)} is no attribute`);
    checkTold(target);
    const holds = attributePredicate(term, target);
    const { extension, attribute } = target;
    return (doc) => holds((extension ? part(doc, extension.id) : doc)[attribute.name]);
  });
}

/** Whether one value of a complex attribute matches. @throws ScimRefusal `invalidFilter`. */
export function predicate(filter: Filter, parts: readonly Attribute[]): Predicate {
  return combined(filter, (term) => {
    const attribute = named(parts, term.name) ?? refuseAs("invalidFilter", `${quote(term.name)} is no part of this`);
    if (term.kind === "some") {
      return refuseAs("invalidFilter", `${quote(term.name)} cannot have a filter inside a filter`);
    }
    const holds = term.kind === "present" ? isPresent : compared(attribute, term.op, term.value);
    return (value) => holds(value[attribute.name]);
  });
}

/** The value that a filter describes, if it is one: `type eq "work"` is `{type: "work"}`. */
export function described(filter: Filter, parts: readonly Attribute[]): Doc | undefined {
  if (filter.kind === "compare" && filter.op === "eq") {
    const { name } = named(parts, filter.name) ?? refuseAs("invalidFilter", `${quote(filter.name)} is no part of this`);
    return { [name]: filter.value };
  }
  if (filter.kind !== "and") return undefined;
  let doc: Doc = {};
  for (const term of filter.terms) {
    const known = described(term, parts);
    if (!known) return undefined;
    doc = { ...doc, ...known };
  }
  return doc;
}

type Holds = (held: unknown) => boolean;
type Term = Extract<Filter, { readonly name: string }>;

function combined(filter: Filter, leaf: (term: Term) => Predicate): Predicate {
  switch (filter.kind) {
    case "and": {
      const terms = filter.terms.map((term) => combined(term, leaf));
      return (value) => terms.every((matches) => matches(value));
    }
    case "or": {
      const terms = filter.terms.map((term) => combined(term, leaf));
      return (value) => terms.some((matches) => matches(value));
    }
    case "not": {
      const matches = combined(filter.term, leaf);
      return (value) => !matches(value);
    }
    case "present":
    case "compare":
    case "some":
      return leaf(filter);
  }
}

/** Of the attribute that the target is, or is a part of: what its value must be. */
function attributePredicate(term: Term, { attribute, sub }: Target): Holds {
  if (term.kind === "some") {
    if (sub || !attribute.subAttributes) refuseAs("invalidFilter", `${quote(term.name)} has no parts`);
    return ofValues(attribute, predicate(term.of, attribute.subAttributes ?? []));
  }
  if (sub) return ofValues(attribute, predicate({ ...term, name: sub.name }, [sub]));
  if (term.kind === "present") return isPresent;
  if (term.value === null) return nothing(attribute, term.op);
  if (attribute.type === "complex") {
    const value = named(attribute.subAttributes, "value");
    if (!value) refuseAs("invalidFilter", `${attribute.name} has parts: compare one of them`);
    return ofValues(attribute, predicate({ ...term, name: "value" }, [value]));
  }
  if (!attribute.multiValued) return compared(attribute, term.op, term.value);
  const test = comparison(attribute, term.op, term.value);
  return (held) => values(held).some(test);
}

function ofValues({ multiValued }: Attribute, matches: Predicate): Holds {
  return multiValued
    ? (held) => values(held).some((value) => isObject(value) && matches(value))
    : (held) => matches(isObject(held) ? held : {});
}

function compared(attribute: Attribute, op: Comparison, literal: Literal): Holds {
  return literal === null ? nothing(attribute, op) : singular(op, comparison(attribute, op, literal));
}

function nothing({ name }: Attribute, op: Comparison): Holds {
  if (op === "eq") return (held) => !isPresent(held);
  if (op === "ne") return isPresent;
  return refuseAs("invalidFilter", `${name} cannot be compared with null by ${op}`);
}

function isPresent(held: unknown): boolean {
  if (Array.isArray(held)) return held.some(isPresent);
  return isObject(held) ? Object.values(held).some(isPresent) : !isUnassigned(held);
}

function values(held: unknown): readonly unknown[] {
  return Array.isArray(held) ? held : [];
}

function part(doc: Doc, name: string): Doc {
  const value = Object.hasOwn(doc, name) ? doc[name] : undefined;
  return isObject(value) ? value : {};
}

function checkTold({ attribute, sub }: Target): void {
  const isTold = [attribute, sub].every((each) => each?.returned !== "never" && each?.mutability !== "writeOnly");
  if (!isTold) refuseAs("invalidFilter", `${attribute.name} is never told, and cannot be asked for`);
}

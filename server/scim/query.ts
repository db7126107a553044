/**
 * Compiles what a list is asked (RFC 7644, section 3.4.2) to what the store answers: every operator and form of the filter
 * grammar, and sorting. What a name means is the schema's to say, where it is kept is in `stored.ts`; match.ts answers
 * the same questions of a resource in hand, and a property test holds the two together.
 */

import { quote } from "../../identity/refusal.ts";
import type { Operator, Order, Search, Where } from "../store/search.ts";
import { type Attribute, named } from "./attribute.ts";
import { comparableText, readLiteral } from "./comparison.ts";
import { refuseAs } from "./errors.ts";
import { type Filter, parseFilter } from "./filter.ts";
import type { Question } from "./question.ts";
import { posixUrn, type ResourceType, resolve, type Target, userType } from "./schema.ts";
import { type Stored, type StoredSet, storedAt } from "./stored.ts";

/** @throws ScimRefusal `invalidFilter`, `invalidValue` (what to sort by). */
export function search(type: ResourceType, question: Question, base: string): Search {
  const { filter, sortBy, sortOrder } = question;
  return {
    where: filter === undefined ? { kind: "all" } : compile(parseFilter(filter), { type, base }),
    order: sortBy === undefined ? undefined : orderOf({ type, base }, sortBy, sortOrder),
  };
}

interface Asked {
  readonly type: ResourceType;
  readonly base: string;
}

type Comparing = Extract<Filter, { kind: "compare" }>;

function compile(filter: Filter, asked: Asked): Where {
  switch (filter.kind) {
    case "and":
    case "or":
      return { kind: filter.kind, terms: filter.terms.map((term) => compile(term, asked)) };
    case "not":
      return { kind: "not", term: compile(filter.term, asked) };
    case "some":
      return compileSome(filter.name, filter.of, asked);
    case "present":
      return present(targetOf(filter.name, asked), asked);
    case "compare":
      return compare(targetOf(filter.name, asked), filter, asked);
  }
}

/** `emails[...]`: one value satisfies all of it. Of an attribute with a single value, the same as asking its parts. */
function compileSome(name: string, of: Filter, asked: Asked): Where {
  const target = targetOf(name, asked);
  const parts = target.attribute.subAttributes;
  if (!parts || target.sub) refuseAs("invalidFilter", `${quote(name)} has no parts to filter by`);
  const stored = storedAt(asked.type, target, asked.base);
  if (stored?.kind === "sets") {
    return anyOf(stored.sets.map((set) => ({ kind: "some", of: set.of, where: within(of, set, parts) })));
  }
  return compile(qualified(of, name), asked);
}

function qualified(filter: Filter, name: string): Filter {
  switch (filter.kind) {
    case "and":
    case "or":
      return { kind: filter.kind, terms: filter.terms.map((term) => qualified(term, name)) };
    case "not":
      return { kind: "not", term: qualified(filter.term, name) };
    case "some":
      return nested(filter.name);
    case "present":
    case "compare":
      return { ...filter, name: `${name}.${filter.name}` };
  }
}

/** A filter over the parts of one value of a set. */
function within(filter: Filter, set: StoredSet, parts: readonly Attribute[]): Where {
  switch (filter.kind) {
    case "and":
    case "or":
      return { kind: filter.kind, terms: filter.terms.map((term) => within(term, set, parts)) };
    case "not":
      return { kind: "not", term: within(filter.term, set, parts) };
    case "some":
      return nested(filter.name);
    case "present":
      return presentPart(partOf(filter.name, parts), set);
    case "compare":
      return comparePart(partOf(filter.name, parts), filter, set);
  }
}

function present(target: Target, asked: Asked): Where {
  const stored = storedAt(asked.type, target, asked.base);
  if (stored?.kind === "sets") return anyOf(stored.sets.map((set) => anyValue(set, target.sub)));
  if (stored) return presentAt(stored);
  const { attribute } = target;
  if (attribute.name === "schemas") return { kind: "all" };
  refuseSecret(attribute);
  return anyOf((attribute.subAttributes ?? []).map((sub) => present({ ...target, sub }, asked)));
}

function anyValue(set: StoredSet, sub: Attribute | undefined): Where {
  return { kind: "some", of: set.of, where: sub ? presentPart(sub, set) : { kind: "all" } };
}

function presentPart({ name }: Attribute, set: StoredSet): Where {
  return presentAt(set.part(name));
}

function presentAt(stored: Stored): Where {
  switch (stored.kind) {
    case "field":
    case "version":
      return { kind: "present", field: stored.field };
    case "constant":
      return { kind: "all" };
    case "value":
      return { kind: "some", of: { attribute: stored.attribute }, where: { kind: "all" } };
    case "sets":
      return anyOf(stored.sets.map(({ of }) => ({ kind: "some", of, where: { kind: "all" } })));
  }
}

function compare(target: Target, comparing: Comparing, asked: Asked): Where {
  const { attribute } = target;
  refuseSecret(attribute);
  if (comparing.value === null && !target.sub) return compareNull(attribute, comparing.op, present(target, asked));
  if (attribute.name === "schemas") return compareSchemas(attribute, comparing, asked.type);
  const leaf = leafOf(target);
  const stored = storedAt(asked.type, { ...target, sub: leaf === attribute ? undefined : leaf }, asked.base);
  if (!stored) return refuseAs("invalidFilter", `${attribute.name} has parts: name one of them`);
  if (stored.kind !== "sets") return compareAt(stored, leaf, comparing);
  return anyOf(stored.sets.map((set) => ({ kind: "some", of: set.of, where: comparePart(leaf, comparing, set) })));
}

function comparePart(part: Attribute, comparing: Comparing, set: StoredSet): Where {
  return compareAt(set.part(part.name), part, comparing);
}

/** The one place where an operator meets a value: `ne` is not `eq`, and null is nothing at all. */
function compareAt(stored: Stored, attribute: Attribute, { op, value: literal }: Comparing): Where {
  if (literal === null) return compareNull(attribute, op, presentAt(stored));
  const value = readLiteral(attribute, op, literal);
  const operator = op === "ne" ? "eq" : op;
  const where = positive(stored, attribute, operator, stored.kind === "version" ? millisOf(value) : bound(value));
  return op === "ne" ? not(where) : where;
}

/** `eq null` asks for what is not assigned. */
function compareNull({ name }: Attribute, op: Comparing["op"], isPresent: Where): Where {
  if (op === "eq") return not(isPresent);
  return op === "ne" ? isPresent : refuseAs("invalidFilter", `${name} cannot be compared with null by ${op}`);
}

/** Engines have no booleans in common. */
function bound(value: string | number | boolean): string | number {
  return typeof value === "boolean" ? Number(value) : value;
}

function positive(stored: Stored, attribute: Attribute, op: Operator, value: string | number): Where {
  switch (stored.kind) {
    case "field":
    case "version":
      return { kind: "compare", field: stored.field, op, value };
    case "value":
      return {
        kind: "some",
        of: { attribute: stored.attribute },
        where: { kind: "compare", field: { column: "value" }, op, value },
      };
    case "constant":
      return holds(comparableText(attribute, stored.value), op, String(value)) ? { kind: "all" } : { kind: "none" };
    case "sets":
      throw new Error("a set is asked value by value");
  }
}

/** `schemas` is the core's and what extensions a user has; an account is everybody's. */
function compareSchemas(attribute: Attribute, comparing: Comparing, type: ResourceType): Where {
  const { op } = comparing;
  const value = readLiteral(attribute, op, comparing.value ?? "");
  const matches = (urn: string): boolean =>
    op === "ne" ? urn !== value : holds(comparableText(attribute, urn), op, String(value));
  const always = [type.core.id, type === userType ? posixUrn.user : posixUrn.group];
  if (always.some(matches)) return { kind: "all" };
  const sometimes = type.extensions.filter(({ id }) => !always.includes(id) && matches(id));
  return anyOf(
    sometimes.map(({ id }) => ({
      kind: "some",
      of: { attribute: "schemas" },
      where: { kind: "compare", field: { column: "value" }, op: "eq", value: id },
    })),
  );
}

function holds(held: string, op: Operator, value: string): boolean {
  switch (op) {
    case "eq":
      return held === value;
    case "co":
      return held.includes(value);
    case "sw":
      return held.startsWith(value);
    case "ew":
      return held.endsWith(value);
    case "gt":
      return held > value;
    case "ge":
      return held >= value;
    case "lt":
      return held < value;
    case "le":
      return held <= value;
  }
}

/** The millisecond behind a version; of what is no version of ours, one that no resource has. */
function millisOf(value: string | number | boolean): number {
  const stated = /^W\/"([0-9a-z]{1,11})"$/.exec(String(value))?.[1];
  return stated === undefined ? -1 : Number.parseInt(stated, 36);
}

function orderOf(asked: Asked, sortBy: string, sortOrder: string | undefined): Order {
  if (sortOrder !== undefined && !/^(ascending|descending)$/i.test(sortOrder)) {
    refuseAs("invalidValue", `sortOrder ${quote(sortOrder)} must be ascending or descending`);
  }
  const descending = sortOrder?.toLowerCase() === "descending";
  const target = resolve(asked.type, sortBy) ?? refuseAs("invalidValue", `sortBy: no attribute ${quote(sortBy)}`);
  const leaf = target.attribute.type === "complex" ? leafOf(target) : target.attribute;
  const stored = storedAt(asked.type, { ...target, sub: leaf === target.attribute ? undefined : leaf }, asked.base);
  switch (stored?.kind) {
    case "field":
    case "version":
      return { column: stored.field.column, descending };
    case "value":
      return { column: "value", attribute: stored.attribute, descending };
    case "sets": {
      const [set] = stored.sets;
      const part = set?.part(leaf.name);
      if (typeof set?.of === "object" && part?.kind === "field") {
        return { column: part.field.column, attribute: set.of.attribute, descending };
      }
      break;
    }
    case "constant":
    case undefined:
      break;
  }
  return refuseAs("invalidValue", `sortBy: ${quote(sortBy)} is nothing to sort by`);
}

function targetOf(name: string, { type }: Asked): Target {
  return resolve(type, name) ?? refuseAs("invalidFilter", `${quote(name)} is no attribute of a ${type.name}`);
}

/** What is compared: the attribute itself, a part of it, or of a complex one its `value`. */
function leafOf({ attribute, sub }: Target): Attribute {
  if (sub) return sub;
  if (attribute.type !== "complex") return attribute;
  return (
    named(attribute.subAttributes, "value") ??
    refuseAs("invalidFilter", `${attribute.name} has parts: name one of them`)
  );
}

function partOf(name: string, parts: readonly Attribute[]): Attribute {
  return named(parts, name) ?? refuseAs("invalidFilter", `${quote(name)} is no part of this attribute`);
}

function refuseSecret({ name, returned }: Attribute): void {
  if (returned === "never") refuseAs("invalidFilter", `${name} cannot be asked about`);
}

function nested(name: string): never {
  return refuseAs("invalidFilter", `${quote(name)} cannot have a filter inside a filter`);
}

function anyOf(terms: readonly Where[]): Where {
  const [only] = terms;
  if (!only) return { kind: "none" };
  return terms.length === 1 ? only : { kind: "or", terms };
}

function not(term: Where): Where {
  return { kind: "not", term };
}

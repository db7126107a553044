/**
 * A filter over the values of one complex attribute, as a plain predicate: `[type eq "work" and primary eq true]`. Compiled
 * first, so that a filter that means nothing is refused before anything is looked at.
 */

import { quote } from "../../identity/refusal.ts";
import { type Attribute, named } from "./attribute.ts";
import { refuseAs } from "./errors.ts";
import type { Comparison, Filter, Literal } from "./filter.ts";
import type { Doc } from "./json.ts";
import { isUnassigned } from "./value.ts";

export type Predicate = (value: Doc) => boolean;

/** @throws ScimRefusal `invalidFilter`: an unknown part, or a comparison that its type does not have. */
export function predicate(filter: Filter, parts: readonly Attribute[]): Predicate {
  switch (filter.kind) {
    case "and": {
      const terms = filter.terms.map((term) => predicate(term, parts));
      return (value) => terms.every((matches) => matches(value));
    }
    case "or": {
      const terms = filter.terms.map((term) => predicate(term, parts));
      return (value) => terms.some((matches) => matches(value));
    }
    case "not": {
      const matches = predicate(filter.term, parts);
      return (value) => !matches(value);
    }
    case "present": {
      const { name } = known(filter.name, parts);
      return (value) => !isUnassigned(value[name]);
    }
    case "compare":
      return comparison(known(filter.name, parts), filter.op, filter.value);
    case "some":
      return refuseAs("invalidFilter", `${quote(filter.name)} cannot have a filter inside a filter`);
  }
}

/** The value that a filter describes, if it is one: `type eq "work"` is `{type: "work"}`. */
export function described(filter: Filter, parts: readonly Attribute[]): Doc | undefined {
  if (filter.kind === "compare" && filter.op === "eq") return { [known(filter.name, parts).name]: filter.value };
  if (filter.kind !== "and") return undefined;
  let doc: Doc = {};
  for (const term of filter.terms) {
    const part = described(term, parts);
    if (!part) return undefined;
    doc = { ...doc, ...part };
  }
  return doc;
}

function known(name: string, parts: readonly Attribute[]): Attribute {
  return named(parts, name) ?? refuseAs("invalidFilter", `${quote(name)} is no part of this attribute`);
}

function comparison(attribute: Attribute, op: Comparison, literal: Literal): Predicate {
  const { name, type } = attribute;
  if (type === "boolean" && op !== "eq" && op !== "ne") {
    refuseAs("invalidFilter", `${name} is a boolean: it has no ${op}`);
  }
  const wanted = comparable(literal, attribute);
  return (value) => {
    const held = comparable(value[name] as Literal | undefined, attribute);
    if (op === "eq") return held === wanted;
    if (op === "ne") return held !== wanted;
    if (held === null || wanted === null) return false;
    return orders[op](held, wanted);
  };
}

const orders: Record<Exclude<Comparison, "eq" | "ne">, (held: string, wanted: string) => boolean> = {
  co: (held, wanted) => held.includes(wanted),
  sw: (held, wanted) => held.startsWith(wanted),
  ew: (held, wanted) => held.endsWith(wanted),
  gt: (held, wanted) => held > wanted,
  ge: (held, wanted) => held >= wanted,
  lt: (held, wanted) => held < wanted,
  le: (held, wanted) => held <= wanted,
};

// As text, so that Entra's "True" equals true; nothing that a person's attributes hold is a number.
function comparable(value: Literal | undefined, { caseExact }: Attribute): string | null {
  if (value === undefined || value === null) return null;
  const text = String(value).normalize("NFC");
  return caseExact ? text : text.toLowerCase();
}

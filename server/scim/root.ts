/**
 * A question about everything (RFC 7644, section 3.4.2.1): users, then groups, as one list. A filter is cut down to what a
 * type has: an attribute that it does not have is one without a value, `meta.resourceType` is known beforehand.
 */

import { quote } from "../../identity/refusal.ts";
import type { Call, Finder, Found } from "./endpoint.ts";
import { refuseAs } from "./errors.ts";
import { type Filter, parseFilter, printFilter } from "./filter.ts";
import { groupType, type ResourceType, resolve, userType } from "./schema.ts";

export interface Part extends Finder {
  readonly type: ResourceType;
}

export function rootOf(parts: readonly Part[]): Finder {
  return {
    async find(call, rows) {
      if (call.query.sortBy !== undefined) refuseAs("invalidValue", "users and groups cannot be sorted together");
      const resources: Found["resources"][number][] = [];
      let total = 0;
      for (const part of parts) {
        const own = narrow(call, part.type);
        if (!own) continue;
        const offset = Math.max(0, rows.offset - total);
        const found = await part.find(own, { offset, limit: rows.limit - resources.length });
        total += found.total;
        resources.push(...found.resources);
      }
      return { total, resources };
    },
  };
}

/** The question as one type is asked it; undefined if nothing of that type can match. */
function narrow(call: Call, type: ResourceType): Call | undefined {
  const { filter: text, ...query } = call.query;
  if (text === undefined) return call;
  const filter = parseFilter(text);
  checkNames(filter);
  const left = reduce(type, filter);
  if (left === false) return undefined;
  return { ...call, query: left === true ? query : { ...query, filter: printFilter(left) } };
}

function reduce(type: ResourceType, filter: Filter): Filter | boolean {
  switch (filter.kind) {
    case "and":
    case "or": {
      const settles = filter.kind === "or";
      const terms = filter.terms.map((term) => reduce(type, term));
      if (terms.includes(settles)) return settles;
      const open = terms.filter((term) => typeof term !== "boolean");
      const [first, ...more] = open;
      if (!first) return !settles;
      return more.length > 0 ? { kind: filter.kind, terms: open } : first;
    }
    case "not": {
      const term = reduce(type, filter.term);
      return typeof term === "boolean" ? !term : { kind: "not", term };
    }
    case "compare":
      if (isResourceType(filter.name)) return compareType(type, filter);
      return resolve(type, filter.name) ? filter : unassigned(filter);
    case "present":
    case "some":
      return resolve(type, filter.name) ? filter : false;
  }
}

type Compare = Filter & { readonly kind: "compare" };

function compareType({ name }: ResourceType, { op, value }: Compare): boolean {
  const isIt = typeof value === "string" && value.toLowerCase() === name.toLowerCase();
  if (op === "eq") return isIt;
  if (op === "ne") return !isIt;
  return refuseAs("invalidFilter", "meta.resourceType can be asked for with eq and ne");
}

function unassigned({ op, value }: Compare): boolean {
  return op === "eq" ? value === null : op === "ne" && value !== null;
}

function isResourceType(name: string): boolean {
  return name.toLowerCase() === "meta.resourcetype";
}

// What no type has is a mistake, not an attribute without a value.
function checkNames(filter: Filter): void {
  switch (filter.kind) {
    case "and":
    case "or":
      return filter.terms.forEach(checkNames);
    case "not":
      return checkNames(filter.term);
    case "compare":
    case "present":
    case "some":
      if (![userType, groupType].some((type) => resolve(type, filter.name))) {
        refuseAs("invalidFilter", `${quote(filter.name)} is no attribute of a user or a group`);
      }
  }
}

/**
 * What a bulk operation says of resources that the same request makes: `bulkId:x` where an id belongs. That is a segment of
 * its path, a text of its data as a whole (a member, a manager), or a quoted one in the path of a PATCH's operation.
 */

import type { BulkOperation } from "./bulk-request.ts";
import { isObject } from "./json.ts";

const patterns = {
  whole: /^()bulkId:(.+)()$/s,
  segment: /(\/)bulkId:([^/]+)($)/g,
  quoted: /(")bulkId:([^"\\]+)(")/g,
} as const;

/** Every bulkId that an operation refers to. */
export function references({ path, data }: BulkOperation): string[] {
  const found = new Set<string>();
  const note = (bulkId: string): string => {
    found.add(bulkId);
    return bulkId;
  };
  inPath(path, note);
  inData(data, note);
  return [...found];
}

/** The path of an operation with ids for references. */
export function resolvedPath(path: string, ids: ReadonlyMap<string, string>): string {
  return inPath(path, (bulkId) => ids.get(bulkId));
}

/** The data of an operation with ids for references. */
export function resolvedData(data: unknown, ids: ReadonlyMap<string, string>): unknown {
  return inData(data, (bulkId) => ids.get(bulkId));
}

type Lookup = (bulkId: string) => string | undefined;

function inPath(path: string, lookup: Lookup): string {
  return swap(path, patterns.segment, lookup);
}

// Bodies are nested 32 deep at most. Keys stay own properties, whatever they are called.
function inData(data: unknown, lookup: Lookup, key = ""): unknown {
  if (typeof data === "string") {
    const quoted = key.toLowerCase() === "path" ? swap(data, patterns.quoted, lookup) : data;
    return swap(quoted, patterns.whole, lookup);
  }
  if (Array.isArray(data)) return data.map((each) => inData(each, lookup, key));
  if (!isObject(data)) return data;
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, inData(value, lookup, name)]));
}

function swap(text: string, pattern: RegExp, lookup: Lookup): string {
  return text.replace(pattern, (whole, before: string, bulkId: string, after: string) => {
    const id = lookup(bulkId);
    return id === undefined ? whole : `${before}${id}${after}`;
  });
}

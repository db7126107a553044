/** A resource as JSON, in pieces: a group has as many members as the cluster has people, and is too long for one turn. */

import type { Doc } from "./json.ts";

const longest = 500;

/** Joined, what JSON.stringify would give. */
export function* pieces(doc: Doc): Generator<string> {
  if (!Object.values(doc).some(isLong)) {
    yield JSON.stringify(doc);
    return;
  }
  let before = "{";
  for (const [name, value] of Object.entries(doc)) {
    yield `${before}${JSON.stringify(name)}:`;
    before = ",";
    if (isLong(value)) yield* list(value);
    else yield JSON.stringify(value);
  }
  yield "}";
}

function* list(values: readonly unknown[]): Generator<string> {
  for (let i = 0; i < values.length; i += longest) {
    yield (i === 0 ? "[" : ",") + JSON.stringify(values.slice(i, i + longest)).slice(1, -1);
  }
  yield "]";
}

function isLong(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > longest;
}

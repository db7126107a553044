/**
 * Bodies, parsed at the door: UTF-8 or refused, nested at most 32 deep, no attribute stated twice in one object. Names are
 * compared as SCIM compares them, without case: `{"active": false, "Active": true}` must not depend on who reads it.
 */

import { refuseAs } from "./errors.ts";

/** A JSON object. Only its own properties mean anything. */
export type Doc = Readonly<Record<string, unknown>>;

/** Bytes; a bulk request of a thousand people fits. */
export const largestBody = 8 * 1024 * 1024;

const deepest = 32;

/** @throws ScimRefusal `invalidSyntax`; never says what the body holds, which may be a password. */
export function parseJson(body: Buffer): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
    checkShape(text);
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return refuseAs("invalidSyntax", "the body is not JSON");
    if (error instanceof TypeError) return refuseAs("invalidSyntax", "the body is not UTF-8");
    throw error;
  }
}

/** @throws ScimRefusal `invalidSyntax`. */
export function asObject(value: unknown, what: string): Doc {
  return isObject(value) ? value : refuseAs("invalidSyntax", `${what} must be a JSON object`);
}

export function isObject(value: unknown): value is Doc {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A property by its name, whatever its case; undefined if the object has none of its own. */
export function property(object: Doc, name: string): unknown {
  const wanted = name.toLowerCase();
  return Object.entries(object).find(([key]) => key.toLowerCase() === wanted)?.[1];
}

// One pass over the characters, before JSON.parse: a regular expression for strings is quadratic on unclosed ones.
function checkShape(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let start = 0;
  let end = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charAt(i)) {
      case '"':
        start = i;
        end = i = endOfString(text, i);
        break;
      case "{":
      case "[":
        if (open.push(text[i] === "{" ? new Set() : undefined) > deepest) {
          refuseAs("invalidSyntax", `the body is nested more than ${deepest} deep`);
        }
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case ":":
        claim(open.at(-1), JSON.parse(text.slice(start, end + 1)) as string);
        break;
    }
  }
}

function claim(names: Set<string> | undefined, key: string): void {
  const name = key.toLowerCase();
  if (names?.has(name)) refuseAs("invalidSyntax", "the body states one attribute twice in the same object");
  names?.add(name);
}

function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}

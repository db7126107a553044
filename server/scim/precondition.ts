/**
 * Versions that a client names (RFC 7644, section 3.14): it wants an answer only if there is a newer one, or its change
 * only if there is none. Compared weakly: a version stands for a state, not for the bytes of one answer.
 */

import type { Precondition } from "../directory/context.ts";
import { refuseWith } from "./errors.ts";
import { versionOf } from "./meta.ts";

/**
 * What an `If-Match` header asks of the resource before it is changed: `*`, or any of a list. What is no version matches
 * nothing, so that a header that cannot be read never lets a change through.
 * @throws HttpRefusal 412, when the precondition is asked.
 */
export function ifMatch(header: string | undefined): Precondition | undefined {
  if (header === undefined) return undefined;
  return (current) => {
    if (!names(header, versionOf(current))) refuseWith(412, "the resource has another version by now");
  };
}

/** Whether an `If-None-Match` header says that the client has this version. */
export function isHeld(header: string | undefined, version: string | undefined): boolean {
  return header !== undefined && version !== undefined && names(header, version);
}

function names(header: string, version: string): boolean {
  return header.trim() === "*" || header.split(",").some((tag) => opaque(tag.trim()) === opaque(version));
}

function opaque(tag: string): string {
  return tag.startsWith("W/") ? tag.slice(2) : tag;
}

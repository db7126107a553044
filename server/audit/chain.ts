/**
 * The audit's chain. Each entry's hash covers the entry and the hash before it, so that whoever edits, removes, reorders or
 * inserts an entry must make every later one anew; numbers go from 1 without a gap. Only the newest entries can be cut off
 * unseen, by which the chain merely ends earlier: against that, a head is noted elsewhere, and checked later.
 */

import { hash as digest } from "node:crypto";

/** What was done, by whom and why. */
export interface Deed {
  /** The org's id; empty for what belongs to no org. */
  readonly org: string;
  /** Who: `admin:first`, `scim:okta`. */
  readonly actor: string;
  /** How it came: `scim 0198...` with the request's id, `cli`, `api`, `import`; empty if unknown. */
  readonly cause: string;
  /** What kind of thing, and what was done to it: `user.update`. */
  readonly action: string;
  readonly subject: string;
  /** JSON; null: there was nothing. */
  readonly before: string | null;
  readonly after: string | null;
}

/** A deed in its org's chain. */
export interface Entry extends Deed {
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** SHA-256, hex. */
  readonly hash: string;
}

/** Where a chain stands: its newest entry. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

/** Of a chain without entries. */
export const empty: ChainHead = { seq: 0, hash: "0".repeat(64) };

/** The next entry of a chain. */
export function next(head: ChainHead, deed: Deed, at: number): Entry {
  const entry = { ...deed, seq: head.seq + 1, at };
  return { ...entry, hash: hashOf(head.hash, entry) };
}

/** Where a chain breaks, and how that shows. */
export interface Break {
  readonly seq: number;
  readonly why: string;
}

/** Goes on along a chain by its next entries: the head after them, or the first break. */
export function follow(from: ChainHead, entries: readonly Entry[]): ChainHead | Break {
  let head = from;
  for (const entry of entries) {
    const seq = head.seq + 1;
    if (entry.seq !== seq) return { seq, why: `the entry is missing: ${entry.seq} comes after ${head.seq}` };
    if (entry.hash !== hashOf(head.hash, entry)) {
      return { seq, why: "the hash does not fit: the entry, or the one before it, is not as it was written" };
    }
    head = { seq, hash: entry.hash };
  }
  return head;
}

// A JSON array of strings, numbers and nulls reads back in one way only, so no two entries are written alike.
function hashOf(before: string, entry: Omit<Entry, "hash">): string {
  const { org, seq, at, actor, cause, action, subject } = entry;
  const text = JSON.stringify([before, org, seq, at, actor, cause, action, subject, entry.before, entry.after]);
  return digest("sha256", text, "hex");
}

/**
 * A delta takes a copy from one exact position to another. It names where it starts and where it must end; a copy checks
 * the start before, and the digest at the end before it commits anything.
 */

import { type Position, type Revision, sameEpoch, samePosition } from "./position.ts";
import { quote } from "./refusal.ts";
import { keyOf, type Resource, type ResourceKey } from "./resource.ts";

export interface Delta {
  readonly from: Position;
  readonly to: Position;
  readonly puts: readonly Resource[];
  readonly removals: readonly ResourceKey[];
}

/** What one revision did to one resource: put it (with its new content) or removed it. */
export interface Change {
  readonly revision: Revision;
  readonly key: ResourceKey;
  readonly put: Resource | undefined;
}

/** A delta fits only the exact copy it was cut from; anything else must resync. */
export function continues(at: Position, { from }: Delta): boolean {
  return samePosition(at, from);
}

/** Why a delta does not continue a copy, for the refusal; undefined if it does. */
export function whyNot(at: Position, { from, to }: Delta): string | undefined {
  if (!sameEpoch(at.epoch, from.epoch)) return `it starts in epoch ${from.epoch.seq}, this copy is in ${at.epoch.seq}`;
  if (!sameEpoch(from.epoch, to.epoch)) return "it crosses from one epoch into another";
  if (from.revision !== at.revision) return `it starts at revision ${from.revision}, this copy is at ${at.revision}`;
  if (from.digest !== at.digest) return `it starts from other content (digest ${quote(from.digest)})`;
  if (to.revision <= from.revision) return `it ends at revision ${to.revision}, not after ${from.revision}`;
  return undefined;
}

/** Cuts the delta from one position to another out of the changes between them, in any order: the last of each key wins. */
export function cut(from: Position, to: Position, changes: Iterable<Change>): Delta {
  const last = new Map<ResourceKey, Change>();
  for (const change of changes) {
    const seen = last.get(change.key);
    if (!seen || seen.revision < change.revision) last.set(change.key, change);
  }
  const puts: Resource[] = [];
  const removals: ResourceKey[] = [];
  for (const { key, put } of last.values()) {
    if (put) puts.push(put);
    else removals.push(key);
  }
  return { from, to, puts, removals };
}

/** Two deltas, the second starting where the first ends, as one. */
export function merge(first: Delta, second: Delta): Delta {
  if (!continues(first.to, second)) throw new Error("merge: the second delta does not start where the first ends");
  const changes = (delta: Delta, revision: bigint): Change[] => [
    ...delta.puts.map((put) => ({ revision, key: keyOf(put), put })),
    ...delta.removals.map((key) => ({ revision, key, put: undefined })),
  ];
  return cut(first.from, second.to, [...changes(first, 1n), ...changes(second, 2n)]);
}

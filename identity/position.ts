/**
 * A position says how far a copy has read, and proves what it holds: epoch, revision, digest. Two copies at equal
 * positions hold equal resources.
 */

import { type Digest, nothing } from "./digest.ts";

/** One life of a cluster's log. A restore opens the next one; `id` tells two lives with the same number apart. */
export interface Epoch {
  readonly seq: bigint;
  /** 32 lower-case hex digits, random. */
  readonly id: string;
}

/** A place in a cluster's log; contiguous, from 1, only grows inside an epoch. */
export type Revision = bigint;

export interface Position {
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly digest: Digest;
}

/** Where a copy that was never told anything is. */
export const origin: Position = { epoch: { seq: 0n, id: "0".repeat(32) }, revision: 0n, digest: nothing };

export function sameEpoch(a: Epoch, b: Epoch): boolean {
  return a.seq === b.seq && a.id === b.id;
}

export function samePosition(a: Position, b: Position): boolean {
  return sameEpoch(a.epoch, b.epoch) && a.revision === b.revision && a.digest === b.digest;
}

/** Whether a position is of a later epoch than another, or further on in the same one. */
export function isLater(a: Position, b: Position): boolean {
  return sameEpoch(a.epoch, b.epoch) ? a.revision > b.revision : a.epoch.seq > b.epoch.seq;
}

/** `1.r42`: for people and logs. */
export function showPosition({ epoch, revision }: Position): string {
  return `${epoch.seq}.r${revision}`;
}

/** Why a snapshot would take a copy back; undefined: it does not. A log goes back only into a later life, which an operator opened. */
export function whyBackwards(at: Position, to: Position): string | undefined {
  const { seq, id } = to.epoch;
  if (seq > at.epoch.seq) return undefined;
  if (seq < at.epoch.seq) return `the snapshot is of epoch ${seq}, this copy of ${at.epoch.seq}`;
  if (id !== at.epoch.id) return `the snapshot is of another epoch ${seq} than this copy`;
  if (to.revision >= at.revision) return undefined;
  return `the snapshot goes back to revision ${to.revision}, this copy is at ${at.revision}`;
}

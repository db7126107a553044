/**
 * A copy is what one node (or one scope on the server) holds: resources and the position they prove. It changes in two
 * steps: `prepare` checks everything and touches nothing, `commit` cannot fail. Between them a node stages its files.
 *
 * Invariants: every delta's start and end digest are checked before anything changes; no two users or groups
 * share a name.
 */

import { type Delta, whyNot } from "./delta.ts";
import { nothing, shift } from "./digest.ts";
import { origin, type Position, whyBackwards } from "./position.ts";
import { refuse } from "./refusal.ts";
import { keyOf, print, type Resource, type ResourceKey } from "./resource.ts";

export interface Copy {
  at: Position;
  readonly resources: Map<ResourceKey, Resource>;
  /** Which user or group holds a name. One namespace: a user's private group has the user's name. */
  readonly names: Map<string, ResourceKey>;
}

/** One resource that comes, changes or goes. */
export interface Edit {
  readonly key: ResourceKey;
  readonly before: Resource | undefined;
  readonly after: Resource | undefined;
}

/** A checked way from one position to another. */
export interface Step {
  readonly from: Position;
  readonly to: Position;
  readonly edits: readonly Edit[];
}

export function emptyCopy(): Copy {
  return { at: origin, resources: new Map(), names: new Map() };
}

/**
 * Checks a delta against a copy.
 * @throws Refusal `conflict` if it does not continue the copy or does not end at its digest, `invalid` if its content
 * could not be held.
 */
export function prepare(copy: Copy, delta: Delta): Step {
  const why = whyNot(copy.at, delta);
  if (why !== undefined) refuse("conflict", `the delta does not fit: ${why}`);
  const edits = [
    ...delta.removals.map((key) => ({ key, before: copy.resources.get(key), after: undefined })),
    ...delta.puts.map((put) => ({ key: keyOf(put), before: copy.resources.get(keyOf(put)), after: put })),
  ];
  return check(copy, delta.to, edits);
}

/**
 * Checks a whole snapshot against a copy; the step holds only what differs.
 * @throws Refusal `conflict` if its digest is not its position's, or it would take the copy backwards inside an epoch.
 */
export function prepareSnapshot(copy: Copy, to: Position, resources: Iterable<Resource>): Step {
  const backwards = whyBackwards(copy.at, to);
  if (backwards !== undefined) refuse("conflict", backwards);
  const next = new Map<ResourceKey, Resource>();
  for (const resource of resources) {
    if (next.has(keyOf(resource))) refuse("invalid", `the snapshot holds ${keyOf(resource)} twice`);
    next.set(keyOf(resource), resource);
  }
  if (shift(nothing, next.values(), []) !== to.digest) refuse("conflict", "the snapshot's content is not its digest's");
  const edits: Edit[] = [];
  for (const [key, before] of copy.resources) if (!next.has(key)) edits.push({ key, before, after: undefined });
  for (const [key, after] of next) edits.push({ key, before: copy.resources.get(key), after });
  const changed = edits.filter(({ before, after }) => !before || !after || print(before) !== print(after));
  // A copy that differs from its own digest (it should not) must not pass: the step's end is checked like a delta's.
  return check(copy, to, changed);
}

function check(copy: Copy, to: Position, edits: readonly Edit[]): Step {
  const seen = new Set<ResourceKey>();
  for (const { key } of edits) {
    if (seen.has(key)) refuse("invalid", `${key} is named twice in one delta`);
    seen.add(key);
  }
  const digest = shift(
    copy.at.digest,
    edits.flatMap(({ after }) => after ?? []),
    edits.flatMap(({ before }) => before ?? []),
  );
  if (digest !== to.digest)
    refuse("conflict", `the end digest would be ${digest}, not the ${to.digest} that was announced`);
  checkNames(copy, edits);
  // A delta over several revisions also removes what came and went in between: nothing to do here.
  return { from: copy.at, to, edits: edits.filter(({ before, after }) => before ?? after) };
}

function checkNames(copy: Copy, edits: readonly Edit[]): void {
  const freed = new Map<string, ResourceKey>();
  for (const { key, before } of edits) {
    const name = before && nameOf(before);
    if (name) freed.set(name, key);
  }
  const taken = new Map<string, ResourceKey>();
  for (const { key, after } of edits) {
    const name = after && nameOf(after);
    if (!name) continue;
    const held = copy.names.get(name);
    const rival = taken.get(name) ?? (held === freed.get(name) ? undefined : held);
    if (rival !== undefined && rival !== key) refuse("invalid", `${key} and ${rival} would both be named ${name}`);
    taken.set(name, key);
  }
}

/** Makes a checked step true. Cannot fail; the caller passes only a step prepared for this copy as it is. */
export function commit(copy: Copy, { to, edits }: Step): void {
  for (const { key, before } of edits) {
    copy.resources.delete(key);
    const name = before && nameOf(before);
    if (name && copy.names.get(name) === key) copy.names.delete(name);
  }
  for (const { key, after } of edits) {
    if (!after) continue;
    copy.resources.set(key, after);
    const name = nameOf(after);
    if (name) copy.names.set(name, key);
  }
  copy.at = to;
}

function nameOf(resource: Resource): string | undefined {
  return resource.kind === "user" || resource.kind === "group" ? resource.name : undefined;
}

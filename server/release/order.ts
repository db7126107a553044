/**
 * Identity and Slurm, in order: which of the edits that may reach the nodes go now, and which have to wait for the other
 * side. Pure.
 *
 * A new association waits until nodes know its person: Slurm would refuse the jobs of somebody whom it saw too early. Who
 * leaves is locked first: keys, memberships (and sudo with them) and associations go at once, the account itself when Slurm
 * has let go of the jobs. Where nothing keeps Slurm, nothing waits.
 */

import { type Association, print, type ResourceKey } from "../../identity/resource.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Passage } from "../store/passages.ts";

export interface Arrangement {
  /** What goes to the nodes now. */
  readonly go: readonly OwnedEdit[];
  /** Associations whose turn comes later. */
  readonly wait: readonly OwnedEdit[];
  /** Associations that go now, and that Slurm has to let go of. */
  readonly out: readonly OwnedEdit[];
  /** What waited for its turn, and is no longer wanted. */
  readonly withdrawn: readonly ResourceKey[];
}

/**
 * `passages`: all of the people whom the edits could be of. `isOrdered`: whether anything keeps Slurm in step with the nodes;
 * if not, what waits is released or forgotten now.
 */
export function arrange(edits: readonly OwnedEdit[], passages: readonly Passage[], isOrdered: boolean): Arrangement {
  const entering = passages.filter(({ way }) => way === "in").map(({ key }) => key);
  if (!isOrdered) return { go: edits, wait: [], out: [], withdrawn: entering };
  const out = edits.filter(({ before, after }) => before?.kind === "association" && !after);
  const leaving = new Set([
    ...out.map(({ owner }) => owner),
    ...passages.filter(({ way }) => way === "out").map(({ owner }) => owner),
  ]);
  const fresh = edits.filter(({ before, after }) => after?.kind === "association" && !before);
  const given = new Set(fresh.filter(({ after }) => isDefault(after)).map(({ owner }) => owner));
  const go: OwnedEdit[] = [];
  const wait = [...fresh];
  for (const edit of edits) {
    const { owner, before, after } = edit;
    if (after?.kind === "association" && !before) continue;
    if (after?.kind === "association" && isDefault(before) && !isDefault(after) && given.has(owner)) {
      // Somebody always has a default account: it is the old one until the new one is there.
      const kept: Association = { ...after, isDefault: true };
      wait.push(edit);
      if (before && print(kept) !== print(before)) go.push({ ...edit, after: kept });
    } else if (before?.kind === "user" && !after && leaving.has(owner)) {
      if (!before.locked) go.push({ ...edit, after: { ...before, locked: true } });
    } else go.push(edit);
  }
  const wanted = new Set(wait.map(({ key }) => key));
  return { go, wait, out, withdrawn: entering.filter((key) => !wanted.has(key)) };
}

function isDefault(resource: OwnedEdit["after"]): boolean {
  return resource?.kind === "association" && resource.isDefault;
}

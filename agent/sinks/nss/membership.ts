/** Who is in which group, both ways round; what a step makes of it can be asked before it is true. */

import type { Step } from "../../../identity/copy.ts";
import type { Gid, Uid } from "../../../identity/id.ts";
import type { Resource } from "../../../identity/resource.ts";

export class Membership {
  readonly #byGid = new Map<Gid, Set<Uid>>();
  readonly #byUid = new Map<Uid, Set<Gid>>();

  constructor(resources: Iterable<Resource>) {
    for (const resource of resources) if (resource.kind === "member") this.#add(resource.gid, resource.uid);
  }

  groupsOf(uid: Uid): Iterable<Gid> {
    return this.#byUid.get(uid) ?? [];
  }

  /** The members of each group after a step that is not taken yet. */
  after({ edits }: Pick<Step, "edits">): (gid: Gid) => ReadonlySet<Uid> {
    const moves = new Map<Gid, Map<Uid, boolean>>();
    const note = (gid: Gid, uid: Uid, isMember: boolean) => {
      const ofGroup = moves.get(gid) ?? new Map<Uid, boolean>();
      moves.set(gid, ofGroup.set(uid, isMember));
    };
    for (const { before, after } of edits) {
      if (before?.kind === "member") note(before.gid, before.uid, false);
      if (after?.kind === "member") note(after.gid, after.uid, true);
    }
    return (gid) => {
      const held = this.#byGid.get(gid) ?? new Set<Uid>();
      const moved = moves.get(gid);
      if (!moved) return held;
      const now = new Set(held);
      for (const [uid, isMember] of moved) {
        if (isMember) now.add(uid);
        else now.delete(uid);
      }
      return now;
    };
  }

  take({ edits }: Pick<Step, "edits">): void {
    for (const { before, after } of edits) {
      if (before?.kind === "member") this.#drop(before.gid, before.uid);
      if (after?.kind === "member") this.#add(after.gid, after.uid);
    }
  }

  #add(gid: Gid, uid: Uid): void {
    into(this.#byGid, gid, uid);
    into(this.#byUid, uid, gid);
  }

  #drop(gid: Gid, uid: Uid): void {
    outOf(this.#byGid, gid, uid);
    outOf(this.#byUid, uid, gid);
  }
}

function into<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const held = map.get(key);
  if (held) held.add(value);
  else map.set(key, new Set([value]));
}

function outOf<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const held = map.get(key);
  held?.delete(value);
  if (held?.size === 0) map.delete(key);
}

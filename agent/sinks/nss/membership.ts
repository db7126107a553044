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

  /** The members of a group after a step that is not taken yet. */
  membersAfter(gid: Gid, { edits }: Pick<Step, "edits">): ReadonlySet<Uid> {
    const now = new Set(this.#byGid.get(gid));
    for (const { before, after } of edits) {
      if (before?.kind === "member" && before.gid === gid) now.delete(before.uid);
      if (after?.kind === "member" && after.gid === gid) now.add(after.uid);
    }
    return now;
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

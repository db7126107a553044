/**
 * Views that were asked for lately. A node's four walks and those of its neighbours cost one load; a walk that began
 * before a change still finds its own revision. What was asked for longest ago goes first.
 */

import type { Position, Revision } from "../../identity/position.ts";
import type { Context } from "../directory/context.ts";
import { advance, type Snapshot, snapshotAt } from "../directory/snapshot.ts";
import { type View, viewOf } from "./cluster-view.ts";

/** Resources in all views together: about half a gigabyte. */
const mostHeld = 1_000_000;

/** Beyond this many revisions, a log is not shorter than what it leads to. */
const longestAdvance = 200n;

interface Known {
  readonly epoch: string;
  readonly revision: Revision;
  readonly held: Snapshot;
}

export class Views {
  readonly #ctx: Context;
  readonly #views = new Map<string, Promise<View>>();
  readonly #sizes = new Map<string, number>();
  /** Of each cluster, what the newest view was made of: the next one differs by a line or two. */
  readonly #newest = new Map<string, Known>();

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /** What a cluster's login nodes held at a revision. */
  async at(cluster: string, { epoch, revision }: Pick<Position, "epoch" | "revision">): Promise<View> {
    const name = `${cluster}/${epoch.id}/${revision}`;
    const loading = this.#views.get(name) ?? this.#load(cluster, epoch.id, revision);
    // Written anew at each use: a Map remembers in which order.
    this.#views.delete(name);
    this.#views.set(name, loading);
    try {
      const view = await loading;
      this.#sizes.set(name, view.size);
      this.#forget(name);
      return view;
    } catch (cause) {
      this.#views.delete(name);
      throw new Error(`load revision ${revision} of cluster ${cluster}`, { cause });
    }
  }

  async #load(cluster: string, epoch: string, revision: Revision): Promise<View> {
    const known = this.#newest.get(cluster);
    const ahead = known?.epoch === epoch ? revision - known.revision : -1n;
    const held =
      known && ahead >= 0n && ahead <= longestAdvance
        ? await advance(this.#ctx, cluster, "login", { from: known.revision, to: revision, held: known.held })
        : await snapshotAt(this.#ctx, cluster, "login", revision);
    const newest = this.#newest.get(cluster);
    if (newest?.epoch !== epoch || newest.revision < revision) this.#newest.set(cluster, { epoch, revision, held });
    return viewOf([...held.values()], revision);
  }

  #forget(used: string): void {
    let held = [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const name of [...this.#views.keys()]) {
      if (held <= mostHeld) return;
      if (name === used) continue;
      held -= this.#sizes.get(name) ?? 0;
      this.#views.delete(name);
      this.#sizes.delete(name);
    }
  }
}

/**
 * Lists walked by cursor (RFC 9865). A walk sees one state from its first page to its last, whatever is written meanwhile,
 * because it holds a snapshot of the store; that is dear, so walks are few and short.
 *
 * A cursor is a walk's id and a place. It is good only for the connection that began the walk, and for the same question.
 * One that is spent, idle for too long, or crowded out is `expiredCursor`: the client begins again.
 */

import type { Reader, Snapshot, Store } from "../store/store.ts";
import { refuseAs } from "./errors.ts";

export const limits = {
  /** Milliseconds. */
  idle: 300_000,
  /** Milliseconds from its first page: a snapshot keeps the store from cleaning up behind it. */
  life: 3_600_000,
  perOwner: 4,
  all: 16,
} as const;

/** Who walks, and through what; both as texts that are equal iff they are the same. */
export interface Claim {
  readonly owner: string;
  readonly question: string;
}

export interface Walk {
  readonly id: string;
  readonly reader: Reader;
}

interface OpenWalk extends Walk, Claim {
  readonly reader: Snapshot;
  readonly beganAt: number;
  usedAt: number;
  /** Requests that read from it now; it is closed when the last is done. */
  readers: number;
}

export class Walks implements AsyncDisposable {
  readonly #store: Pick<Store, "snapshot">;
  readonly #now: () => number;
  readonly #newId: () => string;
  /** Least recently used first. */
  readonly #open = new Map<string, OpenWalk>();

  /** `newId` gives unreserved characters that nobody can guess. */
  constructor(store: Pick<Store, "snapshot">, now: () => number, newId: () => string) {
    this.#store = store;
    this.#now = now;
    this.#newId = newId;
  }

  /** How many walks are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Begins a walk of the state as it is now; whoever is over a limit loses the walk that was left alone longest. */
  async begin<T>(claim: Claim, read: (walk: Walk) => Promise<T>): Promise<T> {
    const reader = await this.#store.snapshot();
    const now = this.#now();
    const walk: OpenWalk = { ...claim, id: this.#newId(), reader, beganAt: now, usedAt: now, readers: 0 };
    return this.#use(walk, async () => {
      try {
        await this.#makeRoom(walk);
        return await read(walk);
      } catch (error) {
        // Nobody was given its cursor.
        await this.#close(walk);
        throw error;
      }
    });
  }

  /**
   * Goes on with a walk, at a place in it.
   * @throws ScimRefusal `invalidCursor`: no cursor of ours, another's, or for another question; `expiredCursor`.
   */
  async resume<T>(cursor: string, claim: Claim, read: (walk: Walk, offset: number) => Promise<T>): Promise<T> {
    const [, id = "", offset = ""] = /^([A-Za-z0-9_-]{1,64})\.([0-9]{1,15})$/.exec(cursor) ?? [];
    if (id === "") refuseAs("invalidCursor", "that is no cursor of this server");
    await this.sweep();
    const walk = this.#open.get(id) ?? refuseAs("expiredCursor", "the cursor is no longer good: start again");
    if (walk.owner !== claim.owner || walk.question !== claim.question) {
      refuseAs("invalidCursor", "the cursor is of another question");
    }
    return this.#use(walk, (same) => read(same, Number(offset)));
  }

  /** Ends a walk that has shown its last page. */
  async end({ id }: Walk): Promise<void> {
    const walk = this.#open.get(id);
    if (walk) await this.#close(walk);
  }

  /** Closes what was left alone for too long. */
  async sweep(): Promise<void> {
    const now = this.#now();
    const stale = [...this.#open.values()].filter(
      ({ usedAt, beganAt }) => now - usedAt > limits.idle || now - beganAt > limits.life,
    );
    for (const walk of stale) await this.#close(walk);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const walk of [...this.#open.values()]) await this.#close(walk);
  }

  async #makeRoom(walk: OpenWalk): Promise<void> {
    const others = () => [...this.#open.values()].filter((other) => other !== walk);
    const own = others().filter(({ owner }) => owner === walk.owner);
    for (const other of own.slice(0, Math.max(0, own.length + 1 - limits.perOwner))) await this.#close(other);
    for (const other of others().slice(0, Math.max(0, this.#open.size - limits.all))) await this.#close(other);
  }

  async #use<T>(walk: OpenWalk, read: (walk: Walk) => Promise<T>): Promise<T> {
    walk.readers++;
    walk.usedAt = this.#now();
    this.#open.delete(walk.id);
    this.#open.set(walk.id, walk);
    try {
      return await read(walk);
    } finally {
      walk.readers--;
      if (walk.readers === 0 && !this.#open.has(walk.id)) await walk.reader[Symbol.asyncDispose]();
    }
  }

  // Nobody finds it any more; the snapshot goes with its last reader, or a page in the making would fail.
  async #close(walk: OpenWalk): Promise<void> {
    if (this.#open.delete(walk.id) && walk.readers === 0) await walk.reader[Symbol.asyncDispose]();
  }
}

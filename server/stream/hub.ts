/**
 * The hub knows the head of every cluster's log and tells the threads that hold streams when it moves. A doorbell from the store
 * wakes it at once; a poll each second is the truth, since a doorbell may be lost.
 */

import type { Logger } from "pino";
import { type Position, sameEpoch } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import type { Store } from "../store/store.ts";

type Heads = Readonly<Record<Role, Position>>;

/** Whoever wants to know. */
export interface Follower {
  readonly cluster: string;
  readonly role: Role;
  /** `urgent`: something was taken away since the last head. */
  moved(head: Position, urgent: boolean): void;
}

/** Is told whenever something was taken away, and of the revision without it, which is one for all roles. */
export type Urgent = (cluster: string, head: Pick<Position, "epoch" | "revision">) => void;

export class Hub implements Disposable {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #urgent: Urgent;
  readonly #heads = new Map<string, Heads>();
  readonly #followers = new Map<string, Set<Follower>>();
  readonly #doorbell: Disposable;
  readonly #poll: NodeJS.Timeout;
  readonly #looking = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();

  constructor(store: Store, log: Logger, urgent: Urgent = () => undefined) {
    this.#store = store;
    this.#log = log;
    this.#urgent = urgent;
    this.#doorbell = store.onAppend((cluster) => this.#ring(cluster));
    this.#poll = setInterval(() => {
      for (const cluster of this.#followers.keys()) this.#ring(cluster);
    }, 1000);
  }

  /** The head of a scope, as it is now. */
  async head(cluster: string, role: Role): Promise<Position> {
    await this.#look(cluster);
    const heads = this.#heads.get(cluster);
    if (!heads) throw new Error(`cluster ${cluster} is gone`);
    return heads[role];
  }

  /** The head of a scope, as it was last seen; undefined before it ever was. */
  known(cluster: string, role: Role): Position | undefined {
    return this.#heads.get(cluster)?.[role];
  }

  follow(follower: Follower): Disposable {
    const followers = this.#followers.get(follower.cluster) ?? new Set();
    this.#followers.set(follower.cluster, followers.add(follower));
    const heads = this.#heads.get(follower.cluster);
    if (heads) follower.moved(heads[follower.role], false);
    return { [Symbol.dispose]: () => followers.delete(follower) };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll);
    this.#doorbell[Symbol.dispose]();
  }

  /** Looks once; a ring while looking makes it look once more, so that no commit is missed and no look is queued twice. */
  #ring(cluster: string): void {
    if (this.#looking.has(cluster)) {
      this.#again.add(cluster);
      return;
    }
    const looking = this.#look(cluster)
      .catch((err: unknown) => this.#log.error({ cluster, err }, "reading the head of the log failed"))
      .finally(() => {
        this.#looking.delete(cluster);
        if (this.#again.delete(cluster)) this.#ring(cluster);
      });
    this.#looking.set(cluster, looking);
  }

  /**
   * Reads the head; if it moved on, everyone who follows is told, whoever it was that looked. Looks may overtake one
   * another: an older head never takes the place of a newer one.
   */
  async #look(cluster: string): Promise<void> {
    const before = this.#heads.get(cluster);
    const { head, urgent } = await this.#store.read(async (tx) => {
      const found = (await tx.clusters.get(cluster))?.head;
      const isNews = found && movesOn(before?.login, found.login);
      return {
        head: isNews ? found : undefined,
        urgent: isNews && before ? await tx.log.removesAfter(cluster, before.login.revision) : false,
      };
    });
    if (!head || !movesOn(this.#heads.get(cluster)?.login, head.login)) return;
    this.#heads.set(cluster, head);
    if (urgent) this.#urgent(cluster, head.login);
    for (const follower of this.#followers.get(cluster) ?? []) follower.moved(head[follower.role], urgent);
  }
}

/** Whether a position is a later one of its log than another, or of another log. */
export function movesOn(before: Position | undefined, now: Position): boolean {
  return !before || !sameEpoch(before.epoch, now.epoch) || now.revision > before.revision;
}

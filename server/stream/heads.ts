/** The heads of the logs, as a thread with streams was told them, and the streams that want to know when one moves. */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import { movesOn } from "./hub.ts";

/** A stream that wants to know. */
export interface Follower {
  moved(head: Position): void;
}

/** Streams told in one go before other work gets a turn: a flat loop over thousands stalled the event loop for 300 ms. */
const slice = 100;

export class Heads {
  readonly #scopes = new Map<string, { head: Position; readonly followers: Set<Follower>; telling: boolean }>();

  /** Follows a scope from a head on; a newer one that is known already is told at once. */
  follow(cluster: string, role: Role, head: Position, follower: Follower): Disposable {
    const scope = this.#scope(cluster, role, head);
    scope.followers.add(follower);
    if (movesOn(head, scope.head)) follower.moved(scope.head);
    return { [Symbol.dispose]: () => scope.followers.delete(follower) };
  }

  head(cluster: string, role: Role): Position | undefined {
    return this.#scopes.get(`${cluster} ${role}`)?.head;
  }

  /** Notes where a scope is now. While its streams are being told, only the newest is kept: nobody needs those between. */
  move(cluster: string, role: Role, head: Position): void {
    const scope = this.#scope(cluster, role, head);
    if (movesOn(scope.head, head)) scope.head = head;
    if (!scope.telling) void this.#tell(scope);
  }

  async #tell(scope: { head: Position; readonly followers: Set<Follower>; telling: boolean }): Promise<void> {
    scope.telling = true;
    let told: Position | undefined;
    while (told !== scope.head) {
      told = scope.head;
      let count = 0;
      for (const follower of scope.followers) {
        follower.moved(scope.head);
        if (++count % slice === 0) await nextTurn();
      }
    }
    scope.telling = false;
  }

  #scope(cluster: string, role: Role, head: Position) {
    const key = `${cluster} ${role}`;
    const known = this.#scopes.get(key);
    if (known) return known;
    const scope = { head, followers: new Set<Follower>(), telling: false };
    this.#scopes.set(key, scope);
    return scope;
  }
}

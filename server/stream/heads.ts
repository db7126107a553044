/**
 * The heads of the logs, as a thread with streams was told them, and the streams that want to know when one moves.
 *
 * A change is told at once. What follows while a fleet is still being told waits for as long as that costs this thread, and
 * goes as one: a burst of writes would else have every node told of every one of them, and leave no processor to who writes. The
 * longer it goes on like this, the longer are the rests; and a fleet is then told a few at a time, with rests between them: all at
 * once they would keep who writes waiting, and answer all at once. Where access is taken away, nothing waits.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import { movesOn } from "./hub.ts";

/** A stream that wants to know. */
export interface Follower {
  moved(head: Position): void;
}

/** Time, in milliseconds. `sleep` ends early, and well, when it is aborted. */
export interface Clock {
  now(): number;
  /** How much of a processor this thread has had. */
  spent(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

interface Scope {
  head: Position;
  readonly followers: Set<Follower>;
  /** Ends the rests of a round; undefined while nobody is being told. */
  telling: AbortController | undefined;
}

/** When a round began, by both clocks. */
interface Began {
  readonly now: number;
  readonly spent: number;
}

/** Streams told in one go before other work gets a turn: a flat loop over thousands stalled the event loop for 300 ms. */
const slice = 50;

/** The longest that the rests of a round are together, in milliseconds. */
const longestRest = 1_500;

/** Of rounds without a break, this one and all after it rest as many times as long as they cost. */
const mostRests = 4;

export class Heads {
  readonly #clock: Clock;
  readonly #scopes = new Map<string, Scope>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

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

  /** Notes where a scope is now; `urgent`: something was taken away on the way there. Resolves once everyone was told. */
  async move(cluster: string, role: Role, head: Position, urgent: boolean): Promise<void> {
    const scope = this.#scope(cluster, role, head);
    if (movesOn(scope.head, head)) scope.head = head;
    if (urgent) scope.telling?.abort();
    if (!scope.telling) await this.#tell(scope);
  }

  async #tell(scope: Scope): Promise<void> {
    let told: Position | undefined;
    for (let round = 1; told !== scope.head; round++) {
      const { signal } = (scope.telling = new AbortController());
      const began = { now: this.#clock.now(), spent: this.#clock.spent() };
      const rest = (): Promise<void> => this.#rest(began, Math.min(round, mostRests), signal);
      // One head for all of a round, so that all are sent one delta: it is made once.
      const { head } = scope;
      let count = 0;
      for (const follower of scope.followers) {
        follower.moved(head);
        if (++count % slice > 0) continue;
        await nextTurn();
        // What is told at once is told to the end, or who is last would never hear of a row of leavers.
        if (round === 1) continue;
        await rest();
        if (signal.aborted) break;
      }
      await rest();
      told = signal.aborted ? undefined : head;
      // Access was taken away: all are told as at first.
      if (signal.aborted) round = 0;
    }
    scope.telling = undefined;
  }

  /** Rests so many times as long as the round has cost this thread. It goes on costing after everybody was told: they answer. */
  async #rest(began: Began, times: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const spent = this.#clock.spent() - began.spent;
      const rested = this.#clock.now() - began.now - spent;
      const due = Math.min(spent * times, longestRest) - rested;
      if (signal.aborted || due < 1) return;
      await this.#clock.sleep(due, signal);
    }
  }

  #scope(cluster: string, role: Role, head: Position): Scope {
    const key = `${cluster} ${role}`;
    const known = this.#scopes.get(key);
    if (known) return known;
    const scope: Scope = { head, followers: new Set(), telling: undefined };
    this.#scopes.set(key, scope);
    return scope;
  }
}

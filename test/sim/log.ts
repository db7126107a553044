/** The model of a cluster's log: what every position that was ever written holds, also those of lives that a backup ended. */

import { type Change, cut, type Delta } from "../../identity/delta.ts";
import { nothing, shift } from "../../identity/digest.ts";
import type { Position } from "../../identity/position.ts";
import { keyOf, print, type Resource, type ResourceKey } from "../../identity/resource.ts";
import { aGroup, aKey, aMember, aUser } from "../../identity/testing.ts";
import { dice } from "../random.ts";

interface Entry {
  readonly changes: readonly Change[];
  readonly resources: ReadonlyMap<ResourceKey, Resource>;
  readonly digest: Position["digest"];
}

const empty: Entry = { changes: [], resources: new Map(), digest: nothing };

export class Log {
  #lives = 1;
  #epoch = { seq: 1n, id: "1".padStart(32, "0") };
  #entries: readonly Entry[] = [empty];
  #backup: { readonly epoch: Position["epoch"]; readonly entries: readonly Entry[] } | undefined;
  /** What each position holds, whichever life wrote it. */
  readonly #held = new Map<string, string>();

  constructor() {
    this.change(0);
  }

  get head(): Position {
    return this.#at(this.#entries.length - 1);
  }

  /** Whether this log, as it is now, has a position. */
  has(position: Position): boolean {
    const { epoch, revision, digest } = position;
    return epoch.id === this.#epoch.id && this.#entries[Number(revision)]?.digest === digest;
  }

  /** What a position holds, by canonical lines; undefined: nobody ever wrote it. */
  holds(position: Position): string | undefined {
    return position.revision === 0n ? "" : this.#held.get(nameOf(position));
  }

  /** Appends a revision; the number says what happens. */
  change(number: number): void {
    const before = this.#entries.at(-1) ?? empty;
    const revision = BigInt(this.#entries.length);
    const changes = edits(number, before.resources).map(([key, put]): Change => ({ revision, key, put }));
    const resources = new Map(before.resources);
    for (const { key, put } of changes) {
      resources.delete(key);
      if (put) resources.set(key, put);
    }
    this.#entries = [...this.#entries, { changes, resources, digest: shift(nothing, resources.values(), []) }];
    this.#note();
  }

  delta(from: Position, to: Position): Delta {
    const between = this.#entries.slice(Number(from.revision) + 1, Number(to.revision) + 1);
    return cut(
      from,
      to,
      between.flatMap(({ changes }) => changes),
    );
  }

  snapshot(): { readonly to: Position; readonly resources: readonly Resource[] } {
    return { to: this.head, resources: [...(this.#entries.at(-1) ?? empty).resources.values()] };
  }

  backup(): void {
    this.#backup = { epoch: this.#epoch, entries: this.#entries };
  }

  /** Says whether there was a backup to put back. */
  putBack(): boolean {
    if (!this.#backup) return false;
    this.#epoch = this.#backup.epoch;
    this.#entries = this.#backup.entries;
    return true;
  }

  /** Opens an epoch above any that a node could have seen. */
  openEpoch(above: bigint): void {
    this.#lives++;
    this.#epoch = { seq: above + 1n, id: String(this.#lives).padStart(32, "0") };
    for (const [revision] of this.#entries.entries()) this.#note(revision);
  }

  #at(revision: number): Position {
    const { digest } = this.#entries[revision] ?? empty;
    return { epoch: this.#epoch, revision: BigInt(revision), digest };
  }

  #note(revision = this.#entries.length - 1): void {
    this.#held.set(nameOf(this.#at(revision)), linesOf((this.#entries[revision] ?? empty).resources.values()));
  }
}

export function nameOf({ epoch, revision, digest }: Position): string {
  return `${epoch.seq}.${epoch.id}.r${revision}.${digest}`;
}

export function linesOf(resources: Iterable<Resource>): string {
  return Array.from(resources, print).sort().join("\n");
}

/** One to four edits of a small world, so that they meet one another: people come, change and go. */
function edits(number: number, held: ReadonlyMap<ResourceKey, Resource>): [ResourceKey, Resource | undefined][] {
  const chance = dice(number);
  const made = new Map<ResourceKey, Resource | undefined>();
  for (let left = 1 + chance.roll(4); left > 0; left--) {
    const resource = chance.pick([
      aUser(chance.roll(5), { gecos: chance.pick(["", "A", "Älan"]) }),
      aGroup(chance.roll(2)),
      aMember(chance.roll(2), chance.roll(5)),
      aKey(chance.roll(5), `key ${chance.roll(2)}`),
    ]);
    const key = keyOf(resource);
    const goes = held.has(key) && chance.roll(2) === 0;
    made.set(key, goes ? undefined : resource);
  }
  return [...made];
}

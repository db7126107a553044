/** Associations between the directory and Slurm: those that wait for their turn, and those that Slurm has to let go of. */

import type { Kysely, Selectable } from "kysely";
import type { Revision } from "../../identity/position.ts";
import { type Association, parse, print, type ResourceKey } from "../../identity/resource.ts";
import { compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import { slices } from "./users.ts";

/**
 * `in`: granted, and in nothing that nodes are sent, until they know the person. `out`: gone from what nodes are sent, and
 * not yet from Slurm.
 */
export type Way = "in" | "out";

export interface Passage {
  readonly key: ResourceKey;
  readonly way: Way;
  /** The person, by the directory's id. */
  readonly owner: string;
  /** As it shall be, or as it was. */
  readonly association: Association;
  /** Which revision nodes must hold, or the controller must have settled. */
  readonly revision: Revision;
  readonly cause: string;
  readonly at: number;
}

/** Which passage, as far as somebody looked at it: one that has changed since is another one. */
export type Seen = Pick<Passage, "key" | "revision">;

const ofOwners = compiled((db, { cluster, some }: { cluster: string; some: readonly string[] }) =>
  db.selectFrom("passages").selectAll().where("cluster", "=", cluster).where("owner", "in", some),
);

export class Passages {
  readonly #db: Kysely<Schema>;
  readonly #appended: Set<string>;

  /** `appended`: clusters whose followers are told after the commit. */
  constructor(db: Kysely<Schema>, appended: Set<string>) {
    this.#db = db;
    this.#appended = appended;
  }

  /** All of some people. */
  async of(cluster: string, owners: readonly string[]): Promise<Passage[]> {
    const found: Passage[] = [];
    for (const some of slices(owners)) {
      const { rows } = await ofOwners(this.#db, { cluster, some });
      found.push(...rows.map(fromRow));
    }
    return found;
  }

  /** All of a cluster. */
  async all(cluster: string): Promise<Passage[]> {
    const rows = await this.#db.selectFrom("passages").selectAll().where("cluster", "=", cluster).execute();
    return rows.map(fromRow);
  }

  /** Those of some that are there still, on one way, as they were seen. */
  async still(cluster: string, way: Way, seen: readonly Seen[]): Promise<Passage[]> {
    const wanted = new Map(seen.map(({ key, revision }) => [key, revision]));
    const found: Passage[] = [];
    for (const some of slices([...wanted.keys()])) {
      const rows = await this.#db
        .selectFrom("passages")
        .selectAll()
        .where("cluster", "=", cluster)
        .where("way", "=", way)
        .where("key", "in", some)
        .execute();
      found.push(...rows.map(fromRow));
    }
    return found.filter(({ key, revision }) => wanted.get(key) === revision);
  }

  /** Clusters that have any. */
  async clusters(): Promise<string[]> {
    const rows = await this.#db.selectFrom("passages").select("cluster").distinct().execute();
    return rows.map(({ cluster }) => cluster);
  }

  /** Adds some; of those that are there, what they are and wait for is replaced, and not since when. */
  async put(cluster: string, passages: readonly Passage[]): Promise<void> {
    for (const some of slices(passages)) {
      await this.#db
        .insertInto("passages")
        .values(
          some.map(({ association, revision, ...rest }) => {
            return { cluster, ...rest, line: print(association), revision: Number(revision) };
          }),
        )
        .onConflict((oc) =>
          oc.columns(["cluster", "key", "way"]).doUpdateSet((eb) => ({
            line: eb.ref("excluded.line"),
            revision: eb.ref("excluded.revision"),
          })),
        )
        .execute();
    }
    if (passages.length > 0) this.#appended.add(cluster);
  }

  async remove(cluster: string, way: Way, keys: readonly ResourceKey[]): Promise<void> {
    for (const some of slices(keys)) {
      await this.#db
        .deleteFrom("passages")
        .where("cluster", "=", cluster)
        .where("way", "=", way)
        .where("key", "in", some)
        .execute();
    }
    if (keys.length > 0) this.#appended.add(cluster);
  }
}

function fromRow({ key, way, owner, line, revision, cause, at }: Selectable<Schema["passages"]>): Passage {
  const association = parse(line);
  if (association.kind !== "association") throw new Error(`passage ${key}: ${line} is no association`);
  return {
    key: key as ResourceKey,
    way: way as Way,
    owner,
    association,
    revision: BigInt(revision),
    cause,
    at: Number(at),
  };
}

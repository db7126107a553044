/** What waits for an operator, and who went without waiting. */

import { type Kysely, type Selectable, sql } from "kysely";
import type { Gid } from "../../identity/id.ts";
import type { ResourceKey } from "../../identity/resource.ts";
import { compiled } from "./compiled.ts";
import type { OwnedEdit } from "./log.ts";
import type { Schema } from "./schema.ts";
import { type Page, slices } from "./users.ts";

/** Removals that wait, as one decision. */
export interface Hold {
  readonly id: string;
  readonly cluster: string;
  readonly state: HoldState;
  readonly reason: string;
  readonly createdAt: number;
  readonly decidedAt: number | undefined;
}

/** `rejected`: the nodes keep what the directory no longer grants, by an operator's word. `done`: nothing is left in it. */
export type HoldState = "pending" | "rejected" | "done";

/** A resource that a hold keeps. */
export interface Held {
  readonly key: ResourceKey;
  /** The canonical line of what the nodes hold. */
  readonly line: string;
  readonly owner: string;
  readonly cause: string;
  readonly at: number;
}

const heldOf = compiled((db, { cluster, some }: { cluster: string; some: readonly string[] }) =>
  db.selectFrom("held").select("key").where("cluster", "=", cluster).where("owner", "in", some),
);

export class Holds {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  /** What is held of some subjects. */
  async heldOf(cluster: string, owners: readonly string[]): Promise<Set<ResourceKey>> {
    const found = new Set<ResourceKey>();
    for (const some of slices(owners)) {
      const { rows } = await heldOf(this.#db, { cluster, some });
      for (const { key } of rows) found.add(key as ResourceKey);
    }
    return found;
  }

  /** Those of some groups of which a member is held. */
  async groupsWithHeldMembers(cluster: string, gids: readonly Gid[]): Promise<Set<Gid>> {
    const found = new Set<Gid>();
    for (const gid of gids) {
      const { from, to } = membersOf(gid);
      const row = await this.#of(cluster)
        .select("key")
        .where("key", ">=", from)
        .where("key", "<", to)
        .limit(1)
        .executeTakeFirst();
      if (row) found.add(gid);
    }
    return found;
  }

  /** Adds removals to the cluster's pending hold, or to a new one. */
  async add(
    cluster: string,
    edits: readonly OwnedEdit[],
    { reason, cause, now }: { reason: string; cause: string; now: number },
  ): Promise<void> {
    const hold = (await this.#pending(cluster)) ?? (await this.#open(cluster, reason, now));
    for (const some of slices(edits)) {
      await this.#db
        .insertInto("held")
        .values(some.map(({ key, owner }) => ({ cluster, key, owner, hold, cause, at: now })))
        .execute();
    }
  }

  /** Forgets what is held; a hold that is empty then is done. */
  async withdraw(cluster: string, keys: readonly ResourceKey[]): Promise<void> {
    if (keys.length === 0) return;
    for (const some of slices(keys)) {
      await this.#db.deleteFrom("held").where("cluster", "=", cluster).where("key", "in", some).execute();
    }
    await this.#db
      .updateTable("holds")
      .set({ state: "done" })
      .where("cluster", "=", cluster)
      .where("state", "!=", "done")
      .where((eb) => eb.not(eb.exists(eb.selectFrom("held").select("key").whereRef("held.hold", "=", "holds.id"))))
      .execute();
  }

  /** How many people went since a time. */
  async departed(cluster: string, since: number): Promise<number> {
    const row = await this.#db
      .selectFrom("departures")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where("cluster", "=", cluster)
      .where("at", ">", since)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  /** Counts people who go, and forgets who went before a time. */
  async depart(cluster: string, owners: readonly string[], at: number, since: number): Promise<void> {
    if (owners.length === 0) return;
    await this.#db.deleteFrom("departures").where("cluster", "=", cluster).where("at", "<=", since).execute();
    for (const some of slices(owners)) {
      await this.#db
        .insertInto("departures")
        .values(some.map((owner) => ({ cluster, at, owner })))
        .onConflict((oc) => oc.columns(["cluster", "at", "owner"]).doNothing())
        .execute();
    }
  }

  async get(id: string): Promise<Hold | undefined> {
    const row = await this.#db.selectFrom("holds").selectAll().where("id", "=", id).executeTakeFirst();
    return row && fromRow(row);
  }

  /** Newest first; those that are done only if they are wanted. */
  async list(cluster: string, { done }: { done: boolean }, { offset, limit }: Page): Promise<Hold[]> {
    const rows = await this.#db
      .selectFrom("holds")
      .selectAll()
      .where("cluster", "=", cluster)
      .$if(!done, (query) => query.where("state", "!=", "done"))
      .orderBy("created_at", "desc")
      .orderBy("id", "desc")
      .limit(limit)
      .offset(offset)
      .execute();
    return rows.map(fromRow);
  }

  /** How many subjects a hold keeps something of. */
  async countSubjects(id: string): Promise<number> {
    const row = await this.#db
      .selectFrom("held")
      .select((eb) => eb.fn.count<number>("owner").distinct().as("count"))
      .where("hold", "=", id)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  /** What a hold keeps, by subject: all of some subjects, a page of them. */
  async items(id: string, { offset, limit }: Page): Promise<Map<string, Held[]>> {
    const owners = await this.#db
      .selectFrom("held")
      .select("owner")
      .distinct()
      .where("hold", "=", id)
      .orderBy("owner")
      .limit(limit)
      .offset(offset)
      .execute();
    return this.ofOwners(
      id,
      owners.map(({ owner }) => owner),
    );
  }

  /** What a hold keeps of some subjects. */
  async ofOwners(id: string, owners: readonly string[]): Promise<Map<string, Held[]>> {
    const found = new Map<string, Held[]>();
    for (const some of slices(owners)) {
      const rows = await this.#db
        .selectFrom("held")
        .innerJoin("resources", (join) =>
          join.onRef("resources.cluster", "=", "held.cluster").onRef("resources.key", "=", "held.key"),
        )
        .select(["held.key", "held.owner", "held.cause", "held.at", "resources.line"])
        .where("held.hold", "=", id)
        .where("held.owner", "in", some)
        .orderBy("held.owner")
        .orderBy("held.key", "desc")
        .execute();
      for (const { key, owner, cause, at, line } of rows) {
        const held = { key: key as ResourceKey, line, owner, cause, at: Number(at) };
        found.set(owner, [...(found.get(owner) ?? []), held]);
      }
    }
    return found;
  }

  /** Every subject that a hold keeps something of. */
  async owners(id: string): Promise<string[]> {
    const rows = await this.#db.selectFrom("held").select("owner").distinct().where("hold", "=", id).execute();
    return rows.map(({ owner }) => owner);
  }

  async reject(id: string, now: number): Promise<void> {
    await this.#db.updateTable("holds").set({ state: "rejected", decided_at: now }).where("id", "=", id).execute();
  }

  async #pending(cluster: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom("holds")
      .select("id")
      .where("cluster", "=", cluster)
      .where("state", "=", "pending")
      .executeTakeFirst();
    return row?.id;
  }

  // Numbers, since people say them to one another.
  async #open(cluster: string, reason: string, now: number): Promise<string> {
    const highest = sql<number>`coalesce(max(cast(id as integer)), 0)`;
    const row = await this.#db.selectFrom("holds").select(highest.as("highest")).executeTakeFirstOrThrow();
    const id = String(Number(row.highest) + 1);
    await this.#db.insertInto("holds").values({ id, cluster, state: "pending", reason, created_at: now }).execute();
    return id;
  }

  #of(cluster: string) {
    return this.#db.selectFrom("held").where("cluster", "=", cluster);
  }
}

/** The keys of a group's memberships: from the first, to before the second. "0" is what follows "/". */
export function membersOf(gid: Gid): { from: string; to: string } {
  return { from: `member/${gid}/`, to: `member/${gid}0` };
}

function fromRow(row: Selectable<Schema["holds"]>): Hold {
  const { id, cluster, state, reason, created_at, decided_at } = row;
  return {
    id,
    cluster,
    state: state as HoldState,
    reason,
    createdAt: Number(created_at),
    decidedAt: decided_at === null ? undefined : Number(decided_at),
  };
}

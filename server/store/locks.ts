/**
 * An admin's locks. A row remembers every handle of the person as it was then, and holds whoever has any of them: the id,
 * the folded userName, or the externalId of the same origin. Rows outlive the user.
 */

import type { Kysely, Selectable } from "kysely";
import { fold } from "../../identity/fold.ts";
import { compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import { type Page, slices } from "./users.ts";

export interface Lock {
  readonly id: string;
  readonly org: string;
  readonly userId: string;
  readonly userName: string;
  readonly origin: string;
  readonly externalId: string | undefined;
  readonly reason: string;
  readonly createdAt: number;
}

const anyOf = compiled((db, { org }: { org: string }) =>
  db.selectFrom("locks").select("id").where("org", "=", org).limit(1),
);

export class Locks {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  /** The locks that hold a user. */
  async on(org: string, userId: string): Promise<Lock[]> {
    const rows = await this.#holds(org).selectAll("locks").where("users.id", "=", userId).orderBy("locks.id").execute();
    return rows.map(fromRow);
  }

  /** Those of some users whom a lock holds. */
  async among(org: string, userIds: readonly string[]): Promise<Set<string>> {
    const found = new Set<string>();
    const { rows: any } = await anyOf(this.#db, { org });
    if (any.length === 0) return found;
    for (const some of slices(userIds)) {
      const rows = await this.#holds(org).select("users.id as id").distinct().where("users.id", "in", some).execute();
      for (const { id } of rows) found.add(id);
    }
    return found;
  }

  /** The locks that were made on a userName or an id, whoever has it now. */
  async madeOn(org: string, handle: string): Promise<Lock[]> {
    const rows = await this.#db
      .selectFrom("locks")
      .selectAll()
      .where("org", "=", org)
      .where((eb) => eb.or([eb("user_name_folded", "=", fold(handle)), eb("user_id", "=", handle)]))
      .orderBy("id")
      .execute();
    return rows.map(fromRow);
  }

  /** Ids of the users whom a lock holds now: more than one where people share or took over a handle. */
  async held({ org, id }: Lock): Promise<string[]> {
    const rows = await this.#holds(org).select("users.id as id").where("locks.id", "=", id).execute();
    return rows.map((row) => row.id);
  }

  async list(org: string, { offset, limit }: Page): Promise<Lock[]> {
    const rows = await this.#db
      .selectFrom("locks")
      .selectAll()
      .where("org", "=", org)
      .orderBy("user_name_folded")
      .orderBy("id")
      .limit(limit)
      .offset(offset)
      .execute();
    return rows.map(fromRow);
  }

  async add({ id, org, userId, userName, origin, externalId, reason, createdAt }: Lock): Promise<void> {
    await this.#db
      .insertInto("locks")
      .values({
        id,
        org,
        user_id: userId,
        user_name: userName,
        user_name_folded: fold(userName),
        origin,
        external_id: externalId ?? null,
        reason,
        created_at: createdAt,
      })
      .execute();
  }

  async remove(id: string): Promise<void> {
    await this.#db.deleteFrom("locks").where("id", "=", id).execute();
  }

  /** Users and the locks that hold them: what a lock holds on by is said here only. */
  #holds(org: string) {
    return this.#db
      .selectFrom("users")
      .innerJoin("locks", "locks.org", "users.org")
      .where("users.org", "=", org)
      .where((eb) =>
        eb.or([
          eb("locks.user_id", "=", eb.ref("users.id")),
          eb("locks.user_name_folded", "=", eb.ref("users.user_name_folded")),
          eb.and([
            eb("locks.origin", "=", eb.ref("users.origin")),
            eb("locks.external_id", "=", eb.ref("users.external_id")),
          ]),
        ]),
      );
  }
}

function fromRow(row: Selectable<Schema["locks"]>): Lock {
  return {
    id: row.id,
    org: row.org,
    userId: row.user_id,
    userName: row.user_name,
    origin: row.origin,
    externalId: row.external_id ?? undefined,
    reason: row.reason,
    createdAt: Number(row.created_at),
  };
}

/** Users, and the ids and names that were ever given to anybody. */

import { type Kysely, type RawBuilder, type Selectable, sql } from "kysely";
import { fold } from "../../identity/fold.ts";
import type { Gid, IdRange, Uid } from "../../identity/id.ts";
import type { Name } from "../../identity/name.ts";
import { compiled } from "./compiled.ts";
import { insertRows } from "./insert.ts";
import type { Schema } from "./schema.ts";
import { type Search, userCondition, userOrder } from "./search.ts";

/** A person of an org, as the directory keeps them. */
export interface User {
  readonly id: string;
  readonly org: string;
  readonly origin: string;
  readonly userName: string;
  readonly externalId: string | undefined;
  readonly active: boolean;
  readonly fullName: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly name: Name;
  readonly uid: Uid;
  /** Primary group; undefined: the private one, whose number is the uid. */
  readonly gid: Gid | undefined;
  /** Home directory and login shell of their own; undefined: by the templates of cluster and org. */
  readonly home: string | undefined;
  readonly shell: string | undefined;
  readonly createdAt: number;
  readonly modifiedAt: number;
}

/** One value of an attribute, as it is searched and sorted by: a row of `user_values` without the user. */
export type SearchValue = Pick<Selectable<Schema["user_values"]>, "attribute" | "place"> &
  Partial<Omit<Selectable<Schema["user_values"]>, "user_id" | "attribute" | "place">>;

/** A page by place: `offset` rows skipped, `limit` at most. */
export interface Page {
  readonly offset: number;
  readonly limit: number;
}

const byIds = compiled((db, { org, some }: { org: string; some: readonly string[] }) =>
  db.selectFrom("users").selectAll().where("org", "=", org).where("id", "in", some),
);

const byFoldedName = compiled((db, { org, name }: { org: string; name: string }) =>
  db.selectFrom("users").selectAll().where("org", "=", org).where("user_name_folded", "=", name),
);

// Only what is new is set: SQLite writes each index of what is set, and looks at the rows that refer to it.
const change = compiled((db, { id, ...set }: { id: string } & Partial<ReturnType<typeof changeable>>) =>
  db.updateTable("users").set(set).where("id", "=", id),
);

const removeValues = compiled((db, { id }: { id: string }) => db.deleteFrom("user_values").where("user_id", "=", id));

const takeName = compiled((db, { org, name, subject }: { org: string; name: string; subject: string }) =>
  db
    .insertInto("names")
    .values({ org, name, subject })
    .onConflict((oc) => oc.columns(["org", "name"]).doNothing()),
);

export class Users {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async get(org: string, id: string): Promise<User | undefined> {
    return (await this.many(org, [id])).get(id);
  }

  async byUserName(org: string, userName: string): Promise<User | undefined> {
    const { rows } = await byFoldedName(this.#db, { org, name: fold(userName) });
    const [row] = rows;
    return row && fromRow(row);
  }

  async byName(org: string, name: string): Promise<User | undefined> {
    const row = await this.#all(org).where("name", "=", name).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  /** Those of some users that exist, by id. */
  async many(org: string, ids: readonly string[]): Promise<Map<string, User>> {
    const found = new Map<string, User>();
    for (const some of slices(ids)) {
      const { rows } = await byIds(this.#db, { org, some });
      for (const row of rows) found.set(row.id, fromRow(row));
    }
    return found;
  }

  /** Users, those that one origin made if it is given, by userName or as the search says. */
  async list(
    org: string,
    origin: string | undefined,
    { where, order }: Search,
    { offset, limit }: Page,
  ): Promise<{ total: number; users: User[] }> {
    const all = this.#all(org)
      .$if(origin !== undefined, (query) => query.where("origin", "=", origin ?? ""))
      .$if(where.kind !== "all", (query) => query.where(userCondition(where)));
    const counted = await all.select((eb) => eb.fn.countAll<number>().as("total")).executeTakeFirstOrThrow();
    if (limit === 0) return { total: Number(counted.total), users: [] };
    const direction = order?.descending ? "desc" : "asc";
    const rows = await all
      .$if(
        order?.attribute !== undefined,
        (query) =>
          query.leftJoin("user_values as v", (join) =>
            join
              .onRef("v.user_id", "=", "users.id")
              .on("v.attribute", "=", order?.attribute ?? "")
              .on("v.place", "=", 0),
          ) as unknown as typeof query,
      )
      // What is not assigned comes last, first if descending (RFC 7644, section 3.4.2.3).
      .$if(order !== undefined, (query) =>
        order ? query.orderBy(sql`${userOrder(order)} is null`, direction).orderBy(userOrder(order), direction) : query,
      )
      .selectAll("users")
      .orderBy("user_name_folded")
      .limit(limit)
      .offset(offset)
      .execute();
    return { total: Number(counted.total), users: rows.map(fromRow) };
  }

  /** Ids of an org's users in their own order, those behind one of them. */
  async idsAfter(org: string, after: string, limit: number): Promise<string[]> {
    const rows = await this.#all(org).select("id").where("id", ">", after).orderBy("id").limit(limit).execute();
    return rows.map(({ id }) => id);
  }

  async add(user: User): Promise<void> {
    await insertRows(this.#db, "users", [toRow(user)]);
  }

  /** Changes a user; the id, the org and the uid were given for ever. */
  async put(before: User, after: User): Promise<void> {
    const was = changeable(before);
    const is = Object.entries(changeable(after)).filter(([column, value]) => was[column as keyof typeof was] !== value);
    if (is.length > 0) await change(this.#db, { id: after.id, ...Object.fromEntries(is) });
  }

  async removeValues(id: string): Promise<void> {
    await removeValues(this.#db, { id });
  }

  /** What a user can be searched by, who had nothing so far. */
  async addValues(id: string, values: readonly SearchValue[]): Promise<void> {
    for (const some of slices(values)) {
      await insertRows(
        this.#db,
        "user_values",
        some.map((value) => ({ user_id: id, ...value })),
      );
    }
  }

  /** Removes a user with its memberships and keys; its id and name stay taken. */
  async remove(id: string): Promise<void> {
    await this.removeValues(id);
    await this.#db.deleteFrom("memberships").where("user_id", "=", id).execute();
    await this.#db.deleteFrom("ssh_keys").where("user_id", "=", id).execute();
    await this.#db.deleteFrom("users").where("id", "=", id).execute();
  }

  /**
   * Takes the next number of a range: the one above the highest that was given out of it, past those that are taken.
   * Numbers that came from elsewhere do not move the counter. Undefined if none is left above it.
   */
  async takeId(org: string, range: IdRange, subject: string): Promise<number | undefined> {
    // Not max(): SQLite would walk the whole range for it.
    const highest = sql<number>`(select number from ids where org = ${org} and adopted = 0 and number >= ${range.first}
      and number <= ${range.last} order by number desc limit 1)`;
    const next = sql<number>`coalesce(${highest}, ${range.first - 1}) + 1`;
    const taken = await this.#db
      .insertInto("ids")
      .columns(["org", "number", "subject"])
      // A number beyond the range is not written: the next one that is asked for would find it.
      .expression(sql`select ${org}, free.number, ${subject} from (select ${next} as number) as free
        where free.number <= ${range.last}`)
      .onConflict((oc) => oc.columns(["org", "number"]).doNothing())
      .returning("number")
      .executeTakeFirst();
    if (taken) return Number(taken.number);
    return this.#takeIdPast(org, range, subject, next);
  }

  /** Takes a number that came from elsewhere, for ever; says whether it was free, which it is if it never was anybody's. */
  async adoptId(org: string, number: number, subject: string): Promise<boolean> {
    const result = await this.#db
      .insertInto("ids")
      .values({ org, number, subject, adopted: 1 })
      .onConflict((oc) => oc.columns(["org", "number"]).doNothing())
      .executeTakeFirst();
    return result.numInsertedOrUpdatedRows === 1n;
  }

  /** Gives no number up to this one any more: somebody may have had them all. */
  async raise(org: string, number: number): Promise<void> {
    await this.#db
      .insertInto("ids")
      .values({ org, number, subject: "restore" })
      .onConflict((oc) => oc.columns(["org", "number"]).doUpdateSet({ adopted: 0 }))
      .execute();
  }

  /** Takes a POSIX name for ever; says whether it was free, which it is if it never was anybody's. */
  async takeName(org: string, name: Name, subject: string): Promise<boolean> {
    return (await takeName(this.#db, { org, name, subject })).numAffectedRows === 1n;
  }

  /** The subject who has or had a POSIX name. */
  async nameHolder(org: string, name: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom("names")
      .select("subject")
      .where("org", "=", org)
      .where("name", "=", name)
      .executeTakeFirst();
    return row?.subject;
  }

  /** The subject who has or had a number. */
  async numberHolder(org: string, number: number): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom("ids")
      .select("subject")
      .where("org", "=", org)
      .where("number", "=", number)
      .executeTakeFirst();
    return row?.subject;
  }

  // The counter stands before numbers that came from elsewhere. They are walked in the engine, and once: what is taken
  // behind them moves the counter there.
  async #takeIdPast(
    org: string,
    { last }: IdRange,
    subject: string,
    next: RawBuilder<number>,
  ): Promise<number | undefined> {
    const found = await sql<{ free: number }>`select ids.number + 1 as free from ids
      where ids.org = ${org} and ids.number >= ${next} and ids.number < ${last} and not exists
        (select 1 from ids as above where above.org = ids.org and above.number = ids.number + 1)
      order by ids.number limit 1`.execute(this.#db);
    const free = found.rows[0]?.free;
    if (free === undefined) return undefined;
    await this.#db
      .insertInto("ids")
      .values({ org, number: Number(free), subject })
      .execute();
    return Number(free);
  }

  #all(org: string) {
    return this.#db.selectFrom("users").where("users.org", "=", org);
  }
}

/** What one statement binds at most: well below every engine's limit. */
export function* slices<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let i = 0; i < all.length; i += 500) yield all.slice(i, i + 500);
}

function fromRow(row: Selectable<Schema["users"]>): User {
  return {
    id: row.id,
    org: row.org,
    origin: row.origin,
    userName: row.user_name,
    externalId: row.external_id ?? undefined,
    active: row.active === 1,
    fullName: row.full_name,
    attributes: JSON.parse(row.attributes) as Record<string, unknown>,
    name: row.name as Name,
    uid: Number(row.uid) as Uid,
    gid: row.gid === null ? undefined : (Number(row.gid) as Gid),
    home: row.home ?? undefined,
    shell: row.shell ?? undefined,
    createdAt: Number(row.created_at),
    modifiedAt: Number(row.modified_at),
  };
}

function toRow(user: User): Selectable<Schema["users"]> {
  const { id, org, uid, createdAt } = user;
  return { id, org, uid, created_at: createdAt, ...changeable(user) };
}

/** What may change of a user. */
function changeable(user: User) {
  return {
    origin: user.origin,
    user_name: user.userName,
    user_name_folded: fold(user.userName),
    external_id: user.externalId ?? null,
    active: user.active ? 1 : 0,
    full_name: user.fullName,
    attributes: JSON.stringify(user.attributes),
    name: user.name,
    gid: user.gid ?? null,
    home: user.home ?? null,
    shell: user.shell ?? null,
    modified_at: user.modifiedAt,
  };
}

/** Users, and the ids and names that were ever given to anybody. */

import type { Kysely, Selectable } from "kysely";
import type { Uid } from "../../identity/id.ts";
import type { Name } from "../../identity/name.ts";
import { fold } from "./fold.ts";
import type { Schema } from "./schema.ts";

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
  readonly createdAt: number;
  readonly modifiedAt: number;
}

/** Which users: by a unique attribute, or all. Names compare folded, externalId exactly (RFC 7643, section 3.1). */
export interface UserQuery {
  readonly userName?: string;
  readonly externalId?: string;
  readonly id?: string;
}

/** A page by place: `offset` rows skipped, `limit` at most. */
export interface Page {
  readonly offset: number;
  readonly limit: number;
}

export class Users {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async get(org: string, id: string): Promise<User | undefined> {
    const row = await this.#all(org, { id }).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  async byUserName(org: string, userName: string): Promise<User | undefined> {
    const row = await this.#all(org, { userName }).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  async byName(org: string, name: string): Promise<User | undefined> {
    const row = await this.#all(org, {}).where("name", "=", name).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  async list(org: string, query: UserQuery, { offset, limit }: Page): Promise<{ total: number; users: User[] }> {
    const counted = await this.#all(org, query)
      .select((eb) => eb.fn.countAll<number>().as("total"))
      .executeTakeFirstOrThrow();
    const rows = await this.#all(org, query)
      .selectAll()
      .orderBy("user_name_folded")
      .limit(limit)
      .offset(offset)
      .execute();
    return { total: Number(counted.total), users: rows.map(fromRow) };
  }

  async put(user: User): Promise<void> {
    const row = toRow(user);
    await this.#db
      .insertInto("users")
      .values(row)
      .onConflict((oc) => oc.column("id").doUpdateSet(row))
      .execute();
  }

  /** Removes a user with its memberships and keys; its id and name stay taken. */
  async remove(id: string): Promise<void> {
    await this.#db.deleteFrom("memberships").where("user_id", "=", id).execute();
    await this.#db.deleteFrom("ssh_keys").where("user_id", "=", id).execute();
    await this.#db.deleteFrom("users").where("id", "=", id).execute();
  }

  /** The highest number of a range that was ever given out. */
  async highestId(org: string, range: { first: number; last: number }): Promise<number | undefined> {
    const row = await this.#db
      .selectFrom("ids")
      .select((eb) => eb.fn.max("number").as("highest"))
      .where("org", "=", org)
      .where("number", ">=", range.first)
      .where("number", "<=", range.last)
      .executeTakeFirst();
    return row?.highest === null || row?.highest === undefined ? undefined : Number(row.highest);
  }

  async takeId(org: string, number: number, subject: string): Promise<void> {
    await this.#db.insertInto("ids").values({ org, number, subject }).execute();
  }

  /** Whether a POSIX name is, or ever was, somebody's. */
  async isNameTaken(org: string, name: Name): Promise<boolean> {
    const row = await this.#db
      .selectFrom("names")
      .select("name")
      .where("org", "=", org)
      .where("name", "=", name)
      .executeTakeFirst();
    return row !== undefined;
  }

  async takeName(org: string, name: Name, subject: string): Promise<void> {
    await this.#db.insertInto("names").values({ org, name, subject }).execute();
  }

  #all(org: string, { userName, externalId, id }: UserQuery) {
    let query = this.#db.selectFrom("users").where("org", "=", org);
    if (userName !== undefined) query = query.where("user_name_folded", "=", fold(userName));
    if (externalId !== undefined) query = query.where("external_id", "=", externalId);
    if (id !== undefined) query = query.where("id", "=", id);
    return query;
  }
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
    createdAt: Number(row.created_at),
    modifiedAt: Number(row.modified_at),
  };
}

function toRow(user: User): Selectable<Schema["users"]> {
  return {
    id: user.id,
    org: user.org,
    origin: user.origin,
    user_name: user.userName,
    user_name_folded: fold(user.userName),
    external_id: user.externalId ?? null,
    active: user.active ? 1 : 0,
    full_name: user.fullName,
    attributes: JSON.stringify(user.attributes),
    name: user.name,
    uid: user.uid,
    created_at: user.createdAt,
    modified_at: user.modifiedAt,
  };
}

/** Groups of the directory and who is in them. A membership is a row: one more member never reads the others. */

import type { Kysely, Selectable } from "kysely";
import type { Gid } from "../../identity/id.ts";
import type { Name } from "../../identity/name.ts";
import { fold } from "./fold.ts";
import type { Schema } from "./schema.ts";
import type { Page } from "./users.ts";

export interface Group {
  readonly id: string;
  readonly org: string;
  readonly origin: string;
  readonly displayName: string;
  readonly externalId: string | undefined;
  readonly name: Name;
  readonly gid: Gid;
  readonly createdAt: number;
  readonly modifiedAt: number;
}

/** A member as a group's reader sees them. */
export interface GroupMember {
  readonly id: string;
  readonly userName: string;
}

export interface GroupQuery {
  readonly displayName?: string;
  readonly externalId?: string;
  readonly id?: string;
  /** Only groups that this user is in. */
  readonly member?: string;
}

export class Groups {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async get(org: string, id: string): Promise<Group | undefined> {
    const row = await this.#all(org, { id }).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  async byDisplayName(org: string, displayName: string): Promise<Group | undefined> {
    const row = await this.#all(org, { displayName }).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  async list(org: string, query: GroupQuery, { offset, limit }: Page): Promise<{ total: number; groups: Group[] }> {
    const counted = await this.#all(org, query)
      .select((eb) => eb.fn.countAll<number>().as("total"))
      .executeTakeFirstOrThrow();
    const rows = await this.#all(org, query)
      .selectAll()
      .orderBy("display_name_folded")
      .limit(limit)
      .offset(offset)
      .execute();
    return { total: Number(counted.total), groups: rows.map(fromRow) };
  }

  async put(group: Group): Promise<void> {
    const row = toRow(group);
    await this.#db
      .insertInto("groups")
      .values(row)
      .onConflict((oc) => oc.column("id").doUpdateSet(row))
      .execute();
  }

  async remove(id: string): Promise<void> {
    await this.#db.deleteFrom("memberships").where("group_id", "=", id).execute();
    await this.#db.deleteFrom("groups").where("id", "=", id).execute();
  }

  async members(id: string): Promise<GroupMember[]> {
    return this.#db
      .selectFrom("memberships")
      .innerJoin("users", "users.id", "memberships.user_id")
      .select(["users.id as id", "users.user_name as userName"])
      .where("memberships.group_id", "=", id)
      .orderBy("users.user_name_folded")
      .execute();
  }

  /** Ids of a group's members. */
  async memberIds(id: string): Promise<string[]> {
    const rows = await this.#db.selectFrom("memberships").select("user_id").where("group_id", "=", id).execute();
    return rows.map(({ user_id }) => user_id);
  }

  /** Groups that a user is in, by display name. */
  async of(userId: string): Promise<Group[]> {
    const rows = await this.#db
      .selectFrom("memberships")
      .innerJoin("groups", "groups.id", "memberships.group_id")
      .selectAll("groups")
      .where("memberships.user_id", "=", userId)
      .orderBy("groups.display_name_folded")
      .execute();
    return rows.map(fromRow);
  }

  /** Adds a member; says whether it was new. */
  async addMember(groupId: string, userId: string): Promise<boolean> {
    const result = await this.#db
      .insertInto("memberships")
      .values({ group_id: groupId, user_id: userId })
      .onConflict((oc) => oc.columns(["group_id", "user_id"]).doNothing())
      .executeTakeFirst();
    return result.numInsertedOrUpdatedRows === 1n;
  }

  /** Removes a member; says whether it was there. */
  async removeMember(groupId: string, userId: string): Promise<boolean> {
    const result = await this.#db
      .deleteFrom("memberships")
      .where("group_id", "=", groupId)
      .where("user_id", "=", userId)
      .executeTakeFirst();
    return result.numDeletedRows === 1n;
  }

  #all(org: string, { displayName, externalId, id, member }: GroupQuery) {
    let query = this.#db.selectFrom("groups").where("org", "=", org);
    if (displayName !== undefined) query = query.where("display_name_folded", "=", fold(displayName));
    if (externalId !== undefined) query = query.where("external_id", "=", externalId);
    if (id !== undefined) query = query.where("id", "=", id);
    if (member !== undefined) {
      query = query.where("id", "in", (eb) =>
        eb.selectFrom("memberships").select("group_id").where("user_id", "=", member),
      );
    }
    return query;
  }
}

function fromRow(row: Selectable<Schema["groups"]>): Group {
  return {
    id: row.id,
    org: row.org,
    origin: row.origin,
    displayName: row.display_name,
    externalId: row.external_id ?? undefined,
    name: row.name as Name,
    gid: Number(row.gid) as Gid,
    createdAt: Number(row.created_at),
    modifiedAt: Number(row.modified_at),
  };
}

function toRow(group: Group): Selectable<Schema["groups"]> {
  return {
    id: group.id,
    org: group.org,
    origin: group.origin,
    display_name: group.displayName,
    display_name_folded: fold(group.displayName),
    external_id: group.externalId ?? null,
    name: group.name,
    gid: group.gid,
    created_at: group.createdAt,
    modified_at: group.modifiedAt,
  };
}

/** Groups of the directory and who is in them. A membership is a row: one more member never reads the others. */

import { type Kysely, type Selectable, sql } from "kysely";
import { fold } from "../../identity/fold.ts";
import type { Gid } from "../../identity/id.ts";
import type { Name } from "../../identity/name.ts";
import { compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import { groupCondition, groupOrder, type Search } from "./search.ts";
import { type Page, slices } from "./users.ts";

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

/** A member as a group's reader sees it: a user by userName, or a group by displayName. */
export interface GroupMember {
  readonly id: string;
  readonly type: "user" | "group";
  readonly display: string;
}

/** A group that a user is in, by itself or through a group in it. */
export interface Membership {
  readonly group: Group;
  readonly type: "direct" | "indirect";
}

const membershipsOf = compiled((db, { some }: { some: readonly string[] }) =>
  db.selectFrom("memberships").selectAll().where("user_id", "in", some),
);

const nestingsOf = compiled((db, { some }: { some: readonly string[] }) =>
  db.selectFrom("nestings").selectAll().where("member_id", "in", some),
);

const byIds = compiled((db, { some }: { some: readonly string[] }) =>
  db.selectFrom("groups").selectAll().where("id", "in", some),
);

export class Groups {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async get(org: string, id: string): Promise<Group | undefined> {
    const row = await this.#all(org).where("id", "=", id).selectAll().executeTakeFirst();
    return row && fromRow(row);
  }

  async byDisplayName(org: string, displayName: string): Promise<Group | undefined> {
    const row = await this.#all(org)
      .where("display_name_folded", "=", fold(displayName))
      .selectAll()
      .executeTakeFirst();
    return row && fromRow(row);
  }

  /** Those of some groups that exist, by id. */
  async many(org: string, ids: readonly string[]): Promise<Map<string, Group>> {
    const found = new Map<string, Group>();
    for (const some of slices(ids)) {
      const rows = await this.#all(org).where("id", "in", some).selectAll().execute();
      for (const row of rows) found.set(row.id, fromRow(row));
    }
    return found;
  }

  /** Groups, those that one origin made if it is given, by displayName or as the search says. */
  async list(
    org: string,
    origin: string | undefined,
    { where, order }: Search,
    { offset, limit }: Page,
  ): Promise<{ total: number; groups: Group[] }> {
    const all = this.#all(org)
      .$if(origin !== undefined, (query) => query.where("origin", "=", origin ?? ""))
      .$if(where.kind !== "all", (query) => query.where(groupCondition(where)));
    const counted = await all.select((eb) => eb.fn.countAll<number>().as("total")).executeTakeFirstOrThrow();
    if (limit === 0) return { total: Number(counted.total), groups: [] };
    const direction = order?.descending ? "desc" : "asc";
    const rows = await all
      .$if(order !== undefined, (query) =>
        order
          ? query.orderBy(sql`${groupOrder(order)} is null`, direction).orderBy(groupOrder(order), direction)
          : query,
      )
      .selectAll("groups")
      .orderBy("display_name_folded")
      .limit(limit)
      .offset(offset)
      .execute();
    return { total: Number(counted.total), groups: rows.map(fromRow) };
  }

  async put(group: Group): Promise<void> {
    const row = toRow(group);
    // The id is left out of the update, though it is the same: setting it makes SQLite look at every row that refers to it.
    const { id: _, ...rest } = row;
    await this.#db
      .insertInto("groups")
      .values(row)
      .onConflict((oc) => oc.column("id").doUpdateSet(rest))
      .execute();
  }

  async remove(id: string): Promise<void> {
    await this.#db.deleteFrom("memberships").where("group_id", "=", id).execute();
    await this.#db.deleteFrom("nestings").where("group_id", "=", id).execute();
    await this.#db.deleteFrom("nestings").where("member_id", "=", id).execute();
    await this.#db.deleteFrom("groups").where("id", "=", id).execute();
  }

  /** Members of a group itself: users by userName, then groups by displayName. */
  async members(id: string): Promise<GroupMember[]> {
    const users = await this.#db
      .selectFrom("memberships")
      .innerJoin("users", "users.id", "memberships.user_id")
      .select(["users.id as id", "users.user_name as display"])
      .where("memberships.group_id", "=", id)
      .orderBy("users.user_name_folded")
      .execute();
    const groups = await this.#db
      .selectFrom("nestings")
      .innerJoin("groups", "groups.id", "nestings.member_id")
      .select(["groups.id as id", "groups.display_name as display"])
      .where("nestings.group_id", "=", id)
      .orderBy("groups.display_name_folded")
      .execute();
    return [
      ...users.map((user) => ({ ...user, type: "user" as const })),
      ...groups.map((group) => ({ ...group, type: "group" as const })),
    ];
  }

  /** Ids of a group's own members, users and groups. */
  async memberIds(id: string): Promise<string[]> {
    const users = await this.#db.selectFrom("memberships").select("user_id").where("group_id", "=", id).execute();
    const groups = await this.#db.selectFrom("nestings").select("member_id").where("group_id", "=", id).execute();
    return [...users.map(({ user_id }) => user_id), ...groups.map(({ member_id }) => member_id)];
  }

  /** Groups that some users are in, by displayName: first the ones that name them, then those around. */
  async of(userIds: readonly string[]): Promise<Map<string, Membership[]>> {
    const direct = new Map<string, Set<string>>(userIds.map((id) => [id, new Set()]));
    for (const some of slices(userIds)) {
      const { rows } = await membershipsOf(this.#db, { some });
      for (const { user_id, group_id } of rows) direct.get(user_id)?.add(group_id);
    }
    const inner = [...new Set([...direct.values()].flatMap((ids) => [...ids]))];
    const above = await this.#parents(inner);
    const groups = await this.#byIds([...new Set([...inner, ...[...above.values()].flat()])]);
    const found = new Map<string, Membership[]>();
    for (const [user, ids] of direct) {
      const around = [...closure([...ids], above)].filter((id) => !ids.has(id));
      const memberships = [
        ...[...ids].map((id) => ({ group: groups.get(id), type: "direct" as const })),
        ...around.map((id) => ({ group: groups.get(id), type: "indirect" as const })),
      ];
      found.set(
        user,
        memberships
          .flatMap(({ group, type }) => (group ? [{ group, type }] : []))
          .sort((a, b) => (a.group.displayName < b.group.displayName ? -1 : 1)),
      );
    }
    return found;
  }

  /** Groups with all that they are in, directly or not, themselves included. */
  async around(ids: readonly string[]): Promise<Group[]> {
    const all = closure(ids, await this.#parents(ids));
    return [...(await this.#byIds([...all])).values()];
  }

  /** Ids of the users of some groups and of every group in them. */
  async usersWithin(ids: readonly string[]): Promise<string[]> {
    const groups = await this.within(ids);
    const users = new Set<string>();
    for (const some of slices([...groups])) {
      const rows = await this.#db
        .selectFrom("memberships")
        .select("user_id")
        .distinct()
        .where("group_id", "in", some)
        .execute();
      for (const { user_id } of rows) users.add(user_id);
    }
    return [...users];
  }

  /** Ids of some groups and of every group in them. */
  async within(ids: readonly string[]): Promise<Set<string>> {
    const all = new Set(ids);
    let next: readonly string[] = [...ids];
    while (next.length > 0) {
      const rows: { member_id: string }[] = [];
      for (const some of slices(next)) {
        rows.push(
          ...(await this.#db.selectFrom("nestings").select("member_id").where("group_id", "in", some).execute()),
        );
      }
      next = [...new Set(rows.map(({ member_id }) => member_id))].filter((id) => !all.has(id));
      for (const id of next) all.add(id);
    }
    return all;
  }

  /** Adds users; gives back those that were new. */
  async addUsers(groupId: string, userIds: readonly string[]): Promise<string[]> {
    const added: string[] = [];
    for (const some of slices(userIds)) {
      const rows = await this.#db
        .insertInto("memberships")
        .values(some.map((user_id) => ({ group_id: groupId, user_id })))
        .onConflict((oc) => oc.columns(["group_id", "user_id"]).doNothing())
        .returning("user_id")
        .execute();
      added.push(...rows.map(({ user_id }) => user_id));
    }
    return added;
  }

  /** Adds groups; gives back those that were new. */
  async addGroups(groupId: string, memberIds: readonly string[]): Promise<string[]> {
    const added: string[] = [];
    for (const some of slices(memberIds)) {
      const rows = await this.#db
        .insertInto("nestings")
        .values(some.map((member_id) => ({ group_id: groupId, member_id })))
        .onConflict((oc) => oc.columns(["group_id", "member_id"]).doNothing())
        .returning("member_id")
        .execute();
      added.push(...rows.map(({ member_id }) => member_id));
    }
    return added;
  }

  /** Removes users from a group; gives back those that were there. */
  async removeUsers(groupId: string, userIds: readonly string[]): Promise<string[]> {
    const gone: string[] = [];
    for (const some of slices(userIds)) {
      const rows = await this.#db
        .deleteFrom("memberships")
        .where("group_id", "=", groupId)
        .where("user_id", "in", some)
        .returning("user_id")
        .execute();
      gone.push(...rows.map(({ user_id }) => user_id));
    }
    return gone;
  }

  /** Removes groups from a group; gives back those that were there. */
  async removeGroups(groupId: string, memberIds: readonly string[]): Promise<string[]> {
    const gone: string[] = [];
    for (const some of slices(memberIds)) {
      const rows = await this.#db
        .deleteFrom("nestings")
        .where("group_id", "=", groupId)
        .where("member_id", "in", some)
        .returning("member_id")
        .execute();
      gone.push(...rows.map(({ member_id }) => member_id));
    }
    return gone;
  }

  /** The parents of some groups, of those parents, and so on. */
  async #parents(ids: readonly string[]): Promise<Map<string, string[]>> {
    const parents = new Map<string, string[]>();
    const seen = new Set(ids);
    let next: readonly string[] = [...seen];
    while (next.length > 0) {
      const rows: { group_id: string; member_id: string }[] = [];
      for (const some of slices(next)) {
        rows.push(...(await nestingsOf(this.#db, { some })).rows);
      }
      for (const { group_id, member_id } of rows) parents.set(member_id, [...(parents.get(member_id) ?? []), group_id]);
      next = [...new Set(rows.map(({ group_id }) => group_id))].filter((id) => !seen.has(id));
      for (const id of next) seen.add(id);
    }
    return parents;
  }

  async #byIds(ids: readonly string[]): Promise<Map<string, Group>> {
    const found = new Map<string, Group>();
    for (const some of slices(ids)) {
      const { rows } = await byIds(this.#db, { some });
      for (const row of rows) found.set(row.id, fromRow(row));
    }
    return found;
  }

  #all(org: string) {
    return this.#db.selectFrom("groups").where("groups.org", "=", org);
  }
}

function closure(ids: readonly string[], above: ReadonlyMap<string, readonly string[]>): Set<string> {
  const all = new Set(ids);
  // A set hands out what is added while it is walked.
  for (const id of all) for (const parent of above.get(id) ?? []) all.add(parent);
  return all;
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

/** What adopting an estate reads and writes: the whole of an org at once, and numbers and names from outside. */

import type { Kysely } from "kysely";
import type { Gid, Uid } from "../../identity/id.ts";
import type { Name } from "../../identity/name.ts";
import type { Schema } from "./schema.ts";
import { slices } from "./users.ts";

/** Whose a name and numbers become: an id of the directory, or `estate:` and the name of an account. */
export interface Claim {
  readonly subject: string;
  readonly name: string;
  readonly numbers: readonly number[];
}

export class Estate {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  /** Everybody of an org, with their primary e-mail address. */
  async people(org: string) {
    const rows = await this.#db
      .selectFrom("users")
      .leftJoin("user_values as v", (join) =>
        join.onRef("v.user_id", "=", "users.id").on("v.attribute", "=", "emails").on("v.place", "=", 0),
      )
      .select(["users.id", "user_name", "name", "uid", "gid", "home", "shell", "v.value as mail"])
      .where("org", "=", org)
      .execute();
    return rows.map(({ user_name, uid, gid, home, shell, mail, ...row }) => ({
      ...row,
      userName: user_name,
      uid: Number(uid),
      gid: gid === null ? undefined : Number(gid),
      home: home ?? undefined,
      shell: shell ?? undefined,
      mail: mail ?? undefined,
    }));
  }

  async groups(org: string) {
    const rows = await this.#db
      .selectFrom("groups")
      .select(["id", "display_name", "name", "gid"])
      .where("org", "=", org)
      .execute();
    return rows.map(({ id, display_name, name, gid }) => ({ id, displayName: display_name, name, gid: Number(gid) }));
  }

  /** Whose each number is or was. */
  async numbers(org: string): Promise<Map<number, string>> {
    const rows = await this.#db.selectFrom("ids").select(["number", "subject"]).where("org", "=", org).execute();
    return new Map(rows.map(({ number, subject }) => [Number(number), subject]));
  }

  /** Whose each POSIX name is or was. */
  async names(org: string): Promise<Map<string, string>> {
    const rows = await this.#db.selectFrom("names").select(["name", "subject"]).where("org", "=", org).execute();
    return new Map(rows.map(({ name, subject }) => [name, subject]));
  }

  /** Those of some resources that a cluster of the org ever told its nodes of. */
  async everTold(org: string, keys: readonly string[]): Promise<Set<string>> {
    const found = new Set<string>();
    const clusters = await this.#db.selectFrom("clusters").select("id").where("org", "=", org).execute();
    for (const { id } of clusters) {
      for (const some of slices(keys)) {
        const rows = await this.#db
          .selectFrom("log")
          .select("key")
          .distinct()
          .where("cluster", "=", id)
          .where("key", "in", some)
          .execute();
        for (const { key } of rows) found.add(key);
      }
    }
    return found;
  }

  /** Hashes of every key that somebody of an org has. */
  async keys(org: string): Promise<Set<string>> {
    const rows = await this.#db.selectFrom("ssh_keys").select("sha256").where("org", "=", org).execute();
    return new Set(rows.map(({ sha256 }) => sha256));
  }

  /** Ids of those who have some POSIX names now; who is not there is left out. */
  async idsOf(org: string, names: readonly string[]): Promise<string[]> {
    const ids: string[] = [];
    for (const some of slices(names)) {
      const rows = await this.#db
        .selectFrom("users")
        .select("id")
        .where("org", "=", org)
        .where("name", "in", some)
        .execute();
      for (const { id } of rows) ids.push(id);
    }
    return ids;
  }

  /** Makes numbers and names their subjects', for ever; they must be free, the subject's, or closed for this name. */
  async claim(org: string, claims: readonly Claim[]): Promise<void> {
    for (const some of slices(
      claims.flatMap(({ subject, numbers }) => numbers.map((number) => ({ number, subject }))),
    )) {
      await this.#db
        .insertInto("ids")
        .values(some.map(({ number, subject }) => ({ org, number, subject, adopted: 1 })))
        .onConflict((oc) =>
          oc.columns(["org", "number"]).doUpdateSet((eb) => ({ subject: eb.ref("excluded.subject") })),
        )
        .execute();
    }
    for (const some of slices(claims)) {
      await this.#db
        .insertInto("names")
        .values(some.map(({ name, subject }) => ({ org, name, subject })))
        .onConflict((oc) => oc.columns(["org", "name"]).doUpdateSet((eb) => ({ subject: eb.ref("excluded.subject") })))
        .execute();
    }
  }

  async setPerson(
    id: string,
    account: { name: Name; uid: Uid; gid: Gid | undefined; home: string; shell: string },
    now: number,
  ): Promise<void> {
    const { name, uid, gid, home, shell } = account;
    await this.#db
      .updateTable("users")
      .set({ name, uid, gid: gid ?? null, home, shell, modified_at: now })
      .where("id", "=", id)
      .execute();
  }

  async setGroup(id: string, { name, gid }: { name: Name; gid: Gid }, now: number): Promise<void> {
    await this.#db.updateTable("groups").set({ name, gid, modified_at: now }).where("id", "=", id).execute();
  }
}

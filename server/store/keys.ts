/** Public SSH keys. A key signs in one person of an org. */

import type { Kysely } from "kysely";
import type { SshKey } from "../../identity/ssh-key.ts";
import { compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import { slices } from "./users.ts";

/** A key, when it was added, and when it is removed by itself; undefined: never. */
export interface StoredKey extends SshKey {
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
}

/** A key whose time has come. */
export interface ExpiredKey {
  readonly org: string;
  readonly userId: string;
  readonly sha256: string;
}

const ofUsers = compiled((db, { some }: { some: readonly string[] }) =>
  db.selectFrom("ssh_keys").selectAll().where("user_id", "in", some).orderBy("sha256"),
);

export class Keys {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async of(userId: string): Promise<StoredKey[]> {
    return (await this.ofMany([userId])).get(userId) ?? [];
  }

  /** Keys of some users, in the order of their hashes; nothing for who has none. */
  async ofMany(userIds: readonly string[]): Promise<Map<string, StoredKey[]>> {
    const found = new Map<string, StoredKey[]>();
    for (const some of slices(userIds)) {
      const { rows } = await ofUsers(this.#db, { some });
      for (const { user_id, type, base64, comment, sha256, created_at, expires_at } of rows) {
        const expiresAt = expires_at === null ? undefined : Number(expires_at);
        const key = { type, base64, comment, sha256, createdAt: Number(created_at), expiresAt };
        found.set(user_id, [...(found.get(user_id) ?? []), key]);
      }
    }
    return found;
  }

  /** The id of the user who has a key. */
  async holder(org: string, sha256: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom("ssh_keys")
      .select("user_id")
      .where("org", "=", org)
      .where("sha256", "=", sha256)
      .executeTakeFirst();
    return row?.user_id;
  }

  async add(org: string, userId: string, key: StoredKey): Promise<void> {
    const { type, base64, comment, sha256, createdAt, expiresAt } = key;
    const times = { created_at: createdAt, expires_at: expiresAt ?? null };
    await this.#db
      .insertInto("ssh_keys")
      .values({ org, user_id: userId, type, base64, comment, sha256, ...times })
      .execute();
  }

  /** Keys whose time has come, of all orgs, some of them. */
  async expired(now: number, limit: number): Promise<ExpiredKey[]> {
    const rows = await this.#db
      .selectFrom("ssh_keys")
      .select(["org", "user_id", "sha256"])
      .where("expires_at", "<=", now)
      .orderBy("expires_at")
      .limit(limit)
      .execute();
    return rows.map(({ org, user_id, sha256 }) => ({ org, userId: user_id, sha256 }));
  }

  async remove(org: string, sha256: string): Promise<void> {
    await this.#db.deleteFrom("ssh_keys").where("org", "=", org).where("sha256", "=", sha256).execute();
  }
}

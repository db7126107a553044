/** Public SSH keys. A key signs in one person of an org. */

import type { Kysely } from "kysely";
import type { SshKey } from "../../identity/ssh-key.ts";
import type { Schema } from "./schema.ts";
import { slices } from "./users.ts";

/** A key and when it was added. */
export interface StoredKey extends SshKey {
  readonly createdAt: number;
}

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
      const rows = await this.#db
        .selectFrom("ssh_keys")
        .selectAll()
        .where("user_id", "in", some)
        .orderBy("sha256")
        .execute();
      for (const { user_id, type, base64, comment, sha256, created_at } of rows) {
        const key = { type, base64, comment, sha256, createdAt: Number(created_at) };
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

  async add(org: string, userId: string, key: SshKey, now: number): Promise<void> {
    const { type, base64, comment, sha256 } = key;
    await this.#db
      .insertInto("ssh_keys")
      .values({ org, user_id: userId, type, base64, comment, sha256, created_at: now })
      .execute();
  }

  async remove(org: string, sha256: string): Promise<void> {
    await this.#db.deleteFrom("ssh_keys").where("org", "=", org).where("sha256", "=", sha256).execute();
  }
}

/** Public SSH keys. A key signs in one person of an org. */

import type { Kysely } from "kysely";
import type { SshKey } from "../../identity/ssh-key.ts";
import type { Schema } from "./schema.ts";

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
    const rows = await this.#db
      .selectFrom("ssh_keys")
      .selectAll()
      .where("user_id", "=", userId)
      .orderBy("sha256")
      .execute();
    return rows.map(({ type, base64, comment, sha256, created_at }) => ({
      type,
      base64,
      comment,
      sha256,
      createdAt: Number(created_at),
    }));
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

/** Tables as rows, whatever is in them: for copying a database whole. */

import { type Kysely, sql } from "kysely";
import type { Schema } from "./schema.ts";

export type Table = Exclude<keyof Schema, "migrations">;
export type Row = Readonly<Record<string, string | number | null>>;

/** Every table with the columns that tell its rows apart; what others refer to comes before them. */
export const tables: Readonly<Record<Table, readonly string[]>> = {
  orgs: ["id"],
  ids: ["org", "number"],
  names: ["org", "name"],
  users: ["id"],
  groups: ["id"],
  user_values: ["user_id", "attribute", "place"],
  memberships: ["group_id", "user_id"],
  nestings: ["group_id", "member_id"],
  locks: ["id"],
  ssh_keys: ["org", "sha256"],
  clusters: ["id"],
  access_rules: ["cluster", "group_folded", "kind", "target"],
  departures: ["cluster", "at", "owner"],
  holds: ["id"],
  held: ["cluster", "key"],
  passages: ["cluster", "key", "way"],
  audit: ["org", "seq"],
  resources: ["cluster", "key"],
  revisions: ["cluster", "revision"],
  log: ["cluster", "revision", "key"],
  nodes: ["id"],
  join_tokens: ["hash"],
  tokens: ["id"],
};

export class Tables {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  /** The next rows of a table after one of them, in the order of its key. */
  async after(table: Table, last: Row | undefined, limit: number): Promise<Row[]> {
    const key = sql.join(tables[table].map((column) => sql.ref(column)));
    const values = last && sql.join(tables[table].map((column) => sql`${last[column]}`));
    const from = values ? sql`where (${key}) > (${values})` : sql``;
    const { rows } = await sql<Row>`select * from ${sql.table(table)} ${from} order by ${key} limit ${limit}`.execute(
      this.#db,
    );
    return rows;
  }

  async add(table: Table, rows: readonly Row[]): Promise<void> {
    await this.#db
      .insertInto(table)
      .values(rows as never)
      .execute();
  }
}

/** Brings a database to this program's schema, in one transaction. */

import { type Kysely, sql, type Transaction } from "kysely";
import { migrations, type Schema } from "./schema.ts";

/** What an engine does its own way. */
export interface Dialect {
  /** Keeps a second program from doing the same meanwhile; until the transaction ends. */
  readonly lock?: (transaction: Transaction<Schema>) => Promise<void>;
  /** A statement as the engine wants it. */
  readonly adapt?: (statement: string) => string;
}

/** @throws Error if the database was written by a newer program. */
export async function migrate(db: Kysely<Schema>, now: () => number, { lock, adapt }: Dialect = {}): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await lock?.(tx);
    await sql`create table if not exists migrations (step integer primary key, applied_at bigint not null)`.execute(tx);
    const rows = await tx.selectFrom("migrations").select("step").execute();
    if (rows.length > migrations.length) {
      throw new Error(
        `the database is at schema ${rows.length}, this program knows ${migrations.length}: use a newer one`,
      );
    }
    for (const [index, statements] of migrations.entries()) {
      if (index < rows.length) continue;
      for (const statement of statements) await sql.raw(adapt ? adapt(statement) : statement).execute(tx);
      await tx
        .insertInto("migrations")
        .values({ step: index + 1, applied_at: now() })
        .execute();
    }
  });
}

/**
 * SQLite, embedded: WAL, `synchronous=FULL` (NORMAL lost every acknowledged commit at a power cut), one writer at a time
 * and a reader of its own, so that a look-up never waits for a commit.
 */

import SqliteDatabase from "better-sqlite3";
import { Kysely, SqliteDialect, sql } from "kysely";
import { migrations, type Schema } from "./schema.ts";
import { type Snapshot, type Store, Tx } from "./store.ts";

/**
 * Opens the database file, makes it if it is missing, and brings it to this program's schema.
 * @throws Error if the file was written by a newer program.
 */
export async function openSqlite(path: string, now: () => number): Promise<Store> {
  const writer = open(path);
  await migrate(writer, now);
  const reader = open(path, { readonly: true });
  const listeners = new Set<(cluster: string) => void>();
  return {
    read: (query) => reader.transaction().execute((db) => query(new Tx(db))),
    async write(command) {
      const { result, appended } = await writer.transaction().execute(async (db) => {
        const tx = new Tx(db);
        return { result: await command(tx), appended: tx.appended };
      });
      for (const cluster of appended) for (const listener of listeners) listener(cluster);
      return result;
    },
    snapshot: () => pin(path),
    onAppend(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
    async [Symbol.asyncDispose]() {
      await reader.destroy();
      await writer.destroy();
    },
  };
}

function open(path: string, options: { readonly?: boolean } = {}): Kysely<Schema> {
  const database = new SqliteDatabase(path, options);
  database.pragma("busy_timeout = 5000");
  if (!options.readonly) {
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
  }
  return new Kysely<Schema>({ dialect: new SqliteDialect({ database }) });
}

/** A connection of its own, in a read transaction that stays open. */
async function pin(path: string): Promise<Snapshot> {
  const db = open(path, { readonly: true });
  try {
    const state = await db.startTransaction().execute();
    // BEGIN alone pins nothing: the first read does.
    await sql`select 1 from migrations limit 1`.execute(state);
    return {
      read: (query) => query(new Tx(state)),
      async [Symbol.asyncDispose]() {
        await state.rollback().execute();
        await db.destroy();
      },
    };
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

async function migrate(db: Kysely<Schema>, now: () => number): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await sql`create table if not exists migrations (step integer primary key, applied_at bigint not null)`.execute(tx);
    const rows = await tx.selectFrom("migrations").select("step").execute();
    if (rows.length > migrations.length) {
      throw new Error(
        `the database is at schema ${rows.length}, this program knows ${migrations.length}: use a newer one`,
      );
    }
    for (const [index, statements] of migrations.entries()) {
      if (index < rows.length) continue;
      for (const statement of statements) await sql.raw(statement).execute(tx);
      await tx
        .insertInto("migrations")
        .values({ step: index + 1, applied_at: now() })
        .execute();
    }
  });
}

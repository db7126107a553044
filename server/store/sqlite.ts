/**
 * SQLite, embedded: WAL, `synchronous=FULL` (NORMAL lost every acknowledged commit at a power cut), one writer at a time
 * and a reader of its own, so that a look-up never waits for a commit.
 */

import SqliteDatabase from "better-sqlite3";
import { Kysely, SqliteDialect, sql } from "kysely";
import { groupCommits } from "./commits.ts";
import { Doorbells } from "./doorbells.ts";
import { migrate } from "./migrate.ts";
import type { Schema } from "./schema.ts";
import { type ReadStore, type Snapshot, type Store, Tx } from "./store.ts";

/**
 * Opens the database file, makes it if it is missing, and brings it to this program's schema.
 * @throws Error if the file was written by a newer program.
 */
export async function openSqlite(path: string, now: () => number): Promise<Store> {
  const writer = open(path);
  await migrate(writer, now);
  await protectAudit(writer);
  const reader = open(path, { readonly: true });
  const doorbells = new Doorbells();
  const write = groupCommits(writer, { now, ring: (news) => doorbells.ring(news) });
  return {
    read: groupReads(reader),
    write: (command) => write(command, "keep"),
    rehearse: (command) => write(command, "take back"),
    snapshot: () => openSnapshot(path),
    isShared: false,
    onAppend: (listener) => doorbells.onAppend(listener),
    onNodes: (listener) => doorbells.onNodes(listener),
    async [Symbol.asyncDispose]() {
      await reader.destroy();
      await writer.destroy();
    },
  };
}

/** Only reads a database that another thread or process has open: its own state, and never in a writer's way. */
export function openSqliteReader(path: string): ReadStore {
  const reader = open(path, { readonly: true });
  return {
    read: groupReads(reader),
    snapshot: () => openSnapshot(path),
    [Symbol.asyncDispose]: () => reader.destroy(),
  };
}

async function openSnapshot(path: string): Promise<Snapshot> {
  const db = open(path, { readonly: true });
  const transaction = await db.startTransaction().execute();
  // SQLite takes its snapshot at the first read, not at BEGIN.
  await transaction.selectFrom("migrations").select("step").limit(1).execute();
  return {
    read: (query) => query(new Tx(transaction)),
    async [Symbol.asyncDispose]() {
      await transaction.rollback().execute();
      await db.destroy();
    },
  };
}

/** Those that come in one turn of the event loop read one state: looking what has changed costs as much as a look-up. */
function groupReads(db: Kysely<Schema>): Store["read"] {
  let queue: { readonly run: (tx: Tx) => Promise<void>; readonly fail: (error: unknown) => void }[] = [];

  async function drain(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    const batch = queue;
    queue = [];
    try {
      await db.transaction().execute(async (transaction) => {
        const tx = new Tx(transaction);
        for (const { run, fail } of batch) await run(tx).catch(fail);
      });
    } catch (error) {
      for (const { fail } of batch) fail(error);
    }
  }

  return (query) =>
    new Promise((resolve, reject) => {
      queue.push({ run: async (tx) => resolve(await query(tx)), fail: reject });
      if (queue.length === 1) void drain();
    });
}

function open(path: string, options: { readonly?: boolean } = {}): Kysely<Schema> {
  const database = new SqliteDatabase(path, options);
  database.pragma("busy_timeout = 5000");
  // KiB. The default, 2 MiB, is less than the indexes of a few thousand users.
  database.pragma("cache_size = -65536");
  // LIKE is asked of folded text, and of text whose case matters.
  database.pragma("case_sensitive_like = ON");
  if (!options.readonly) {
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    // Pages: a log of 32 MiB is carried over at a time. Pages that many changes share, as indexes' are, go over once for all.
    database.pragma("wal_autocheckpoint = 8000");
    database.pragma("foreign_keys = ON");
  }
  return new Kysely<Schema>({ dialect: new SqliteDialect({ database: preparedOnce(database) }) });
}

/** Most statements, the same ones again and again, cost more to prepare than to run. */
function preparedOnce(database: SqliteDatabase.Database): SqliteDatabase.Database {
  const statements = new Map<string, SqliteDatabase.Statement>();
  const prepare = (text: string): SqliteDatabase.Statement => {
    const known = statements.get(text);
    if (known) return known;
    const made = database.prepare(text);
    // Filters are the clients' to shape: what is kept must not grow with them.
    if (statements.size < 500) statements.set(text, made);
    return made;
  };
  return new Proxy(database, {
    get: (target, name) => {
      if (name === "prepare") return prepare;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Entries are only ever added. Whoever takes this away can still change nothing unseen: the chain shows it. */
async function protectAudit(db: Kysely<Schema>): Promise<void> {
  for (const act of ["update", "delete"]) {
    const statement = `create trigger if not exists audit_no_${act} before ${act} on audit
      begin select raise(abort, 'the audit is append-only'); end`;
    await sql.raw(statement).execute(db);
  }
}

/**
 * SQLite, embedded: WAL, `synchronous=FULL` (NORMAL lost every acknowledged commit at a power cut), one writer at a time
 * and a reader of its own, so that a look-up never waits for a commit.
 *
 * Writers queue, and those that wait together commit together: one flush to the disk for all of them. Each runs behind a
 * savepoint, so that one that is refused takes nothing of its neighbours along; none is answered before the commit.
 */

import SqliteDatabase from "better-sqlite3";
import { CompiledQuery, Kysely, SqliteDialect, sql, type Transaction } from "kysely";
import type { Deed } from "../audit/chain.ts";
import { appendDeeds } from "./audit.ts";
import { migrations, type Schema } from "./schema.ts";
import { type Snapshot, type Store, Tx } from "./store.ts";

/** More commands than this never share a commit: the last one's answer waits for the first one's work. */
const mostTogether = 64;

/**
 * Opens the database file, makes it if it is missing, and brings it to this program's schema.
 * @throws Error if the file was written by a newer program.
 */
export async function openSqlite(path: string, now: () => number): Promise<Store> {
  const writer = open(path);
  await migrate(writer, now);
  await protectAudit(writer);
  const reader = open(path, { readonly: true });
  const listeners = new Set<(cluster: string) => void>();
  const write = groupCommits(writer, now, (clusters) => {
    for (const cluster of clusters) for (const listener of listeners) listener(cluster);
  });
  return {
    read: groupReads(reader),
    write: (command) => write(command, "keep"),
    rehearse: (command) => write(command, "take back"),
    snapshot: () => openSnapshot(path),
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

/** Only reads a database that another thread or process has open: its own state, and never in a writer's way. */
export function openReader(path: string): Pick<Store, "read" | "snapshot"> & AsyncDisposable {
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
  let queue: Waiting[] = [];

  async function drain(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    const batch = queue;
    queue = [];
    try {
      await db.transaction().execute(async (transaction) => {
        const tx = new Tx(transaction);
        for (const { run, fail } of batch) await run(tx).then((done) => done(), fail);
      });
    } catch (error) {
      for (const { fail } of batch) fail(error);
    }
  }

  return (query) =>
    new Promise((resolve, reject) => {
      queue.push(waiting(query, resolve, reject));
      if (queue.length === 1) void drain();
    });
}

interface Waiting {
  /** Runs the query or command; gives back what is to be done then: once it is durable, if it wrote. */
  readonly run: (tx: Tx) => Promise<() => void>;
  readonly fail: (error: unknown) => void;
  /** Of a command: what becomes of what it wrote. */
  readonly after: "keep" | "take back";
}

type Write = <T>(command: (tx: Tx) => Promise<T>, after: Waiting["after"]) => Promise<T>;

function waiting<T>(
  work: (tx: Tx) => Promise<T>,
  resolve: (result: T) => void,
  fail: (error: unknown) => void,
  after: Waiting["after"] = "keep",
): Waiting {
  return {
    async run(tx) {
      const result = await work(tx);
      return () => resolve(result);
    },
    fail,
    after,
  };
}

function groupCommits(db: Kysely<Schema>, now: () => number, ring: (clusters: Iterable<string>) => void): Write {
  let queue: Waiting[] = [];
  let draining = false;

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      // As long as each turn of the event loop brings one more: whoever is at the door comes along.
      for (let known = 0; known < queue.length && known < mostTogether; ) {
        known = queue.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
      const batch = queue.slice(0, mostTogether);
      queue = queue.slice(mostTogether);
      await commit(batch);
    }
    draining = false;
  }

  async function commit(batch: readonly Waiting[]): Promise<void> {
    const appended = new Set<string>();
    const deeds: Deed[] = [];
    let settle: (() => void)[];
    try {
      settle = await db.transaction().execute(async (transaction) => {
        const outcomes: (() => void)[] = [];
        for (const waiting of batch) outcomes.push(await runOne(transaction, waiting, appended, deeds));
        // Once for all of them: their entries cost one statement, and no neighbour's refusal can leave a gap.
        if (deeds.length > 0) await appendDeeds(transaction, deeds, now());
        return outcomes;
      });
    } catch (error) {
      for (const { fail } of batch) fail(error);
      return;
    }
    ring(appended);
    for (const done of settle) done();
  }

  return (command, after) =>
    new Promise((resolve, reject) => {
      queue.push(waiting(command, resolve, reject, after));
      if (draining) return;
      draining = true;
      void drain();
    });
}

const savepoint = {
  begin: CompiledQuery.raw("savepoint command"),
  release: CompiledQuery.raw("release command"),
  rollback: CompiledQuery.raw("rollback to command"),
};

async function runOne(
  transaction: Transaction<Schema>,
  { run, fail, after }: Waiting,
  appended: Set<string>,
  deeds: Deed[],
): Promise<() => void> {
  await transaction.executeQuery(savepoint.begin);
  const tx = new Tx(transaction);
  try {
    const done = await run(tx);
    if (after === "take back") await transaction.executeQuery(savepoint.rollback);
    await transaction.executeQuery(savepoint.release);
    if (after === "take back") return done;
    for (const cluster of tx.appended) appended.add(cluster);
    for (const deed of tx.audit.noted) deeds.push(deed);
    return done;
  } catch (error) {
    await transaction.executeQuery(savepoint.rollback);
    await transaction.executeQuery(savepoint.release);
    return () => fail(error);
  }
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

/**
 * PostgreSQL, shared by several servers. Writers take one lock of the database for each group of commands that commits
 * together, so that what one writer at a time may take for granted holds here too: numbers are given once, revisions are
 * contiguous and become visible in order, the audit's chain has one end. `synchronous_commit` is on whatever the database
 * says; a commit whose answer is lost with its connection is told as a failure, and may have happened.
 *
 * NOTIFY is the other servers' doorbell, which may be lost.
 */

import { randomUUID } from "node:crypto";
import { Kysely, PostgresDialect, sql, type Transaction } from "kysely";
import pg from "pg";
import { groupCommits, type News } from "./commits.ts";
import { Doorbells } from "./doorbells.ts";
import { migrate } from "./migrate.ts";
import type { Schema } from "./schema.ts";
import { type ReadStore, type Snapshot, type Store, Tx } from "./store.ts";

const channel = "rollcall";

/** The lock of whoever writes: "roll" and "call", as numbers. */
const writing = sql`select pg_advisory_xact_lock(1919905900, 1667329132)`;

/** How long to wait for a connection before a look-up or a command fails, in milliseconds. */
const connectWithin = 10_000;

/** How long to wait before listening again, in milliseconds: the hub's poll is the truth meanwhile. */
const listenAgainAfter = 1_000;

/** Connections of one reader, at most: they are opened when they are needed, and closed when nobody did for a while. */
const readers = 10;
const mostSnapshots = 24;

/**
 * Connects, and brings the database to this program's schema; of several that do so at once, one does.
 * @throws Error if it was written by a newer program, or cannot be reached.
 */
export async function openPostgres(url: string, now: () => number): Promise<Store> {
  await using open = new AsyncDisposableStack();
  const writer = open.adopt(connect(url, 1), (db) => db.destroy());
  await migrate(writer, now, { lock, adapt });
  await protectAudit(writer);
  const reader = open.use(openPostgresReader(url));
  const doorbells = new Doorbells();
  const ring = (news: News): void => doorbells.ring(news);
  const me = randomUUID();
  const listener = open.use(new Listener(url, me, ring));
  await listener.listening;
  const end = (transaction: Transaction<Schema>, news: News) => notify(transaction, me, news);
  const write = groupCommits(writer, { now, begin: lock, end, ring });
  const opened = open.move();
  return {
    read: (query) => reader.read(query),
    snapshot: () => reader.snapshot(),
    write: (command) => write(command, "keep"),
    rehearse: (command) => write(command, "take back"),
    isShared: true,
    onAppend: (each) => doorbells.onAppend(each),
    onNodes: (each) => doorbells.onNodes(each),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

/** Only reads: each question sees one state of the whole database. */
export function openPostgresReader(url: string): ReadStore {
  const db = connect(url, readers);
  // Apart from the look-ups, which must not wait until a snapshot is done with its connection.
  const states = connect(url, mostSnapshots);
  return {
    async read(query) {
      const state = db.transaction().setIsolationLevel("repeatable read").setAccessMode("read only");
      return state.execute((transaction) => query(new Tx(transaction)));
    },
    async snapshot(): Promise<Snapshot> {
      const state = states.startTransaction().setIsolationLevel("repeatable read").setAccessMode("read only");
      const transaction = await state.execute();
      // The state is taken at the first read, not at BEGIN.
      await transaction.selectFrom("migrations").select("step").limit(1).execute();
      return {
        read: (query) => query(new Tx(transaction)),
        [Symbol.asyncDispose]: async () => {
          await transaction.rollback().execute();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await db.destroy();
      await states.destroy();
    },
  };
}

function connect(url: string, max: number): Kysely<Schema> {
  const pool = new pg.Pool({ ...clientOptions(url), max });
  // A connection that dies while nobody uses it is replaced when somebody wants it.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => {
    // One that dies between two statements of a command fails the next of them; unheard, it would end the process.
    client.on("error", () => undefined);
    withoutNul(client);
  });
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
}

/** Text of this engine cannot hold U+0000: U+FFFD stands in its place, in what is stored and in what is looked for. */
function withoutNul(client: pg.PoolClient): void {
  const asked = client as { query: (text: string, values?: readonly unknown[], ...rest: unknown[]) => unknown };
  const query = asked.query.bind(client);
  const clean = (value: unknown): unknown => (typeof value === "string" ? value.replaceAll("\0", "\u{fffd}") : value);
  asked.query = (text, values, ...rest) => query(text, Array.isArray(values) ? values.map(clean) : values, ...rest);
}

function clientOptions(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: "rollcall-server",
    options: "-c synchronous_commit=on",
    connectionTimeoutMillis: connectWithin,
    keepAlive: true,
    types: {
      // Every bigint here is a count, a time, a revision or an id: far below what a number holds exactly.
      getTypeParser: ((oid: number, format: "text") =>
        oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  };
}

async function lock(transaction: Transaction<Schema>): Promise<void> {
  await writing.execute(transaction);
}

/** Each word of news goes with the name of who says it: whoever committed it has rung already. */
async function notify(transaction: Transaction<Schema>, me: string, news: News): Promise<void> {
  const words = [...news.appended, ...(news.nodes ? ["nodes"] : [])];
  if (words.length === 0) return;
  const each = sql.join(words.map((word) => sql`(${`${me} ${word}`})`));
  await sql`select pg_notify(${channel}, said.what) from (values ${each}) as said (what)`.execute(transaction);
}

/**
 * A statement as PostgreSQL wants it: text that compares by code point, as SQLite's does, whatever the database's own
 * collation; and no B-tree over values that may be longer than its third of a page.
 */
function adapt(statement: string): string {
  if (statement.startsWith("create index user_values_by_value")) {
    return "create index user_values_by_value on user_values using hash (value)";
  }
  return statement.replace(/\btext\b/g, 'text collate "C"');
}

/** Entries are only ever added. Whoever takes this away can still change nothing unseen: the chain shows it. */
async function protectAudit(db: Kysely<Schema>): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await lock(transaction);
    await sql`create or replace function audit_is_append_only() returns trigger language plpgsql as
      $$ begin raise exception 'the audit is append-only'; end $$`.execute(transaction);
    await sql`create or replace trigger audit_append_only before update or delete or truncate on audit
      execute function audit_is_append_only()`.execute(transaction);
  });
}

/** Hears what other servers committed. */
class Listener implements AsyncDisposable {
  readonly listening: Promise<void>;
  readonly #url: string;
  readonly #me: string;
  readonly #ring: (news: News) => void;
  #client: pg.Client | undefined;
  #again: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(url: string, me: string, ring: (news: News) => void) {
    this.#url = url;
    this.#me = me;
    this.#ring = ring;
    this.listening = this.#listen();
  }

  async #listen(): Promise<void> {
    const client = new pg.Client(clientOptions(this.#url));
    this.#client = client;
    client.on("error", () => undefined);
    client.on("end", () => this.#retry());
    client.on("notification", ({ payload = "" }) => {
      const [who, word = ""] = payload.split(" ");
      if (who === this.#me) return;
      const isNodes = word === "nodes";
      this.#ring({ appended: new Set(isNodes ? [] : [word]), nodes: isNodes });
    });
    await client.connect();
    await client.query(`listen ${channel}`);
  }

  #retry(): void {
    if (this.#ended || this.#again) return;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      this.#listen().catch(() => this.#retry());
    }, listenAgainAfter);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#again);
    await this.#client?.end();
  }
}

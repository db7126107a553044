/** The engine of a database, by how it is named: `postgres://...`, or the path of an SQLite file. */

import { orUnavailable } from "./away.ts";
import { openPostgres, openPostgresReader } from "./postgres.ts";
import { openSqlite, openSqliteReader } from "./sqlite.ts";
import type { ReadStore, Store } from "./store.ts";

export function isPostgres(database: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(database);
}

/**
 * Opens a database to read and write, and brings it to this program's schema. What it then cannot do because the database is away
 * or full is refused as `unavailable`. @throws Error.
 */
export async function openStore(database: string, now: () => number): Promise<Store> {
  const store = await (isPostgres(database) ? openPostgres(database, now) : openSqlite(database, now));
  return {
    ...store,
    read: (query) => orUnavailable(store.read(query)),
    write: (command) => orUnavailable(store.write(command)),
    rehearse: (command) => orUnavailable(store.rehearse(command)),
    snapshot: () => orUnavailable(store.snapshot()),
  };
}

/** Only reads a database that another thread has open: its own state, and never in a writer's way. */
export function openReader(database: string): ReadStore {
  return isPostgres(database) ? openPostgresReader(database) : openSqliteReader(database);
}

/** The engine of a database, by how it is named: `postgres://...`, or the path of an SQLite file. */

import { openPostgres, openPostgresReader } from "./postgres.ts";
import { openSqlite, openSqliteReader } from "./sqlite.ts";
import type { ReadStore, Store } from "./store.ts";

export function isPostgres(database: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(database);
}

/** Opens a database to read and write, and brings it to this program's schema. @throws Error. */
export async function openStore(database: string, now: () => number): Promise<Store> {
  return isPostgres(database) ? openPostgres(database, now) : openSqlite(database, now);
}

/** Only reads a database that another thread has open: its own state, and never in a writer's way. */
export function openReader(database: string): ReadStore {
  return isPostgres(database) ? openPostgresReader(database) : openSqliteReader(database);
}

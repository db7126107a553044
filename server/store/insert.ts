/**
 * Rows of the tables that every created user fills. Kysely's making of such a statement costs as much as running it, and
 * its text depends on nothing but the columns: it is made once, and given other rows.
 */

import type { CompiledQuery, Insertable, Kysely } from "kysely";
import type { Schema } from "./schema.ts";

/** Statements by what they depend on, for each engine. */
const made = new WeakMap<object, Map<string, CompiledQuery>>();

/** Inserts rows, of which any may lack what another has: it gets the column's default, null. */
export async function insertRows<Table extends keyof Schema>(
  db: Kysely<Schema>,
  table: Table,
  rows: readonly Insertable<Schema[Table]>[],
): Promise<void> {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const parameters = rows.flatMap((row) => {
    const values = row as Readonly<Record<string, unknown>>;
    return columns.map((column) => values[column] ?? null);
  });
  const statements = ofEngine(db);
  const key = `${table} ${rows.length} ${columns.join()}`;
  const known = statements.get(key) ?? compile(db, table, columns, rows.length);
  if (statements.size < 500) statements.set(key, known);
  await db.executeQuery({ ...known, parameters });
}

function ofEngine(db: Kysely<Schema>): Map<string, CompiledQuery> {
  const { adapter } = db.getExecutor();
  const statements = made.get(adapter) ?? new Map<string, CompiledQuery>();
  made.set(adapter, statements);
  return statements;
}

function compile(db: Kysely<Schema>, table: keyof Schema, columns: readonly string[], count: number): CompiledQuery {
  const row = Object.fromEntries(columns.map((column) => [column, 0])) as never;
  return db
    .insertInto(table)
    .values(Array.from({ length: count }, () => row))
    .compile();
}

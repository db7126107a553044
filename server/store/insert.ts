/** Rows of the tables that every created user fills. A statement's text depends on nothing but the columns and how many. */

import type { CompiledQuery, Insertable, Kysely } from "kysely";
import { compiledOnce } from "./compiled.ts";
import type { Schema } from "./schema.ts";

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
  const name = `${table} ${rows.length} ${columns.join()}`;
  const statement = compiledOnce(db, name, () => compile(db, table, columns, rows.length));
  await db.executeQuery({ ...statement, parameters });
}

function compile(db: Kysely<Schema>, table: keyof Schema, columns: readonly string[], count: number): CompiledQuery {
  const row = Object.fromEntries(columns.map((column) => [column, 0])) as never;
  return db
    .insertInto(table)
    .values(Array.from({ length: count }, () => row))
    .compile();
}

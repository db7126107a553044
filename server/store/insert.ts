/** Rows of the tables that every change of a user fills. A statement's text depends on the columns and how many rows there are. */

import type { CompiledQuery, Insertable, Kysely } from "kysely";
import { Compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";

const inserts = new Compiled<unknown>();

/** More rows at once are rare, and their statements long. */
const mostKept = 64;

/** Inserts rows, of which any may lack what another has: it gets the column's default, null. */
export async function insertRows<Table extends keyof Schema>(
  db: Kysely<Schema>,
  table: Table,
  rows: readonly Insertable<Schema[Table]>[],
): Promise<void> {
  await insert(db, table, [], rows);
}

/** As {@link insertRows}; of a row whose key is there already, all else is replaced. */
export async function putRows<Table extends keyof Schema>(
  db: Kysely<Schema>,
  table: Table,
  key: readonly (keyof Schema[Table] & string)[],
  rows: readonly Insertable<Schema[Table]>[],
): Promise<void> {
  await insert(db, table, key, rows);
}

async function insert(
  db: Kysely<Schema>,
  table: keyof Schema,
  key: readonly string[],
  rows: readonly object[],
): Promise<void> {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const parameters = rows.flatMap((row) => {
    const values = row as Readonly<Record<string, unknown>>;
    return columns.map((column) => values[column] ?? null);
  });
  const make = (): CompiledQuery<unknown> => compile(db, table, columns, key, rows.length);
  const shape = `${table} ${rows.length} ${columns.join()} ${key.join()}`;
  const statement = rows.length > mostKept ? make() : inserts.once(db, shape, make);
  await db.executeQuery({ ...statement, parameters });
}

function compile(
  db: Kysely<Schema>,
  table: keyof Schema,
  columns: readonly string[],
  key: readonly string[],
  count: number,
): CompiledQuery<unknown> {
  const row = Object.fromEntries(columns.map((column) => [column, 0])) as never;
  const rest = columns.filter((column) => !key.includes(column));
  return db
    .insertInto(table)
    .values(Array.from({ length: count }, () => row))
    .$if(key.length > 0, (query) =>
      query.onConflict((oc) =>
        oc
          .columns(key as never)
          .doUpdateSet((eb) =>
            Object.fromEntries(rest.map((column) => [column, eb.ref(`excluded.${column}` as never)])),
          ),
      ),
    )
    .compile();
}

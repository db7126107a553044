/**
 * Copies one database into another, whatever their engines: every row of every table, in one transaction of the target,
 * which must be empty, and reads it back to compare. Positions and digests go along, so that nodes go on by delta.
 */

import { createHash } from "node:crypto";
import { refuse } from "../../identity/refusal.ts";
import { openStore } from "./engine.ts";
import type { Reader, Tx } from "./store.ts";
import { type Row, type Table, tables } from "./tables.ts";

/** How many rows are read and written at once. */
const atOnce = 500;

/**
 * Gives how many rows each table has; `progress` is told of each that is done.
 * @throws Refusal `conflict`: the target is not empty. Error: what was written reads back otherwise.
 */
export async function copyDatabase(
  from: string,
  to: string,
  now: () => number,
  progress: (table: string, rows: number) => void,
): Promise<Record<string, number>> {
  await using source = await openStore(from, now);
  await using target = await openStore(to, now);
  await using state = await source.snapshot();
  // Awaited here: both stay open until it is done.
  return await target.write(async (into) => {
    const copied: Record<string, number> = {};
    for (const table of Object.keys(tables) as Table[]) {
      if ((await into.tables.after(table, undefined, 1)).length > 0)
        refuse("conflict", `${table} has rows in it already`);
      copied[table] = await copyTable(state, into, table);
      progress(table, copied[table]);
    }
    return copied;
  });
}

async function copyTable(state: Reader, into: Tx, table: Table): Promise<number> {
  const read = createHash("sha256");
  let rows = 0;
  // An access token comes after the client that it was issued to.
  const later: Row[] = [];
  for await (const some of walk((last) => state.read((out) => out.tables.after(table, last, atOnce)))) {
    const now = some.filter((row) => typeof row["client"] !== "string");
    later.push(...some.filter((row) => typeof row["client"] === "string"));
    if (now.length > 0) await into.tables.add(table, now);
    for (const row of some) read.update(line(row));
    rows += some.length;
  }
  for (let i = 0; i < later.length; i += atOnce) await into.tables.add(table, later.slice(i, i + atOnce));
  const written = createHash("sha256");
  for await (const some of walk((last) => into.tables.after(table, last, atOnce))) {
    for (const row of some) written.update(line(row));
  }
  if (!read.digest().equals(written.digest())) throw new Error(`${table} reads back otherwise than it was written`);
  return rows;
}

async function* walk(next: (last: Row | undefined) => Promise<Row[]>): AsyncGenerator<readonly Row[]> {
  for (let last: Row | undefined; ; ) {
    const rows = await next(last);
    if (rows.length > 0) yield rows;
    if (rows.length < atOnce) return;
    last = rows.at(-1);
  }
}

function line(row: Row): string {
  return JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The log of SQLite is carried over beside the writer, on real files. */

import { copyFile, mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import SqliteDatabase from "better-sqlite3";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { checkpoint } from "./checkpoints.ts";
import { openSqlite } from "./sqlite.ts";

const newFolder = () => mkdtempDisposable(join(tmpdir(), "rollcall-checkpoints-"));

/** Orgs that the database holds without its log. */
async function carriedOver(path: string): Promise<unknown[]> {
  await using folder = await newFolder();
  const copy = join(folder.path, "copy.db");
  await copyFile(path, copy);
  const database = new SqliteDatabase(copy);
  try {
    return database.prepare("select name from orgs").pluck().all();
  } catch (err) {
    return [String(err)];
  } finally {
    database.close();
  }
}

test("what was written stands in the database within seconds, while its writer goes on", async () => {
  await using folder = await newFolder();
  const path = join(folder.path, "rollcall.db");
  await using store = await openSqlite(path, Date.now);
  const add = (name: string): Promise<void> => store.write((tx) => tx.clusters.addOrg({ id: name, name }, 0));
  await add("first");
  expect(await carriedOver(path)).not.toContain("first");
  await using _checkpoints = checkpoint(path, pino({ level: "silent" }));
  await vi.waitFor(async () => expect(await carriedOver(path)).toEqual(["first"]), { timeout: 20_000, interval: 200 });
  await add("second");
  await vi.waitFor(async () => expect(await carriedOver(path)).toEqual(["first", "second"]), {
    timeout: 20_000,
    interval: 200,
  });
});

test("a database that cannot be opened is told of, and nothing else fails", async () => {
  const told: string[] = [];
  await using folder = await newFolder();
  const log = pino({ base: null }, { write: (line: string) => told.push(line) });
  {
    await using _checkpoints = checkpoint(join(folder.path, "nowhere", "rollcall.db"), log);
    await vi.waitFor(() => expect(told).toHaveLength(1), { timeout: 20_000 });
  }
  expect(told[0]).toContain("the write-ahead log is carried over by its writer from now on");
});

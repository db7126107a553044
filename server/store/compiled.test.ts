/** A statement that is made once gives what one made for the occasion would, whatever it was first made for. */

import SqliteDatabase from "better-sqlite3";
import { Kysely, SqliteDialect } from "kysely";
import { afterAll, expect, test } from "vitest";
import { compiled } from "./compiled.ts";
import { insertRows, putRows } from "./insert.ts";
import type { Schema } from "./schema.ts";

const database = new SqliteDatabase(":memory:");
database.exec("create table names (org text not null, name text not null, subject text, primary key (org, name))");
const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database }) });
afterAll(() => db.destroy());

let made = 0;
const named = compiled((on, { org, some }: { org: string; some: readonly string[] }) => {
  made += 1;
  return on
    .selectFrom("names")
    .select("name")
    .where("org", "=", org)
    .where("name", "in", some)
    .orderBy("name")
    .limit(50);
});
const names = Array.from({ length: 20 }, (_, n) => `n${n + 10}`);
const found = async (org: string, some: readonly string[]): Promise<string[]> => {
  return (await named(db, { org, some })).rows.map(({ name }) => name);
};

test("values and lists of any length, made once for each length that is usual", async () => {
  await insertRows(
    db,
    "names",
    names.map((name) => ({ org: "a", name, subject: name })),
  );
  await insertRows(db, "names", [{ org: "b", name: "n10", subject: "other" }]);
  for (let round = 0; round < 3; round++) {
    for (const length of [1, 2, 8]) {
      const some = names.slice(round, round + length);
      expect(await found("a", some)).toEqual(some);
    }
    expect(await found("b", ["n10", "n11"])).toEqual(["n10"]);
  }
  expect(made).toBe(3);
  expect(await found("a", names)).toEqual(names);
  expect(await found("a", names)).toEqual(names);
  expect(made).toBe(5);
});

test("rows are added, and put over those of the same key", async () => {
  const put = (values: Readonly<Record<string, string>>): Promise<void> => {
    const rows = Object.entries(values).map(([name, subject]) => ({ org: "c", name, subject }));
    return putRows(db, "names", ["org", "name"], rows);
  };
  await put({ x: "1", y: "2" });
  await put({ y: "3", z: "4" });
  const rows = await db
    .selectFrom("names")
    .select(["name", "subject"])
    .where("org", "=", "c")
    .orderBy("name")
    .execute();
  expect(rows).toEqual([
    { name: "x", subject: "1" },
    { name: "y", subject: "3" },
    { name: "z", subject: "4" },
  ]);
  await expect(insertRows(db, "names", [{ org: "c", name: "z", subject: "5" }])).rejects.toThrow(/UNIQUE/);
});

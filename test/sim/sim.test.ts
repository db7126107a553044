/** A thousand schedules, and those that once broke something: nothing that must hold is broken, and all ends well. */

import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { real } from "./parts.ts";
import { generate, parse, print } from "./schedule.ts";
import { failure, search } from "./shrink.ts";

const folder = new URL("scenarios/", import.meta.url);

test("1,000 seeds", () => {
  const found = search(
    Array.from({ length: 1000 }, (_, seed) => seed),
    real,
  );
  const trace = found && `seed ${found.seed}: ${found.why}\n\n${print(found.schedule)}`;
  expect(trace).toBeUndefined();
}, 120_000);

test("a schedule is the same after it was written down", () => {
  for (let seed = 0; seed < 50; seed++) expect(parse(print(generate(seed)))).toEqual(generate(seed));
});

test.each((await readdir(folder)).sort())("%s", async (file) => {
  expect(failure(parse(await readFile(new URL(file, folder), "utf8")), real)).toBeUndefined();
});

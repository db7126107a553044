/** docs/faults.md promises a test for each fault: that test exists. */

import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const text = readFileSync(new URL("../docs/faults.md", import.meta.url), "utf8");
const rows = text.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| fault |"));

test.each(rows)("%s", (row) => {
  const [fault, end, tests, ...others] = row.slice(2, -2).split(" | ");
  if (!fault || !end || !tests || others.length > 0)
    throw new Error("a row has a fault, what it ends in, and its tests");
  const named = tests.replaceAll(/\([^)]*\)/g, "").split(",");
  for (const name of named.map((word) => word.trim())) expect(isTest(name), `there is a test ${name}`).toBe(true);
});

/** `fault/power` is test/fault/power.test.ts, `scenario/ban` a story, `agent/memory` the test beside agent/memory.ts. */
function isTest(name: string): boolean {
  const [folder = "", ...rest] = name.split("/");
  const path = folder === "agent" || folder === "server" ? name : `test/${name}`;
  const endings = folder === "scenario" ? [".txt"] : [".test.ts"];
  return rest.length > 0 && endings.some((ending) => existsSync(new URL(`../${path}${ending}`, import.meta.url)));
}

import { expect, test } from "vitest";
import { pieces } from "./json-pieces.ts";

test.each([0, 1, 500, 501, 1000, 1234])("a resource with %d members is the same in pieces", (count) => {
  const members = Array.from({ length: count }, (_, i) => ({ value: String(i), display: `"${i},` }));
  const doc = { schemas: ["a"], displayName: "é", members, last: { members } };
  expect([...pieces(doc)].join("")).toBe(JSON.stringify(doc));
  expect([...pieces({ members })].join("")).toBe(JSON.stringify({ members }));
});

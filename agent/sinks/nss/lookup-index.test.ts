import * as fc from "fast-check";
import { expect, test } from "vitest";
import { buildIndex, entryWidth, findInIndex, reviseIndex } from "./lookup-index.ts";

test("byte for byte: one width, ids sorted as text", () => {
  const index = buildIndex(
    "ixuid",
    new Map([
      ["200000", 64],
      ["70000", 128],
      ["1000000", 0],
    ]),
  );
  const entry = (key: string, offset: string) => `${key}\0${offset}`.padEnd(entryWidth("ixuid") - 1, "\0").concat("\n");
  expect(index.toString("latin1")).toBe(entry("1000000", "0") + entry("200000", "64") + entry("70000", "128"));
});

test("revised entry by entry it is what it would be if built anew", () => {
  const key = fc
    .string({ unit: fc.constantFrom(..."ab-_1".split("")), minLength: 1, maxLength: 4 })
    .map((text) => `n${text}`);
  const change = fc.tuple(key, fc.option(fc.nat(1e9), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 8 }), (rounds) => {
      const held = new Map<string, number>();
      let index = Buffer.alloc(0);
      for (const round of rounds) {
        index = Buffer.from(reviseIndex("ixname", index, new Map(round)));
        for (const [name, offset] of new Map(round)) {
          if (offset === undefined) held.delete(name);
          else held.set(name, offset);
        }
        expect(index.equals(buildIndex("ixname", held))).toBe(true);
        for (const [name, offset] of held) expect(findInIndex("ixname", index, name)).toBe(offset);
        expect(findInIndex("ixname", index, "zz")).toBeUndefined();
      }
    }),
  );
});

test("a key or an offset that does not fit is a bug, not a broken index", () => {
  expect(() => buildIndex("ixname", new Map([["n".repeat(32), 0]]))).toThrow("cannot hold");
  expect(() => buildIndex("ixuid", new Map([["200000", 1e11]]))).toThrow("cannot hold");
});

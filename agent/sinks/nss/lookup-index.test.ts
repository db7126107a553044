import * as fc from "fast-check";
import { expect, test } from "vitest";
import { buildIndex, findInIndex, reviseIndex, widthOf } from "./lookup-index.ts";

test("byte for byte: one width, ids sorted as text", () => {
  const index = buildIndex(
    new Map([
      ["200000", 64],
      ["70000", 128],
      ["1000000", 0],
    ]),
  );
  const entry = (key: string, offset: string) => `${key}\0${offset}`.padEnd("200000".length + 4, "\0").concat("\n");
  expect(index.toString("latin1")).toBe(entry("1000000", "0") + entry("200000", "64") + entry("70000", "128"));
});

test("revised entry by entry it is what it would be if built anew", () => {
  const key = fc
    .string({ unit: fc.constantFrom(..."ab-_1".split("")), minLength: 1, maxLength: 4 })
    .map((text) => `n${text}`.repeat(text.length));
  const change = fc.tuple(key, fc.option(fc.nat(1e9), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 8 }), (rounds) => {
      const held = new Map<string, number>();
      let index = Buffer.alloc(0);
      for (const round of rounds) {
        index = Buffer.from(reviseIndex(index, new Map(round)));
        for (const [name, offset] of new Map(round)) {
          if (offset === undefined) held.delete(name);
          else held.set(name, offset);
        }
        expect(index.equals(buildIndex(held, widthOf(index)))).toBe(true);
        for (const [name, offset] of held) expect(findInIndex(index, name)).toBe(offset);
        expect(findInIndex(index, "zz")).toBeUndefined();
      }
    }),
  );
});

test("a longer key or offset widens every entry", () => {
  const index = buildIndex(new Map([["a", 0]]));
  expect(index.toString("latin1")).toBe("a\0" + "0\0\n");
  const wide = reviseIndex(index, new Map([["bcd", 64]]));
  expect(wide.toString("latin1")).toBe("a\0" + "0\0\0\0\0\n" + "bcd\0" + "64\0\n");
});

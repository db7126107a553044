import * as fc from "fast-check";
import { expect, test } from "vitest";
import { overlay } from "./overlay.ts";

test("an overlay is the map that one would have made", () => {
  const small = fc.array(fc.tuple(fc.nat(9), fc.nat()));
  const changes = fc.array(fc.tuple(fc.nat(9), fc.option(fc.nat(), { nil: undefined })));
  fc.assert(
    fc.property(small, changes, changes, (entries, first, second) => {
      const base = new Map(entries);
      const seen = overlay(overlay(base, new Map(first)), new Map(second));
      const made = new Map(base);
      for (const [key, value] of [...new Map(first), ...new Map(second)]) {
        if (value === undefined) made.delete(key);
        else made.set(key, value);
      }
      expect(new Map(seen)).toEqual(made);
      expect(seen.size).toBe(made.size);
      const sorted = (values: Iterable<number>) => [...values].toSorted((a, b) => a - b);
      expect(sorted(seen.keys())).toEqual(sorted(made.keys()));
      expect(sorted(seen.values())).toEqual(sorted(made.values()));
      const visited = new Map<number, number>();
      seen.forEach((value, key) => visited.set(key, value));
      expect(visited).toEqual(made);
      for (let key = 0; key < 10; key++) expect([seen.has(key), seen.get(key)]).toEqual([made.has(key), made.get(key)]);
    }),
  );
});

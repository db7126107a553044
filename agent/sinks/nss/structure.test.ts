import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { person, team } from "../../sample.ts";
import type { MapName } from "./reader.ts";
import { groupLine, passwdLine } from "./record.ts";
import { checkChange, checkRecords, checkStructure, type Version } from "./structure.ts";
import { changeTable, indexOf, layTable, type Shape, shapes, type Table } from "./table.ts";

function versionOf(shape: Shape, table: Table): Version {
  return {
    data: table.slots.bytes,
    indexes: shape.indexes.map(({ name, field }) => ({ index: indexOf(table, name), field })),
  };
}

function fails(check: () => void): boolean {
  try {
    check();
    return false;
  } catch {
    return true;
  }
}

/** A version with one byte changed, or some bytes cut out: of the data (file 0) or of an index. */
function hurt({ data, indexes }: Version, { file, place, byte, cut }: Wound): Version {
  const files = [data, ...indexes.map(({ index }) => index)];
  const at = file % files.length;
  const bytes = Buffer.from(files[at] ?? Buffer.alloc(0));
  const from = place % Math.max(1, bytes.length);
  if (bytes.length > 0) bytes[from] = byte;
  files[at] = cut === 0 ? bytes : Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + cut)]);
  const [first = Buffer.alloc(0), ...others] = files;
  return { data: first, indexes: indexes.map(({ field }, n) => ({ field, index: others[n] ?? Buffer.alloc(0) })) };
}

interface Wound {
  readonly file: number;
  readonly place: number;
  readonly byte: number;
  readonly cut: number;
}

const lines: Record<"passwd" | "group", (n: number, size: number) => string> = {
  passwd: (n, size) => passwdLine(person(n, { gecos: "x".repeat(size % 120) })),
  group: (n, size) => {
    const { name, gid } = team(n);
    return groupLine(
      name,
      gid,
      Array.from({ length: size }, (_, m) => person(m).name),
    );
  },
};

const edits = fc.array(fc.tuple(fc.nat(40), fc.option(fc.nat(200), { nil: undefined })), { maxLength: 12 });
const bytes = fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from("\n:#x0\0")));
const wound = fc.record({ file: fc.nat(2), place: fc.nat(), byte: bytes, cut: fc.constantFrom(0, 0, 64, 23, 44) });

/** Two neighbouring versions. */
function neighbours(map: "passwd" | "group", first: readonly Edit[], second: readonly Edit[]): [Version, Version] {
  const shape = shapes[map];
  const said = (all: readonly Edit[]) =>
    new Map(
      all.map(([n, size]) => {
        const key = String(map === "passwd" ? person(n).uid : team(n).gid);
        return [key, size === undefined ? undefined : lines[map](n, size)] as const;
      }),
    );
  const before = layTable(shape, said(first), 0);
  return [versionOf(shape, before), versionOf(shape, changeTable(shape, before, said(second)))];
}

type Edit = readonly [n: number, size: number | undefined];

describe.each(["passwd", "group"] as const)("%s", (map: MapName & ("passwd" | "group")) => {
  test("what changed is checked as if all of it were", () => {
    let wrong = 0;
    fc.assert(
      fc.property(edits, edits, wound, (first, second, injury) => {
        const [before, after] = neighbours(map, first, second);
        checkStructure(map, before);
        checkStructure(map, after);
        checkChange(map, before, after);
        const forged = hurt(after, injury);
        const isWrong = fails(() => checkStructure(map, forged));
        wrong += Number(isWrong);
        expect(fails(() => checkChange(map, before, forged))).toBe(isWrong);
      }),
      { numRuns: 2_000 },
    );
    expect(wrong).toBeGreaterThan(500);
  });

  test("an entry that stayed, and hits what changed, is looked at", () => {
    const [before, after] = neighbours(
      map,
      [
        [1, 3],
        [2, 3],
      ],
      [
        [1, undefined],
        [3, 3],
      ],
    );
    // As if the indexes had been forgotten: the same number of entries, of which one hits a stranger.
    const forgotten = { data: after.data, indexes: before.indexes };
    expect(() => checkChange(map, before, forgotten)).toThrow("hits another record");
  });
});

test("the records of a file are those that are wanted: none is missing, none too many, none another", () => {
  const line = (n: number, members: number) => lines.group(n, members);
  const wanted = [line(1, 3), line(2, 0), line(3, 50)];
  const tableOf = (texts: readonly string[]) =>
    layTable(shapes.group, new Map(texts.map((text) => [text.split(":")[2] ?? "", text])), 0).slots.bytes;
  const data = tableOf(wanted);
  const check = (texts: readonly (string | undefined)[]) => () => checkRecords("group", data, texts);
  expect(check(wanted)).not.toThrow();
  expect(check([...wanted, undefined]), "of what is gone nothing is wanted").not.toThrow();
  expect(check([...wanted, line(4, 1)])).toThrow(/^group: the record team4:x:70004:user0 is missing$/);
  expect(check(wanted.slice(1))).toThrow(/^group: the record team1:x:70001:user0,user1,user2 is not one of/);
  expect(check([line(1, 2), ...wanted.slice(1)]), "a member less").toThrow("is not one of those that are wanted");
  const twice = Buffer.from(data);
  twice.copy(twice, 64, 0, 64);
  expect(() => checkRecords("group", twice, wanted)).toThrow("group: the record");
  expect(() => checkRecords("group", tableOf([]), [])).not.toThrow();
});

import { describe, expect, test } from "vitest";
import { type Change, changeSlots, emptySlots, readSlots, roomy, tight } from "./slots.ts";

const sentinel = "end:*:1";
const isRecord = (line: string) => line.startsWith("r");
const put = (line: string, at?: number): Change => ({ at, line });

function laid(...lines: string[]) {
  return changeSlots(
    emptySlots(sentinel, 0),
    lines.map((line) => put(line)),
    tight,
    sentinel,
  );
}

describe("slots keep their places", () => {
  test("byte for byte", () => {
    const { slots, placed } = laid("r1", "r".repeat(63), "r".repeat(62));
    expect(placed).toEqual([0, 64, 128]);
    const hashes = "#".repeat(60);
    const expected = `r1\n${hashes}\n${"r".repeat(63)}\n${"r".repeat(62)}\n\n#free###`;
    expect(slots.bytes.toString("latin1", 0, expected.length)).toBe(expected);
    expect(slots.bytes.toString("latin1").endsWith(`${sentinel}\n${"#".repeat(55)}\n`)).toBe(true);
  });

  test("a record that goes leaves a comment, which one that fits takes", () => {
    const { slots } = laid("r1", "r2", "r3");
    const gone = changeSlots(slots, [{ at: 64, line: undefined }], tight, sentinel).slots;
    expect(gone.bytes.toString("latin1", 64, 128)).toBe(`#free${"#".repeat(58)}\n`);
    expect(changeSlots(gone, [put("r".repeat(70))], tight, sentinel).placed).toEqual([192]);
    expect(changeSlots(gone, [put("r4")], tight, sentinel).placed).toEqual([64]);
  });

  test("one that outgrows its slot moves, one with room stays", () => {
    const { slots } = laid("r1", "r2");
    expect(changeSlots(slots, [put("r".repeat(64), 0)], tight, sentinel).placed).toEqual([128]);
    expect(changeSlots(slots, [put("r".repeat(63), 0)], tight, sentinel).placed).toEqual([0]);
    const wide = changeSlots(emptySlots(sentinel, 0), [put("r".repeat(100))], roomy, sentinel);
    expect(changeSlots(wide.slots, [put("r".repeat(190), 0)], roomy, sentinel).placed).toEqual([0]);
  });

  test("the file grows before the tail is used up, and never shrinks", () => {
    let { slots } = laid("r0");
    for (let n = 1; n < 300; n++) {
      const next = changeSlots(slots, [put(`r${n}`)], tight, sentinel);
      // Every new offset lies inside the data that was live before.
      expect(next.placed[0]).toBeLessThan(slots.bytes.length - 64);
      expect(next.slots.bytes.length).toBeGreaterThanOrEqual(slots.bytes.length);
      slots = next.slots;
    }
    expect(emptySlots(sentinel, 100_000).bytes.length).toBeGreaterThanOrEqual(100_000);
  });

  test("no line, comment or not, outgrows a reader's first buffer", () => {
    const { slots } = laid("r0");
    const wide = changeSlots(slots, [put("r".repeat(40_000))], tight, sentinel).slots;
    const gone = changeSlots(wide, [{ at: 64, line: undefined }], tight, sentinel).slots;
    expect(
      Math.max(
        ...gone.bytes
          .toString("latin1")
          .split("\n")
          .map(({ length }) => length),
      ),
    ).toBeLessThan(1024);
  });
});

describe("a file is read back strictly", () => {
  const { slots } = laid("r1", "r".repeat(200), "r3");
  const holed = changeSlots(slots, [{ at: 0, line: undefined }], tight, sentinel).slots;

  test("into the slots that were written", () => {
    const read = readSlots(holed.bytes, sentinel, isRecord);
    expect(read?.slots).toEqual({ ...holed, free: [{ at: 0, size: 64, line: "" }] });
    expect(read?.records.map(({ at, size }) => [at, size])).toEqual([
      [64, 256],
      [320, 64],
    ]);
  });

  test("and any one byte changed, added or missing is noticed, or is another record", () => {
    for (let at = 0; at < holed.bytes.length; at++) {
      const forged = Buffer.from(holed.bytes);
      forged[at] = forged[at] === 65 ? 66 : 65;
      const read = readSlots(forged, sentinel, isRecord);
      if (read) expect(read.records).not.toEqual(readSlots(holed.bytes, sentinel, isRecord)?.records);
      expect(readSlots(holed.bytes.subarray(0, at), sentinel, isRecord)).toBeUndefined();
    }
    expect(readSlots(Buffer.concat([holed.bytes, Buffer.from("x")]), sentinel, isRecord)).toBeUndefined();
  });
});

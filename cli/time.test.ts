import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { printMillis } from "../proto/wire.ts";
import { UsageError } from "./exit.ts";
import { parseDuration, showDuration, showTime } from "./time.ts";

test.each([
  [0, "0ms"],
  [25.9, "25ms"],
  [4_999, "4s"],
  [119_000, "119s"],
  [120_000, "2m"],
  [7_200_000, "2h"],
  [172_800_000, "2d"],
])("%d ms are shown as %s", (ms, shown) => {
  expect(showDuration(printMillis(ms))).toBe(shown);
});

test("a time is shown in UTC, none as a dash", () => {
  expect(showTime(timestampFromMs(Date.parse("2026-11-02T12:00:00.123Z")))).toBe("2026-11-02T12:00:00Z");
  expect(showTime(undefined)).toBe("-");
});

test("durations are read strictly", () => {
  expect(["250ms", "90s", "10m", "1h", "2d"].map(parseDuration)).toEqual([
    250, 90_000, 600_000, 3_600_000, 172_800_000,
  ]);
  for (const odd of ["", "10", "m", "-1s", "1.5h", "1 h", "1w", "9999999999s"]) {
    expect(() => parseDuration(odd), odd).toThrow(UsageError);
  }
});

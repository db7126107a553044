import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { printMillis } from "../proto/wire.ts";
import { UsageError } from "./exit.ts";
import { parseDuration, parseWhen, showDuration, showTime } from "./time.ts";

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

const now = Date.UTC(2026, 10, 2, 12);

test.each([
  ["2027-01-31", "2027-01-31T00:00:00Z"],
  ["2028-02-29", "2028-02-29T00:00:00Z"],
  ["2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"],
  ["2027-01-31T12:00:00.5+02:00", "2027-01-31T10:00:00Z"],
  ["90d", "2027-01-31T12:00:00Z"],
  ["1h", "2026-11-02T13:00:00Z"],
])("%s is %s", (text, time) => {
  expect(showTime(parseWhen("--expires", text, now))).toBe(time);
});

test.each([
  "",
  "never",
  "2026-02-30",
  "2026-02-30T00:00:00Z",
  "2027-02-29",
  "2027-13-01",
  "2027-01-32",
  "2027-01-31T25:00:00Z",
  "2027-01-31 12:00",
  "2027-01-31T12:00:00",
  "31.1.2027",
  "1e18",
  "1000000000000000000",
  "1y",
  "-1d",
  "2027",
])("%j is no time", (text) => {
  expect(() => parseWhen("--expires", text, now)).toThrow(UsageError);
});

/** Times and durations as people say them. */

import { type Duration, type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { parseMillis, parseTime } from "../proto/wire.ts";
import { UsageError } from "./exit.ts";

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `4s`, `3m`, `2h`, `5d`: one unit, rounded down, so that nothing seems older than it is. */
export function showDuration(duration: Duration | undefined): string {
  const ms = parseMillis(duration);
  if (ms < units.s) return `${Math.floor(ms)}ms`;
  if (ms < 2 * units.m) return `${Math.floor(ms / units.s)}s`;
  if (ms < 2 * units.h) return `${Math.floor(ms / units.m)}m`;
  return ms < 2 * units.d ? `${Math.floor(ms / units.h)}h` : `${Math.floor(ms / units.d)}d`;
}

/** `2026-11-02T12:00:00Z`, or `-` if there is none. */
export function showTime(time: Timestamp | undefined): string {
  const ms = parseTime(time);
  return ms === undefined ? "-" : `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** Milliseconds of `90s`, `10m`, `1h`. @throws UsageError */
export function parseDuration(text: string): number {
  const [, digits, unit] = /^([0-9]{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`"${text}" is not a duration such as 90s, 10m or 1h`);
  return Number(digits) * units[unit as keyof typeof units];
}

const day = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
const rfc3339 = new RegExp(`^(${day})(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2}))?$`);

/**
 * A point in time: a day (its first moment in UTC), RFC 3339, or a duration from now.
 * @throws UsageError: also a day that no calendar has.
 */
export function parseWhen(option: string, text: string, now: number): Timestamp {
  if (/^[0-9]+[a-z]+$/.test(text)) return timestampFromMs(now + parseDuration(text));
  const [, date] = rfc3339.exec(text) ?? [];
  const ms = Date.parse(text);
  // JavaScript takes February 30 for March 2.
  const real = date !== undefined && new Date(`${date}T00:00:00Z`).toJSON()?.startsWith(date);
  if (!real || Number.isNaN(ms)) {
    throw new UsageError(
      `${option} ${JSON.stringify(text)} is not a time such as 2027-01-31, 2027-01-31T12:00:00Z or 90d`,
    );
  }
  return timestampFromMs(ms);
}

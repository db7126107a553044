/**
 * UIDs and GIDs that Rollcall may hand out or write. Everything else is somebody's already: 0-999 the system's,
 * 61184-65519 systemd's dynamic users, 65534 nobody, 65535 and 2^32-1 "no change" to chown(2), 2^31 and above unreadable by
 * libnss-cache's index (it prints keys with %d), 524288-1879048191 subordinate ids of containers.
 */

import { quote, refuse } from "./refusal.ts";

export type Uid = number & { readonly __uid: unique symbol };
export type Gid = number & { readonly __gid: unique symbol };

/** A closed range of ids. */
export interface IdRange {
  readonly first: number;
  readonly last: number;
}

/** Default range for people; a user's private group has the same number. */
export const userIds: IdRange = { first: 200_000, last: 524_287 };

/** Default range for groups. */
export const groupIds: IdRange = { first: 70_000, last: 99_999 };

const closed: readonly (IdRange & { readonly whose: string })[] = [
  { first: 0, last: 999, whose: "the system" },
  { first: 61_184, last: 65_535, whose: "systemd's dynamic users, nobody and -1" },
  { first: 524_288, last: 1_879_048_191, whose: "subordinate ids of containers" },
  { first: 2_147_483_648, last: 4_294_967_295, whose: "ids that libnss-cache cannot index" },
];

/** What is left: every number that a person may have. */
export const idsOfPeople: readonly IdRange[] = closed.flatMap(({ last }, at) => {
  const next = closed[at + 1];
  return next && next.first > last + 1 ? [{ first: last + 1, last: next.first - 1 }] : [];
});

/** @throws Refusal `invalid`: not a whole number from 1000 to 2^31-1, or in a range that is someone else's. */
export function parseUid(value: unknown): Uid {
  return parseId("uid", value) as Uid;
}

/** @throws Refusal `invalid`, as {@link parseUid}. */
export function parseGid(value: unknown): Gid {
  return parseId("gid", value) as Gid;
}

/**
 * A range that an org may give numbers of.
 * @throws Refusal `invalid`, naming the field: it ends before it begins, or touches ids that are someone else's.
 */
export function parseRange(field: string, { first, last }: IdRange): IdRange {
  const shown = `${field} ${quote(`${first}-${last}`)}`;
  for (const end of [first, last]) {
    if (!Number.isInteger(end) || end < 0 || end > 4_294_967_295) {
      refuse("invalid", `${shown}: both ends must be whole numbers from 0 to 4294967295`);
    }
  }
  if (first > last) refuse("invalid", `${shown} ends before it begins`);
  const theirs = closed.find((range) => overlap(range, { first, last }));
  if (theirs) refuse("invalid", `${shown} touches ${theirs.first}..${theirs.last}, which belongs to ${theirs.whose}`);
  return { first, last };
}

/** Whether two ranges have a number in common. */
export function overlap(a: IdRange, b: IdRange): boolean {
  return a.first <= b.last && b.first <= a.last;
}

function parseId(what: "uid" | "gid", value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 4_294_967_295) {
    refuse("invalid", `${what} ${quote(value)} is not a whole number from 0 to 4294967295`);
  }
  const range = closed.find(({ first, last }) => value >= first && value <= last);
  if (range) refuse("invalid", `${what} ${value} is in ${range.first}..${range.last}, which belongs to ${range.whose}`);
  return value;
}

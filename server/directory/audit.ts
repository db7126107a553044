/** Reads of the audit: a page of it, what comes, and whether it is as it was written. All in slices: it only ever grows. */

import { type Break, type ChainHead, type Entry, empty, follow } from "../audit/chain.ts";
import type { AuditFilter } from "../store/audit.ts";
import type { Context } from "./context.ts";

/** How many numbers one read looks through for what is asked: some milliseconds' work. */
const stride = 5000;

/** How many entries one read gives, which may be of 100 kB each. */
const handful = 100;

/** After so many characters a page ends early. */
const longestPage = 4 * 1024 * 1024;

/** Entries before a number, the newest of all if it is undefined; and the number to go on before, if there may be more. */
export async function listAudit(
  ctx: Context,
  org: string,
  filter: AuditFilter,
  before: number | undefined,
  limit: number,
): Promise<{ entries: Entry[]; next: number | undefined }> {
  const entries: Entry[] = [];
  let to = before === undefined ? (await headOf(ctx, org)).seq : before - 1;
  let length = 0;
  while (to > 0 && entries.length < limit && length < longestPage) {
    const from = Math.max(1, to - stride + 1);
    const most = Math.min(handful, limit - entries.length);
    const stretch = { from, to, limit: most, newestFirst: true };
    const found = await ctx.store.read((tx) => tx.audit.entries(org, stretch, filter));
    for (const entry of found) {
      entries.push(entry);
      length += (entry.before?.length ?? 0) + (entry.after?.length ?? 0);
    }
    to = (found.length < most ? from : (found.at(-1)?.seq ?? from)) - 1;
  }
  return { entries, next: to > 0 ? to + 1 : undefined };
}

/** The entries from a number on that there are by now, some at a time, and the number to go on from. */
export async function* auditFrom(
  ctx: Context,
  org: string,
  filter: AuditFilter,
  from: number,
): AsyncGenerator<Entry, number> {
  const { seq: head } = await headOf(ctx, org);
  let at = from;
  while (at <= head) {
    const to = Math.min(head, at + handful - 1);
    const stretch = { from: at, to, limit: handful };
    yield* await ctx.store.read((tx) => tx.audit.entries(org, stretch, filter));
    at = to + 1;
  }
  return at;
}

export async function headOf(ctx: Context, org: string): Promise<ChainHead> {
  return ctx.store.read((tx) => tx.audit.head(org));
}

/** How far a chain holds together, and where it breaks, if it does. */
export interface Verdict {
  readonly head: ChainHead;
  readonly broken: Break | undefined;
}

/** Follows a chain from its first entry to its newest, past a head that was noted, if one is given. */
export async function verifyAudit(ctx: Context, org: string, noted: ChainHead | undefined): Promise<Verdict> {
  let head = empty;
  while (true) {
    const stretch = { from: head.seq + 1, to: Number.MAX_SAFE_INTEGER, limit: 1000 };
    const entries = await ctx.store.read((tx) => tx.audit.entries(org, stretch));
    const followed = follow(head, entries);
    if ("why" in followed) return { head, broken: followed };
    const there = entries.find(({ seq }) => seq === noted?.seq);
    if (noted && there && there.hash !== noted.hash) {
      return {
        head,
        broken: { seq: noted.seq, why: "the entry is not the one that was noted: the chain was made anew" },
      };
    }
    head = followed;
    if (entries.length < stretch.limit) break;
  }
  if (noted && noted.seq > head.seq) {
    const seq = head.seq + 1;
    return {
      head,
      broken: { seq, why: `the chain ends before the noted entry ${noted.seq}: the newest were cut off` },
    };
  }
  return { head, broken: undefined };
}

/**
 * The log forgets what was overtaken long ago: of each resource it keeps the last change at or before the horizon, and every
 * change after it. So a delta can be cut from any revision, however old, to any since the horizon; nobody needs a snapshot
 * because of it. The revisions themselves stay: their digests are the proof of what a node may hold.
 */

import type { Context } from "./context.ts";

/** How long every change is kept, in milliseconds: longer than any window of the guard, and than any walk of SCIM's. */
export const keepFor = 7 * 86_400_000;

/** Revisions in one transaction: commands wait for no more than these. */
const atOnce = 50n;

/** Forgets what was overtaken before a time, of every cluster; gives how many changes went. */
export async function compactLogs(ctx: Context, before: number): Promise<number> {
  let gone = 0;
  for (const { id } of await ctx.store.read((tx) => tx.clusters.list({ offset: 0, limit: 100_000 }))) {
    const horizon = await ctx.store.read((tx) => tx.log.newestBefore(id, before));
    for (let isMore = horizon !== undefined; isMore; ) {
      const step = await ctx.store.write((tx) => tx.log.compact(id, horizon ?? 0n, atOnce));
      gone += step.gone;
      isMore = step.isMore;
    }
  }
  return gone;
}

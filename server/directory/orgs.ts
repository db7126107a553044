/** Reads of orgs. */

import type { Context } from "./context.ts";

/** What people call an org, by the id that the directory knows it by. */
export async function orgName(ctx: Context, id: string): Promise<string> {
  return ctx.store.read((tx) => tx.clusters.orgName(id));
}

/** `rollcall-agent links`: places the links, says which, and ends. */

import { join } from "node:path";
import { realDisk } from "./disk.ts";
import { foldersIn } from "./folders.ts";
import { placeLinks, tendLinks } from "./links.ts";
import type { LinkOptions } from "./options.ts";

/** What is in the way of a node in service is no reason for its agent not to start: it is said. @throws Error: of a new node's. */
export async function linksCommand({ state, etc }: LinkOptions): Promise<void> {
  const { served } = foldersIn(state);
  const isInService = (await realDisk.list(join(served, "nss"))).length > 0;
  const { placed, inTheWay } = isInService
    ? await tendLinks(etc, served)
    : { placed: await placeLinks(etc, served), inTheWay: [] };
  for (const link of placed) process.stdout.write(`placed ${link}\n`);
  for (const why of inTheWay) process.stderr.write(`${why}\n`);
}

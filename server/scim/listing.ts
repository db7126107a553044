/** The answer to a question about many resources: by place, or by cursor where the client asks for one. */

import { show } from "../directory/actor.ts";
import type { Answer, Call, Finder } from "./endpoint.ts";
import { refuseAs } from "./errors.ts";
import { listResponse, parsePage, parseWalkCount, walkResponse } from "./page.ts";
import type { Claim, Walk, Walks } from "./walks.ts";

/** @throws ScimRefusal `invalidValue`, `invalidFilter`, `invalidCount`, `invalidCursor`, `expiredCursor`. */
export async function list(call: Call, finder: Finder, kind: string, walks: Walks): Promise<Answer> {
  const { query } = call;
  if (query.cursor !== undefined) return { status: 200, body: await walk(call, finder, kind, walks, query.cursor) };
  const { startIndex, rows } = parsePage(query.startIndex, query.count);
  const { total, resources } = await finder.find(call, rows);
  return { status: 200, body: listResponse(resources, total, startIndex) };
}

async function walk(call: Call, finder: Finder, kind: string, walks: Walks, cursor: string) {
  if (call.query.startIndex !== undefined) refuseAs("invalidValue", "cursor and startIndex exclude one another");
  const limit = parseWalkCount(call.query.count);
  const page = async (walk: Walk, offset: number) => {
    const { total, resources } = await finder.find({ ...call, reader: walk.reader }, { offset, limit });
    // A client that only counts (count=0) walks nowhere: a new walk is not worth keeping, an old one stays where it is.
    const next = offset + resources.length;
    const isLast = next >= total || resources.length < limit || (limit === 0 && cursor === "");
    if (isLast) await walks.end(walk);
    return walkResponse(resources, total, isLast ? undefined : `${walk.id}.${next}`);
  };
  const claim = claimOf(call, kind);
  return cursor === "" ? walks.begin(claim, (begun) => page(begun, 0)) : walks.resume(cursor, claim, page);
}

function claimOf({ org, actor, query: { filter, sortBy, sortOrder } }: Call, kind: string): Claim {
  return { owner: JSON.stringify([org, show(actor)]), question: JSON.stringify([kind, filter, sortBy, sortOrder]) };
}

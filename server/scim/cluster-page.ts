/**
 * Which part of an answer is wanted. An answer must be of one revision as a whole, or a client would take people who moved
 * between two pages for people who left. So a walk goes by cursor, which names its revision; without one there is a first
 * page only, and unless it was asked to be shorter, it holds everything.
 */

import { quote } from "../../identity/refusal.ts";
import { refuseAs } from "./errors.ts";
import { isWhole } from "./page.ts";

export const walkPage = 1000;

export type Want =
  | {
      readonly kind: "walk" /** Undefined: from the start. */;
      readonly cursor: string | undefined;
      readonly count: number;
    }
  | { readonly kind: "first" /** Undefined: all. */; readonly count: number | undefined }
  /** A page further on, by place: can only be beyond the end. */
  | { readonly kind: "further"; readonly startIndex: number };

/** @throws ScimRefusal `invalidCount`, `invalidValue`. */
export function parseWant(startIndex?: string, count?: string, cursor?: string): Want {
  const most = whole(count, () => refuseAs("invalidCount", `count ${quote(count)} is not a whole number`));
  const atMost = most === undefined ? undefined : Math.max(0, most);
  if (cursor !== undefined) {
    if (startIndex !== undefined) refuseAs("invalidValue", "cursor and startIndex exclude one another");
    if (atMost === 0) refuseAs("invalidCount", "a walk by cursor needs a count of 1 or more");
    return { kind: "walk", cursor: cursor === "" ? undefined : cursor, count: atMost ?? walkPage };
  }
  const start = whole(startIndex, () => refuseAs("invalidValue", `startIndex ${quote(startIndex)} is no whole number`));
  // Whoever names a place walks, and would ask for the same empty page for ever.
  if (start !== undefined && atMost === 0) refuseAs("invalidCount", "a walk needs a count of 1 or more");
  return start !== undefined && start > 1 ? { kind: "further", startIndex: start } : { kind: "first", count: atMost };
}

function whole(text: string | undefined, otherwise: () => never): number | undefined {
  if (text === undefined || text === "") return undefined;
  return isWhole(text) ? Number(text) : otherwise();
}

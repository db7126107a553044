/** The parameters of the read endpoint. */

import { refuseAs } from "./errors.ts";
import type { Doc } from "./json.ts";

const names = [
  "filter",
  /** POSIX names with commas between: people who are in any of these groups. */
  "groups",
  /** `coreweave`: the account under CoreWeave's names too. */
  "alias",
  "attributes",
  "excludedAttributes",
  "startIndex",
  "count",
  "cursor",
] as const;

export type ClusterQuery = Readonly<Partial<Record<(typeof names)[number], string>>>;

/** Others are ignored, as HTTP clients expect. @throws ScimRefusal `invalidValue`: one is given twice. */
export function readClusterQuery(stated: Doc): ClusterQuery {
  const read: Partial<Record<(typeof names)[number], string>> = {};
  for (const name of names) {
    const value = Object.hasOwn(stated, name) ? stated[name] : undefined;
    if (typeof value === "string") read[name] = value;
    else if (value !== undefined) refuseAs("invalidValue", `${name} is given more than once`);
  }
  return read;
}

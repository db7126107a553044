/** Pages of a list. A token is the place where the next page begins; clients must not read it. */

import { quote, refuse } from "../../identity/refusal.ts";

/** What every list request carries. */
export interface Wanted {
  readonly pageSize: number;
  readonly pageToken: string;
}

const usual = 100;
const most = 1000;

/** One page of a list: `fetch` is asked for one item more, which tells whether there is a next page. */
export async function paged<T>(
  wanted: Wanted,
  fetch: (page: { offset: number; limit: number }) => Promise<readonly T[]>,
): Promise<{ items: readonly T[]; nextPageToken: string }> {
  const limit = limitOf(wanted);
  const offset = parseToken(wanted.pageToken);
  const found = await fetch({ offset, limit: limit + 1 });
  const nextPageToken = found.length > limit ? printToken(offset + limit) : "";
  return { items: found.slice(0, limit), nextPageToken };
}

/** How many items a page has at most. @throws Refusal `invalid`. */
export function limitOf({ pageSize }: Pick<Wanted, "pageSize">): number {
  if (pageSize < 0) refuse("invalid", `page_size ${pageSize} is negative`);
  return Math.min(pageSize === 0 ? usual : pageSize, most);
}

function printToken(offset: number): string {
  return Buffer.from(`from ${offset}`).toString("base64url");
}

function parseToken(token: string): number {
  if (token === "") return 0;
  const [, digits] = /^from ([1-9][0-9]{0,8})$/.exec(Buffer.from(token, "base64url").toString()) ?? [];
  const offset = Number(digits);
  if (printToken(offset) !== token)
    refuse("invalid", `page_token ${quote(token)} is not a next_page_token of this list`);
  return offset;
}

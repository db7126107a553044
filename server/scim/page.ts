/** Pages by place (RFC 7644, section 3.4.2.4), and the answer that carries one. */

import { quote } from "../../identity/refusal.ts";
import type { Page } from "../store/users.ts";
import { refuseAs } from "./errors.ts";
import type { Doc } from "./json.ts";

export const mostResults = 1000;

export const usualResults = 100;

export interface ListPage {
  /** 1 is the first resource. */
  readonly startIndex: number;
  readonly rows: Page;
}

/** @throws ScimRefusal `invalidValue`: not whole numbers. What is out of range is brought into it, as the RFC asks. */
export function parsePage(startIndex: string | undefined, count: string | undefined): ListPage {
  const start = Math.max(1, whole("startIndex", startIndex) ?? 1);
  const limit = Math.min(mostResults, Math.max(0, whole("count", count) ?? usualResults));
  return { startIndex: start, rows: { offset: start - 1, limit } };
}

export function listResponse(resources: readonly Doc[], total: number, startIndex: number): Doc {
  return {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
    totalResults: total,
    startIndex,
    itemsPerPage: resources.length,
    Resources: resources,
  };
}

/** One page of a walk (RFC 9865, section 2); the last one has no cursor. */
export function walkResponse(resources: readonly Doc[], total: number, nextCursor: string | undefined): Doc {
  return {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
    totalResults: total,
    itemsPerPage: resources.length,
    ...(nextCursor !== undefined && { nextCursor }),
    Resources: resources,
  };
}

/** @throws ScimRefusal `invalidCount`: no whole number, or below 0. More than one answer holds is brought down. */
export function parseWalkCount(count: string | undefined): number {
  if (count === undefined || count === "") return usualResults;
  if (!isWhole(count) || Number(count) < 0)
    refuseAs("invalidCount", `count ${quote(count)} is not a number of results`);
  return Math.min(mostResults, Number(count));
}

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  return isWhole(text) ? Number(text) : refuseAs("invalidValue", `${name} ${quote(text)} is not a whole number`);
}

/** Of digits, with a sign perhaps. */
export function isWhole(text: string): boolean {
  return /^[+-]?[0-9]{1,15}$/.test(text);
}

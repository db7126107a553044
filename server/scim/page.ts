/** Pages by place (RFC 7644, section 3.4.2.4), and the answer that carries one. */

import { quote } from "../../identity/refusal.ts";
import type { Page } from "../store/users.ts";
import { refuseAs } from "./errors.ts";
import type { Doc } from "./json.ts";

export const mostResults = 1000;

const usualResults = 100;

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

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^[+-]?[0-9]{1,15}$/.test(text)) refuseAs("invalidValue", `${name} ${quote(text)} is not a whole number`);
  return Number(text);
}

/** The body of a bulk request, parsed whole before anything of it is done. */

import { quote } from "../../identity/refusal.ts";
import { refuseAs, refuseWith } from "./errors.ts";
import { asObject, type Doc, property } from "./json.ts";

export interface BulkOperation {
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly bulkId: string | undefined;
  /** What `If-Match` would say. */
  readonly version: string | undefined;
  readonly data: unknown;
}

export interface BulkRequest {
  readonly operations: readonly BulkOperation[];
  /** How many errors end it; Infinity if none do. */
  readonly failOnErrors: number;
}

export const mostOperations = 1000;

const methods = ["POST", "PUT", "PATCH", "DELETE"] as const;

/** @throws ScimRefusal `invalidSyntax`; HttpRefusal 413: too many operations. */
export function parseBulk(body: Doc): BulkRequest {
  const stated = property(body, "Operations");
  if (!Array.isArray(stated)) return refuseAs("invalidSyntax", "a bulk request must have an array of Operations");
  if (stated.length > mostOperations) {
    refuseWith(413, `a bulk request may have at most ${mostOperations} Operations (maxOperations)`);
  }
  const operations = stated.map(parseOperation);
  const seen = new Set<string>();
  for (const { bulkId } of operations) {
    if (bulkId === undefined) continue;
    if (seen.has(bulkId)) refuseAs("invalidSyntax", `two operations have the bulkId ${quote(bulkId)}`);
    seen.add(bulkId);
  }
  return { operations, failOnErrors: parseFailOnErrors(property(body, "failOnErrors") ?? undefined) };
}

function parseOperation(stated: unknown): BulkOperation {
  const operation = asObject(stated, "an operation");
  const verb = text(operation, "method")?.toUpperCase();
  const method = methods.find((each) => each === verb);
  if (!method) return refuseAs("invalidSyntax", `method ${quote(verb)} must be POST, PUT, PATCH or DELETE`);
  const path = text(operation, "path") ?? refuseAs("invalidSyntax", "an operation must have a path");
  const bulkId = text(operation, "bulkId");
  if (method === "POST" && !bulkId) refuseAs("invalidSyntax", "a POST must have a bulkId");
  return { method, path, bulkId, version: text(operation, "version"), data: property(operation, "data") };
}

function text(operation: Doc, name: string): string | undefined {
  const value = property(operation, name) ?? undefined;
  if (value === undefined || typeof value === "string") return value;
  return refuseAs("invalidSyntax", `${name} of an operation must be text`);
}

function parseFailOnErrors(stated: unknown): number {
  if (stated === undefined) return Number.POSITIVE_INFINITY;
  if (typeof stated === "number" && Number.isInteger(stated) && stated > 0) return stated;
  return refuseAs("invalidSyntax", "failOnErrors must be a whole number, 1 or more");
}

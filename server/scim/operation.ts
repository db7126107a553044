/** The operations of a PATCH body, in order. Entra writes `Add`, `Replace` and `Remove`. */

import { quote } from "../../identity/refusal.ts";
import { refuseAs } from "./errors.ts";
import { asObject, property } from "./json.ts";

export interface Operation {
  readonly op: "add" | "replace" | "remove";
  readonly path: string | undefined;
  /** Undefined if the operation states none. */
  readonly value: unknown;
}

const most = 1000;

/** @throws ScimRefusal `invalidSyntax`. */
export function parseOperations(body: unknown): Operation[] {
  const stated = property(asObject(body, "the body"), "Operations");
  if (!Array.isArray(stated) || stated.length === 0) {
    return refuseAs("invalidSyntax", "the body of a PATCH must have an array of Operations");
  }
  if (stated.length > most) refuseAs("invalidSyntax", `a PATCH may have at most ${most} Operations`);
  return stated.map(parseOperation);
}

function parseOperation(stated: unknown): Operation {
  const operation = asObject(stated, "an operation");
  const op = property(operation, "op");
  const path = property(operation, "path") ?? undefined;
  const verb = typeof op === "string" ? op.toLowerCase() : op;
  if (verb !== "add" && verb !== "replace" && verb !== "remove") {
    return refuseAs("invalidSyntax", `op ${quote(op)} must be add, replace or remove`);
  }
  if (path !== undefined && typeof path !== "string") return refuseAs("invalidPath", "path must be text");
  const value = property(operation, "value");
  if (verb === "remove" && path === undefined) return refuseAs("noTarget", "a remove must have a path");
  if (verb !== "remove" && value === undefined) return refuseAs("invalidSyntax", `${verb} must have a value`);
  return { op: verb, path, value };
}

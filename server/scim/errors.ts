/**
 * How a request that was turned down looks in SCIM (RFC 7644, section 3.12): one table from the domain's reasons, one
 * word (`scimType`) that tells the client which rule it broke. Anything that is neither is a bug of ours: "internal".
 */

import { type Reason, Refusal } from "../../identity/refusal.ts";

export const urnError = "urn:ietf:params:scim:api:messages:2.0:Error";

/** The words of RFC 7644, table 9, and of RFC 9865 that this edge uses. */
export type ScimType =
  | "invalidFilter"
  | "tooMany"
  | "uniqueness"
  | "mutability"
  | "invalidSyntax"
  | "invalidPath"
  | "noTarget"
  | "invalidValue"
  | "invalidCursor"
  | "expiredCursor"
  | "invalidCount";

/** A refusal whose SCIM word says more than its reason does. */
export class ScimRefusal extends Refusal {
  readonly scimType: ScimType;

  constructor(scimType: ScimType, message: string) {
    super("invalid", message);
    this.scimType = scimType;
  }
}

/** Turns a request down with a SCIM word, as an expression. */
export function refuseAs(scimType: ScimType, message: string): never {
  throw new ScimRefusal(scimType, message);
}

/** A refusal that only HTTP has a reason for; it has no SCIM word. */
export class HttpRefusal extends Refusal {
  readonly status: HttpStatus;

  constructor(status: HttpStatus, message: string) {
    super(status === 413 ? "invalid" : "conflict", message);
    this.status = status;
  }
}

/** 409: what a bulk operation needs is not there; 412: a stale version; 413: too much in one request. */
export type HttpStatus = 409 | 412 | 413;

/** Turns a request down with a status of HTTP's, as an expression. */
export function refuseWith(status: HttpStatus, message: string): never {
  throw new HttpRefusal(status, message);
}

export const httpStatus = {
  invalid: 400,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  exhausted: 507,
  unavailable: 503,
} as const satisfies Record<Reason, number>;

const usualScimType: Partial<Record<Reason, ScimType>> = { invalid: "invalidValue", conflict: "uniqueness" };

/** What is said to the client, and whether it is our own trouble: a bug, or a database that is away (then the log has the rest). */
export interface Failure {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly bug: boolean;
}

/** When to come back after a 503, in seconds: a database restarts in some. Identity providers know whole numbers only. */
export const retryAfter = 5;

export function failureOf(error: unknown): Failure {
  if (error instanceof HttpRefusal) return { ...failure(error.status, error.message), bug: false };
  if (error instanceof Refusal) {
    const scimType = error instanceof ScimRefusal ? error.scimType : usualScimType[error.reason];
    return { ...failure(httpStatus[error.reason], error.message, scimType), bug: error.reason === "unavailable" };
  }
  const status = refusedByFastify(error);
  if (status !== undefined) return { ...failure(status, transport[status], undefined), bug: false };
  return { ...failure(500, "internal", undefined), bug: true };
}

export function failure(status: number, detail: string, scimType?: ScimType): Omit<Failure, "bug"> {
  return { status, body: { schemas: [urnError], ...(scimType && { scimType }), detail, status: String(status) } };
}

const transport = {
  400: "the request is not well-formed HTTP",
  408: "the body did not arrive in time",
  413: "the body is too large",
  415: "the body must be application/scim+json or application/json",
} as const;

// Fastify's own messages are not passed on: they quote what was sent, which may hold a password.
function refusedByFastify(error: unknown): keyof typeof transport | undefined {
  if (!(error instanceof Error) || !("statusCode" in error) || !("code" in error)) return undefined;
  if (typeof error.code !== "string" || !error.code.startsWith("FST_")) return undefined;
  return ([400, 408, 413, 415] as const).find((status) => status === error.statusCode);
}

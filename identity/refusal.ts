/**
 * A refusal is a request that was understood and turned down. The domain knows reasons, never status codes: each edge
 * (SCIM, gRPC, CLI) has one table from reason to its own code. Anything thrown that is not a Refusal is a bug of ours.
 */

/** Why a request was turned down. */
export type Reason =
  /** The request breaks a rule that no other state could satisfy. */
  | "invalid"
  /** The caller is known, and may not do this. */
  | "forbidden"
  /** The thing named does not exist, or the caller may not know that it does. */
  | "not-found"
  /** The state forbids it now: a name that is taken, a token that is spent. */
  | "conflict"
  /** A range or a limit is used up. */
  | "exhausted"
  /** Nothing is wrong with the request: what it needs is away for now, and it may be made again. */
  | "unavailable";

/** Thrown for a request that is turned down; the message is for the person who made it: what, where, which rule. */
export class Refusal extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Refusal";
    this.reason = reason;
  }
}

/** Turns a request down, as an expression: `const user = (await find(id)) ?? refuse("not-found", ...)`. */
export function refuse(reason: Reason, message: string): never {
  throw new Refusal(reason, message);
}

/** Quotes a value that a stranger sent, for a message: control characters and anything beyond ASCII escaped, cut at 64. */
export function quote(value: unknown): string {
  // Not String() of an object: that asks the object for its own toString, which a stranger's JSON may hold.
  const isPlain = typeof value === "string" || typeof value === "number" || typeof value === "bigint";
  const text = isPlain ? String(value) : (JSON.stringify(value) ?? typeof value);
  const cut = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  return JSON.stringify(cut).replace(
    /[\u007f-\u2025\u2027-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

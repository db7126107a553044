/** How a token request that was turned down looks (RFC 6749, section 5.2): one word of a few, and a sentence for people. */

import { Refusal } from "../../identity/refusal.ts";

const statuses = {
  invalid_request: 400,
  invalid_client: 401,
  unsupported_grant_type: 400,
  temporarily_unavailable: 429,
} as const;

type Word = keyof typeof statuses;

/** What is answered, whether the client used the Basic scheme and must be told of it, and whether it is our own trouble, which the log tells. */
export interface OauthFailure {
  readonly status: number;
  readonly body: { readonly error: string; readonly error_description?: string };
  readonly challenge: boolean;
  readonly bug: boolean;
}

export class OauthError extends Error {
  readonly word: Word;
  readonly challenge: boolean;

  /** The message holds nothing that was sent: it may be a secret. */
  constructor(word: Word, message: string, challenge = false) {
    super(message);
    this.name = "OauthError";
    this.word = word;
    this.challenge = challenge;
  }

  /** Turns a request down, as an expression. */
  static refuse(word: Word, message: string): never {
    throw new OauthError(word, message);
  }

  static of(error: unknown): OauthFailure {
    if (error instanceof OauthError) {
      const { word, message, challenge } = error;
      return {
        status: statuses[word],
        body: { error: word, error_description: message },
        challenge,
        bug: false,
      };
    }
    if (error instanceof Refusal && error.reason === "unavailable") {
      const body = { error: "temporarily_unavailable", error_description: error.message };
      return { status: 503, body, challenge: false, bug: true };
    }
    const status = refusedByFastify(error);
    if (status === undefined) return { status: 500, body: { error: "server_error" }, challenge: false, bug: true };
    return {
      // A body of another type is only a malformed request to RFC 6749.
      status: status === 415 ? 400 : status,
      body: { error: "invalid_request", error_description: transport[status] },
      challenge: false,
      bug: false,
    };
  }
}

const transport = {
  400: "the request is not well-formed HTTP",
  408: "the body did not arrive in time",
  413: "the body is too large",
  415: "the body must be application/x-www-form-urlencoded",
} as const;

// Fastify's own messages are not passed on: they quote what was sent.
function refusedByFastify(error: unknown): keyof typeof transport | undefined {
  if (!(error instanceof Error) || !("statusCode" in error) || !("code" in error)) return undefined;
  if (typeof error.code !== "string" || !error.code.startsWith("FST_")) return undefined;
  return ([400, 408, 413, 415] as const).find((status) => status === error.statusCode);
}

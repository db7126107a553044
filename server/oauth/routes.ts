/**
 * OAuth 2.0 client credentials at `/oauth/token` (RFC 6749, sections 2.3.1, 4.4, 5), as a fastify plugin: a client shows its
 * id and secret and gets an access token for SCIM. Nothing that was sent is said back or logged.
 */

import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from "fastify";
import { issueAccessToken } from "../directory/access-tokens.ts";
import type { Context } from "../directory/context.ts";
import { OauthError } from "./error.ts";
import { parseForm, readCredentials } from "./request.ts";

/** When to come back while the database is away, in seconds. */
const retryAfter = 5;

/** No token request is longer; the credentials are some hundred bytes. */
const largestBody = 8 * 1024;

export interface OauthOptions {
  /** How many requests of one address may fail per minute before more are turned away unread; absent: any number. */
  readonly failures?: number | undefined;
}

export function oauth(ctx: Context, { failures }: OauthOptions = {}): FastifyPluginAsync {
  return async (app) => {
    await app.register(
      async (scope) => {
        const strangers = await countFailures(scope, failures);
        speakOauth(scope, strangers);
        scope.post("/token", async (request, reply) => reply.send(await answer(ctx, request)));
      },
      { prefix: "/oauth" },
    );
  };
}

async function answer(ctx: Context, { headers, body }: FastifyRequest): Promise<object> {
  const form = body instanceof Map ? (body as ReadonlyMap<string, string>) : new Map<string, string>();
  const grant = form.get("grant_type") ?? OauthError.refuse("invalid_request", "grant_type is missing");
  const { id, secret, challenge } = readCredentials(headers.authorization, form);
  if (grant !== "client_credentials") OauthError.refuse("unsupported_grant_type", "only client_credentials is offered");
  const made = await issueAccessToken(ctx, id, secret);
  if (!made) throw new OauthError("invalid_client", "no live client has this id and secret", challenge);
  const { createdAt, expiresAt = createdAt } = made.token;
  return {
    access_token: made.secret,
    token_type: "Bearer",
    expires_in: Math.floor((expiresAt - createdAt) / 1000),
  };
}

function speakOauth(scope: FastifyInstance, strangers: Strangers): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "buffer", bodyLimit: largestBody },
    async (_: FastifyRequest, body: Buffer) => parseForm(body),
  );
  scope.addHook("onRequest", async (request, reply) => {
    reply.headers({ "cache-control": "no-store", pragma: "no-cache" });
    const wait = await strangers.wait(request);
    if (wait === undefined) return;
    reply.header("retry-after", wait);
    throw new OauthError("temporarily_unavailable", "too many requests from this address have failed");
  });
  scope.setErrorHandler(async (error, request, reply) => {
    const { status, body, challenge, bug } = OauthError.of(error);
    if (bug) request.log.error({ err: error }, "token request failed");
    // Who asks while the database is away has done nothing wrong.
    if (status === 503) reply.header("retry-after", retryAfter);
    else if (status !== 429) await strangers.count(request);
    if (challenge) reply.header("www-authenticate", 'Basic realm="oauth"');
    return reply.code(status).send(body);
  });
  scope.setNotFoundHandler((_, reply) => {
    return reply.code(404).send({ error: "invalid_request", error_description: "only POST /oauth/token is offered" });
  });
}

/** What is known of addresses whose requests fail. */
interface Strangers {
  /** How many seconds an address must wait; undefined if it may ask. Nothing of its request was read yet. */
  wait(request: FastifyRequest): Promise<number | undefined>;
  /** A request of the address has failed. */
  count(request: FastifyRequest): Promise<unknown>;
}

async function countFailures(scope: FastifyInstance, failures: number | undefined): Promise<Strangers> {
  if (failures === undefined) return { wait: async () => undefined, count: async () => {} };
  await scope.register(rateLimit, { global: false });
  const limit = scope.createRateLimit({ max: failures, timeWindow: 60_000 });
  return {
    async wait(request) {
      const seen = await limit(request, { increment: false });
      return seen.isAllowed || seen.remaining > 0 ? undefined : Math.max(1, seen.ttlInSeconds);
    },
    count: (request) => limit(request),
  };
}

/** What every SCIM answer has in common, whichever endpoint gives it: its form, also of failures, and what it says of itself. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { refuse } from "../../identity/refusal.ts";
import type { Discovery } from "./discovery.ts";
import type { Answer } from "./endpoint.ts";
import { failure, failureOf, httpStatus, retryAfter } from "./errors.ts";

export const mediaType = "application/scim+json";

export function say(reply: FastifyReply, { status, location, version, body }: Answer): FastifyReply {
  reply.code(status);
  if (version !== undefined) reply.header("etag", version);
  if (location !== undefined) reply.header("location", location);
  if (!body) return reply.send();
  return reply.type(mediaType).send(JSON.stringify(body));
}

/** Turns whatever is thrown, and whatever nothing answers, into SCIM's error form. */
export function answerFailures(scope: FastifyInstance): void {
  scope.setErrorHandler((error, request, reply) => {
    const { status, body, bug } = failureOf(error);
    if (bug) request.log.error({ err: error }, "scim request failed");
    if (status === httpStatus.unavailable) reply.header("retry-after", retryAfter);
    return say(reply, { status, body });
  });
  scope.setNotFoundHandler((request, reply) => {
    return say(reply, failure(404, `nothing answers ${request.method} here`));
  });
}

/** Serves what can be asked about the endpoint itself, which takes no filter (RFC 7644, section 4). */
export function addDiscovery(
  scope: FastifyInstance,
  discovery: Discovery,
  ask: (request: FastifyRequest) => { readonly base: string; readonly filter: string | undefined },
): void {
  for (const [path, render] of discovery) {
    scope.get<{ Params: { name?: string } }>(path, async (request, reply) => {
      const { base, filter } = ask(request);
      if (filter !== undefined) refuse("forbidden", "discovery cannot be filtered");
      return say(reply, { status: 200, body: render(base, request.params.name ?? "") });
    });
  }
}

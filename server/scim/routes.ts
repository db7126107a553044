/**
 * SCIM 2.0 at `/scim/{org}/v2`, as a fastify plugin. It alone knows HTTP: it authenticates before a body is read, parses,
 * calls an endpoint, and turns whatever was thrown into SCIM's error form. What it does not know is 404, in that form.
 */

import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";
import { quote, refuse } from "../../identity/refusal.ts";
import { show } from "../directory/actor.ts";
import type { Context } from "../directory/context.ts";
import { identify } from "./authentication.ts";
import * as discovery from "./discovery.ts";
import { type Answer, type Call, type Caller, type Endpoint, type QueryName, queryNames } from "./endpoint.ts";
import { failure, failureOf, refuseAs } from "./errors.ts";
import { groupEndpoint } from "./group-endpoint.ts";
import { asObject, type Doc, parseJson } from "./json.ts";
import { type Limit, limitRate } from "./rate.ts";
import { userEndpoint } from "./user-endpoint.ts";

const mediaType = "application/scim+json";

const largestBody = 1024 * 1024;

const endpoints: ReadonlyMap<string, Endpoint> = new Map([
  ["users", userEndpoint],
  ["groups", groupEndpoint],
]);

export interface ScimOptions {
  /** Asked per request, since a test's port is known only once it listens. */
  readonly baseUrl: () => string;
  /** Requests per second of one connection; 0 or absent: any number. */
  readonly rate?: number | undefined;
}

export function scim(ctx: Context, options: ScimOptions): FastifyPluginAsync {
  return async (app) => {
    await app.register(
      async (scope) => {
        speakScim(scope);
        const limit = await limitRate(scope, options.rate, (request) => connectionOf(callerOf(request)));
        guard(scope, ctx, options.baseUrl, limit);
        addResources(scope, ctx);
        addDiscovery(scope);
      },
      { prefix: "/scim/:org/v2" },
    );
  };
}

function speakScim(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(
    [mediaType, "application/json"],
    { parseAs: "buffer", bodyLimit: largestBody },
    async (_: FastifyRequest, body: Buffer) => (body.length === 0 ? undefined : parseJson(body)),
  );
  scope.setErrorHandler((error, request, reply) => {
    const { status, body, bug } = failureOf(error);
    if (bug) request.log.error({ err: error }, "scim request failed");
    return say(reply, { status, body });
  });
  scope.setNotFoundHandler((request, reply) => {
    return say(reply, failure(404, `nothing answers ${request.method} here`));
  });
}

function guard(scope: FastifyInstance, ctx: Context, baseUrl: () => string, limit: Limit): void {
  scope.decorateRequest("caller", null);
  scope.addHook<{ Params: { org: string } }>("onRequest", async (request, reply) => {
    const caller = await identify(ctx, request.headers.authorization, request.params.org ?? "", baseUrl());
    if (caller) {
      request.setDecorator("caller", caller);
      const wait = await limit(request);
      if (wait === undefined) return;
      reply.header("retry-after", wait);
      return say(reply, failure(429, "this connection asks too often; Retry-After says how many seconds to wait"));
    }
    reply.header("www-authenticate", 'Bearer realm="scim"');
    return say(reply, failure(401, "the request must carry Authorization: Bearer and a live token"));
  });
}

type OfType = { Params: { org: string; type: string } };
type OfOne = { Params: { org: string; type: string; id: string } };

// Entra's own collection of requests says /users: the segment is matched whatever its case.
function addResources(scope: FastifyInstance, ctx: Context): void {
  const call = (request: FastifyRequest): Call => ({ ...callerOf(request), ctx, query: queryOf(request) });
  scope.get<OfType>("/:type", async (request, reply) => say(reply, await endpointOf(request).list(call(request))));
  scope.post<OfType>("/:type", async (request, reply) => {
    return say(reply, await endpointOf(request).create(call(request), bodyOf(request)));
  });
  scope.get<OfOne>("/:type/:id", async (request, reply) => {
    return say(reply, await endpointOf(request).get(call(request), request.params.id));
  });
  scope.put<OfOne>("/:type/:id", async (request, reply) => {
    return say(reply, await endpointOf(request).replace(call(request), request.params.id, bodyOf(request)));
  });
  scope.patch<OfOne>("/:type/:id", async (request, reply) => {
    return say(reply, await endpointOf(request).patch(call(request), request.params.id, bodyOf(request)));
  });
  scope.delete<OfOne>("/:type/:id", async (request, reply) => {
    return say(reply, await endpointOf(request).remove(call(request), request.params.id));
  });
}

function addDiscovery(scope: FastifyInstance): void {
  const answer = (path: string, render: (base: string, name: string) => Doc): void => {
    scope.get<{ Params: { name?: string } }>(path, async (request, reply) => {
      if (queryOf(request).filter !== undefined) refuse("forbidden", "discovery cannot be filtered");
      return say(reply, { status: 200, body: render(callerOf(request).base, request.params.name ?? "") });
    });
  };
  answer("/ServiceProviderConfig", (base) => discovery.serviceProviderConfig(base));
  answer("/ResourceTypes", (base) => discovery.resourceTypes(base));
  answer("/ResourceTypes/:name", (base, name) => discovery.resourceType(name, base));
  answer("/Schemas", (base) => discovery.schemas(base));
  answer("/Schemas/:name", (base, name) => discovery.schema(name, base));
  scope.all("/Me", async (_, reply) => say(reply, failure(501, "a token is no person: /Me is not offered")));
}

function endpointOf({ params: { type } }: FastifyRequest<OfType>): Endpoint {
  return endpoints.get(type.toLowerCase()) ?? refuse("not-found", `no endpoint ${quote(type)}`);
}

function callerOf(request: FastifyRequest): Caller {
  return request.getDecorator<Caller>("caller");
}

function connectionOf({ org, actor }: Caller): string {
  return `${org} ${show(actor)}`;
}

function queryOf({ query }: FastifyRequest): Partial<Record<QueryName, string>> {
  const stated = query as Doc;
  const read: Partial<Record<QueryName, string>> = {};
  for (const name of queryNames) {
    const value = Object.hasOwn(stated, name) ? stated[name] : undefined;
    if (typeof value === "string") read[name] = value;
    else if (value !== undefined) refuseAs("invalidValue", `${name} is given more than once`);
  }
  return read;
}

function bodyOf({ body }: FastifyRequest): Doc {
  return asObject(body, "the body");
}

function say(reply: FastifyReply, { status, location, body }: Answer): FastifyReply {
  reply.code(status);
  if (location !== undefined) reply.header("location", location);
  if (!body) return reply.send();
  return reply.type(mediaType).send(JSON.stringify(body));
}

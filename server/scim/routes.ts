/**
 * SCIM 2.0 at `/scim/{org}/v2`, as a fastify plugin. It alone knows HTTP: it authenticates before a body is read, parses,
 * calls an endpoint, and turns whatever was thrown into SCIM's error form. What it does not know is 404, in that form.
 */

import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from "fastify";
import { quote, refuse } from "../../identity/refusal.ts";
import { show } from "../directory/actor.ts";
import type { Context } from "../directory/context.ts";
import { identify } from "./authentication.ts";
import { bulk } from "./bulk.ts";
import { clusterScim } from "./cluster-routes.ts";
import { directoryDiscovery } from "./discovery.ts";
import type { Call, Caller, Endpoint } from "./endpoint.ts";
import { failure } from "./errors.ts";
import { groupEndpoint } from "./group-endpoint.ts";
import { asObject, type Doc, largestBody, parseJson } from "./json.ts";
import { list } from "./listing.ts";
import { locationOf } from "./meta.ts";
import { ifMatch, isHeld } from "./precondition.ts";
import { type Question, readQuery, readSearch } from "./question.ts";
import { type Limit, limitRate } from "./rate.ts";
import { addDiscovery, answerFailures, mediaType, say } from "./reply.ts";
import type { RightOfWay } from "./right-of-way.ts";
import { rootOf } from "./root.ts";
import { groupType, type ResourceType, userType } from "./schema.ts";
import { userEndpoint } from "./user-endpoint.ts";
import { Walks } from "./walks.ts";

interface Resource extends Endpoint {
  readonly type: ResourceType;
}

const users: Resource = { ...userEndpoint, type: userType };
const groups: Resource = { ...groupEndpoint, type: groupType };
const root = rootOf([users, groups]);

export interface ScimOptions {
  /** Asked per request, since a test's port is known only once it listens. */
  readonly baseUrl: () => string;
  /** Requests per second of one connection; 0 or absent: any number. */
  readonly rate?: number | undefined;
  /** Who goes first. */
  readonly way?: Pick<RightOfWay, "clear">;
}

export function scim(ctx: Context, options: ScimOptions): FastifyPluginAsync {
  return async (app) => {
    await app.register(
      async (scope) => {
        speakScim(scope);
        // Ours alone, whatever the client calls its request: the audit names it, and so does the answer.
        scope.setGenReqId(() => ctx.newId());
        const limit = await limitRate(scope, options.rate, (request) => connectionOf(callerOf(request)));
        guard(scope, ctx, options, limit);
        const walks = new Walks(ctx.store, () => ctx.now(), ctx.newSecret);
        scope.addHook("onRequest", () => walks.sweep());
        scope.addHook("onClose", () => walks[Symbol.asyncDispose]());
        addLists(scope, ctx, walks);
        addResources(scope, ctx);
        addBulk(scope, ctx);
        addDiscovery(scope, directoryDiscovery, (request) => {
          const { base, query } = callOf(ctx, request);
          return { base, filter: query.filter };
        });
        scope.all("/Me", async (_, reply) => say(reply, failure(501, "a token is no person: /Me is not offered")));
      },
      { prefix: "/scim/:org/v2" },
    );
    await app.register(clusterScim(ctx, options));
  };
}

function speakScim(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(
    [mediaType, "application/json"],
    { parseAs: "buffer", bodyLimit: largestBody },
    async (_: FastifyRequest, body: Buffer) => (body.length === 0 ? undefined : parseJson(body)),
  );
  answerFailures(scope);
}

function guard(scope: FastifyInstance, ctx: Context, { baseUrl, way }: ScimOptions, limit: Limit): void {
  scope.decorateRequest("caller", null);
  scope.addHook<{ Params: { org: string } }>("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    const caller = await identify(ctx, request.headers.authorization, request.params.org ?? "", baseUrl(), request.id);
    if (caller) {
      request.setDecorator("caller", caller);
      const wait = await limit(request);
      if (wait === undefined) return way?.clear();
      reply.header("retry-after", wait);
      return say(reply, failure(429, "this connection asks too often; Retry-After says how many seconds to wait"));
    }
    reply.header("www-authenticate", 'Bearer realm="scim"');
    return say(reply, failure(401, "the request must carry Authorization: Bearer and a live token"));
  });
}

type OfType = { Params: { org: string; type: string } };
type OfOne = { Params: { org: string; type: string; id: string } };

/** Lists, asked for by the URL or by a body (RFC 7644, section 3.4.3). */
function addLists(scope: FastifyInstance, ctx: Context, walks: Walks): void {
  scope.get("/", async (request, reply) => say(reply, await list(callOf(ctx, request), root, "", walks)));
  scope.get<OfType>("/:type", async (request, reply) => {
    const resource = resourceOf(request.params.type);
    return say(reply, await list(callOf(ctx, request), resource, resource.type.name, walks));
  });
  scope.post("/.search", async (request, reply) => {
    return say(reply, await list(callOf(ctx, request, readSearch(bodyOf(request))), root, "", walks));
  });
  scope.post<OfType>("/:type/.search", async (request, reply) => {
    const resource = resourceOf(request.params.type);
    const call = callOf(ctx, request, readSearch(bodyOf(request)));
    return say(reply, await list(call, resource, resource.type.name, walks));
  });
}

function addResources(scope: FastifyInstance, ctx: Context): void {
  const call = (request: FastifyRequest): Call => callOf(ctx, request);
  scope.post<OfType>("/:type", async (request, reply) => {
    return say(reply, await endpointOf(request).create(call(request), bodyOf(request)));
  });
  scope.get<OfOne>("/:type/:id", async (request, reply) => {
    const answer = await endpointOf(request).get(call(request), request.params.id);
    const { version } = answer;
    const known = version !== undefined && isHeld(request.headers["if-none-match"], version);
    return say(reply, known ? { status: 304, version } : answer);
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

function addBulk(scope: FastifyInstance, ctx: Context): void {
  scope.post("/Bulk", async (request, reply) => {
    const call = callOf(ctx, request, {});
    const answer = await bulk(call, bodyOf(request), {
      endpoint: (segment) => {
        const resource = resourceOf(segment);
        return { endpoint: resource, location: (id) => locationOf(resource.type, id, call.base) };
      },
      bug: (err) => request.log.error({ err }, "scim bulk operation failed"),
    });
    return say(reply, answer);
  });
}

function endpointOf({ params: { type } }: FastifyRequest<OfType>): Endpoint {
  return resourceOf(type);
}

/** Entra's own collection of requests says /users: the segment is matched whatever its case. */
function resourceOf(segment: string): Resource {
  const wanted = `/${segment.toLowerCase()}`;
  const found = [users, groups].find(({ type }) => type.endpoint.toLowerCase() === wanted);
  return found ?? refuse("not-found", `no endpoint ${quote(segment)}`);
}

function callOf(ctx: Context, request: FastifyRequest, question?: Question): Call {
  return {
    ...callerOf(request),
    ctx,
    reader: ctx.store,
    query: question ?? readQuery(request.query as Doc),
    when: ifMatch(request.headers["if-match"]),
  };
}

function callerOf(request: FastifyRequest): Caller {
  return request.getDecorator<Caller>("caller");
}

function connectionOf({ org, actor }: Caller): string {
  return `${org} ${show(actor)}`;
}

function bodyOf({ body }: FastifyRequest): Doc {
  return asObject(body, "the body");
}

/**
 * A cluster's people as SCIM, to be read by what fills its nodes today (nsscache): `/scim/{org}/{cluster}/v2`. Every answer is
 * whole and of one revision, or it is an error status: such clients delete whoever an answer leaves out.
 */

import { Readable } from "node:stream";
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from "fastify";
import { quote, refuse } from "../../identity/refusal.ts";
import type { Context } from "../directory/context.ts";
import { Views } from "./cluster-cache.ts";
import { clusterDiscovery } from "./cluster-discovery.ts";
import { type ClusterEndpoint, clusterGroups, clusterUsers } from "./cluster-list.ts";
import { type ClusterQuery, readClusterQuery } from "./cluster-query.ts";
import { identifyReader, type Place, type Reader } from "./cluster-reader.ts";
import { failure } from "./errors.ts";
import type { Doc } from "./json.ts";
import { addDiscovery, answerFailures, mediaType, say } from "./reply.ts";

/** The plugin; `baseUrl` is asked per request, since a test's port is known only once it listens. */
export function clusterScim(ctx: Context, options: { readonly baseUrl: () => string }): FastifyPluginAsync {
  return async (app) => {
    await app.register(
      async (scope) => {
        answerFailures(scope);
        guard(scope, ctx, options.baseUrl);
        addResources(scope, ctx);
        addDiscovery(scope, clusterDiscovery, (request) => ({
          base: readerOf(request).base,
          filter: queryOf(request).filter,
        }));
      },
      { prefix: "/scim/:org/:cluster/v2" },
    );
  };
}

function guard(scope: FastifyInstance, ctx: Context, baseUrl: () => string): void {
  scope.decorateRequest("reader", null);
  scope.addHook<{ Params: Partial<Place> }>("onRequest", async (request, reply) => {
    const { org = "", cluster = "" } = request.params;
    const reader = await identifyReader(ctx, request.headers.authorization, { org, cluster }, baseUrl());
    if (!reader) {
      reply.header("www-authenticate", 'Bearer realm="scim"');
      return say(reply, failure(401, "the request must carry Authorization: Bearer and a live read token"));
    }
    if (request.method !== "GET") {
      reply.header("allow", "GET");
      return say(reply, failure(405, "a cluster is only read here"));
    }
    request.setDecorator("reader", reader);
  });
}

type OfType = { Params: { type: string } };
type OfOne = { Params: { type: string; id: string } };

function addResources(scope: FastifyInstance, ctx: Context): void {
  const views = new Views(ctx);
  const endpoints: ReadonlyMap<string, ClusterEndpoint> = new Map([
    ["users", clusterUsers(ctx, views)],
    ["groups", clusterGroups(ctx, views)],
  ]);
  const endpointOf = (type: string): ClusterEndpoint =>
    endpoints.get(type.toLowerCase()) ?? refuse("not-found", `no endpoint ${quote(type)}`);
  scope.get<OfType>("/:type", { exposeHeadRoute: false }, async (request, reply) => {
    const answer = await endpointOf(request.params.type).list(readerOf(request), queryOf(request));
    return reply.type(mediaType).send(Readable.from(answer));
  });
  scope.get<OfOne>("/:type/:id", { exposeHeadRoute: false }, async (request, reply) => {
    const { type, id } = request.params;
    const body = await endpointOf(type).get(readerOf(request), queryOf(request), id);
    return say(reply, { status: 200, body });
  });
}

function readerOf(request: FastifyRequest): Reader {
  return request.getDecorator<Reader>("reader");
}

function queryOf({ query }: FastifyRequest): ClusterQuery {
  return readClusterQuery(query as Doc);
}

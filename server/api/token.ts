/** TokenService: secrets that let others in, shown once. */

import type { ServiceImpl } from "@connectrpc/connect";
import { refuse } from "../../identity/refusal.ts";
import {
  CreateJoinTokenResponseSchema,
  type ScimToken,
  ScimToken_Kind,
  ScimTokenSchema,
  type TokenService,
} from "../../proto/gen/rollcall/v1/token_pb.ts";
import { parseMillis, parseRole, printTime } from "../../proto/wire.ts";
import { clusterName, orgName } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import {
  createJoinToken,
  createReadToken,
  createScimToken,
  listScimTokens,
  type Made,
  revokeScimToken,
  rotateScimToken,
} from "../directory/tokens.ts";
import type { Token } from "../store/tokens.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";

export function tokenService(ctx: Context, publicUrl: () => string): ServiceImpl<typeof TokenService> {
  const show = async (token: Token): Promise<ScimToken> => printScimToken(token, await placeOf(ctx, token));
  return {
    async createScimToken({ org, name, cluster, oauth, ttl }, call) {
      const actor = actorOf(call);
      if (oauth && cluster !== "")
        refuse("invalid", "oauth and cluster cannot be together: a client writes a directory");
      const lasting = ttl && parseMillis(ttl);
      const made =
        cluster === ""
          ? await createScimToken(ctx, actor, orDefault(org), name, { kind: oauth ? "client" : "scim", ttl: lasting })
          : await createReadToken(ctx, actor, cluster, name, { org: org === "" ? undefined : org, ttl: lasting });
      return handOver(made, await placeOf(ctx, made.token), publicUrl());
    },
    async listScimTokens(request) {
      const { items, nextPageToken } = await paged(request, (page) =>
        listScimTokens(ctx, orDefault(request.org), page),
      );
      return { scimTokens: await Promise.all(items.map(show)), nextPageToken };
    },
    async rotateScimToken({ id, overlap }, call) {
      const made = await rotateScimToken(ctx, actorOf(call), id, overlap && parseMillis(overlap));
      const place = await placeOf(ctx, made.token);
      return { ...handOver(made, place, publicUrl()), replaced: printScimToken(made.replaced, place) };
    },
    async revokeScimToken({ id }, call) {
      return { scimToken: await show(await revokeScimToken(ctx, actorOf(call), id)) };
    },
    async createJoinToken({ cluster, role, ttl }, call) {
      const lasting = ttl && parseMillis(ttl);
      const { secret, expiresAt } = await createJoinToken(
        ctx,
        actorOf(call),
        orDefault(cluster),
        parseRole(role),
        lasting,
      );
      return message(CreateJoinTokenResponseSchema, { token: secret, expiresAt: printTime(expiresAt) });
    },
  };
}

/** What an operator calls the org and the cluster of a token; empty: none. */
interface Place {
  readonly org: string;
  readonly cluster: string;
}

async function placeOf(ctx: Context, { org, cluster }: Token): Promise<Place> {
  return {
    org: org === undefined ? "" : await orgName(ctx, org),
    cluster: cluster === undefined ? "" : await clusterName(ctx, cluster),
  };
}

/** Everything that must be entered elsewhere, in the one answer that holds the secret. */
function handOver({ secret, token }: Made, place: Place, url: string) {
  const isClient = token.kind === "client";
  return {
    token: secret,
    baseUrl: place.cluster === "" ? `${url}/scim/${place.org}/v2` : `${url}/scim/${place.org}/${place.cluster}/v2`,
    scimToken: printScimToken(token, place),
    clientId: isClient ? token.id : "",
    tokenUrl: isClient ? `${url}/oauth/token` : "",
  };
}

const kinds = {
  admin: ScimToken_Kind.UNSPECIFIED,
  scim: ScimToken_Kind.SCIM,
  read: ScimToken_Kind.READ,
  client: ScimToken_Kind.CLIENT,
} as const satisfies Record<Token["kind"], ScimToken_Kind>;

function printScimToken(token: Token, { org, cluster }: Place): ScimToken {
  return message(ScimTokenSchema, {
    id: token.id,
    org,
    name: token.name,
    kind: kinds[token.kind],
    cluster,
    createdAt: printTime(token.createdAt),
    expiresAt: printTime(token.expiresAt),
    lastUsedAt: printTime(token.lastUsedAt),
    revokedAt: printTime(token.revokedAt),
  });
}

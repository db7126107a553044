/** TokenService: secrets that let others in, shown once. */

import type { ServiceImpl } from "@connectrpc/connect";
import {
  CreateJoinTokenResponseSchema,
  type ScimToken,
  ScimTokenSchema,
  type TokenService,
} from "../../proto/gen/rollcall/v1/token_pb.ts";
import { parseMillis, parseRole, printTime } from "../../proto/wire.ts";
import { orgName } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { createJoinToken, createScimToken, listScimTokens, revokeScimToken } from "../directory/tokens.ts";
import type { Token } from "../store/tokens.ts";
import { message, orDefault } from "./field.ts";
import { paged } from "./page.ts";

export function tokenService(ctx: Context, publicUrl: () => string): ServiceImpl<typeof TokenService> {
  return {
    async createScimToken(request) {
      const org = orDefault(request.org);
      const { secret, token } = await createScimToken(ctx, org, request.name);
      const baseUrl = `${publicUrl()}/scim/${org}/v2`;
      return { token: secret, baseUrl, scimToken: printScimToken(token, org) };
    },
    async listScimTokens(request) {
      const org = orDefault(request.org);
      const { items, nextPageToken } = await paged(request, (page) => listScimTokens(ctx, org, page));
      return { scimTokens: items.map((token) => printScimToken(token, org)), nextPageToken };
    },
    async revokeScimToken({ id }) {
      const token = await revokeScimToken(ctx, id);
      return { scimToken: printScimToken(token, token.org === undefined ? "" : await orgName(ctx, token.org)) };
    },
    async createJoinToken({ cluster, role, ttl }) {
      const lasting = ttl && parseMillis(ttl);
      const { secret, expiresAt } = await createJoinToken(ctx, orDefault(cluster), parseRole(role), lasting);
      return message(CreateJoinTokenResponseSchema, { token: secret, expiresAt: printTime(expiresAt) });
    },
  };
}

function printScimToken({ id, name, createdAt, lastUsedAt, revokedAt }: Token, org: string): ScimToken {
  return message(ScimTokenSchema, {
    id,
    org,
    name,
    createdAt: printTime(createdAt),
    lastUsedAt: printTime(lastUsedAt),
    revokedAt: printTime(revokedAt),
  });
}

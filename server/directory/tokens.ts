/**
 * Commands on tokens. A secret is 256 random bits behind a prefix that says what it is; only its SHA-256 is kept, which is
 * enough for secrets that nobody can guess. Looking a token up by its hash tells an attacker's clock nothing.
 */

import { createHash } from "node:crypto";
import { quote, refuse } from "../../identity/refusal.ts";
import type { Role } from "../../identity/scope.ts";
import type { Token } from "../store/tokens.ts";
import type { Page } from "../store/users.ts";
import { clusterByName, orgByName } from "./clusters.ts";
import type { Context } from "./context.ts";

/** How long a join token can be used by default, and at most. */
export const joinTtl = { usual: 10 * 60_000, longest: 24 * 3_600_000 };

export function hashToken(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** Makes a token for operators; the secret is returned once. */
export async function createAdminToken(ctx: Context, name: string): Promise<string> {
  const secret = `rca_${ctx.newSecret()}`;
  await ctx.store.write(async (tx) => {
    await tx.tokens.add(newToken(ctx, secret, "admin", undefined, name));
  });
  return secret;
}

/** @throws Refusal `invalid` (the name), `not-found` (the org). */
export async function createScimToken(
  ctx: Context,
  orgName: string,
  name: string,
): Promise<{ secret: string; token: Token }> {
  checkTokenName(name);
  const secret = `rcs_${ctx.newSecret()}`;
  return ctx.store.write(async (tx) => {
    const org = await orgByName(tx, orgName);
    const token = newToken(ctx, secret, "scim", org.id, name);
    await tx.tokens.add(token);
    return { secret, token };
  });
}

/** Makes a token that reads one cluster. @throws Refusal `invalid` (the name), `not-found` (the cluster). */
export async function createReadToken(
  ctx: Context,
  clusterName: string,
  name: string,
): Promise<{ secret: string; token: Token }> {
  checkTokenName(name);
  const secret = `rcr_${ctx.newSecret()}`;
  return ctx.store.write(async (tx) => {
    const cluster = await clusterByName(tx, clusterName);
    const token = { ...newToken(ctx, secret, "read", cluster.org, name), cluster: cluster.id };
    await tx.tokens.add(token);
    return { secret, token };
  });
}

export async function listScimTokens(ctx: Context, orgName: string, page: Page): Promise<Token[]> {
  return ctx.store.read(async (tx) => {
    const org = await orgByName(tx, orgName);
    return tx.tokens.list("scim", org.id, page);
  });
}

/** @throws Refusal `not-found`. */
export async function revokeScimToken(ctx: Context, id: string): Promise<Token> {
  return ctx.store.write(async (tx) => {
    const token = await tx.tokens.get(id);
    if (token?.kind !== "scim") refuse("not-found", `no SCIM token ${quote(id)}`);
    await tx.tokens.revoke(id, ctx.now());
    return (await tx.tokens.get(id)) ?? token;
  });
}

/** The live token behind a secret; undefined if there is none (unknown and revoked are not told apart). */
export async function authenticate(ctx: Context, secret: string, kind: Token["kind"]): Promise<Token | undefined> {
  const token = await ctx.store.read((tx) => tx.tokens.byHash(hashToken(secret)));
  if (!token || token.kind !== kind || token.revokedAt !== undefined) return undefined;
  if (token.expiresAt !== undefined && token.expiresAt <= ctx.now()) return undefined;
  // Once a minute is enough to see that a token is used, and keeps reads free of writes.
  const now = ctx.now();
  if (token.lastUsedAt === undefined || now - token.lastUsedAt > 60_000) {
    await ctx.store.write((tx) => tx.tokens.used(token.id, now));
  }
  return token;
}

/** Makes a token with which one node can enrol once. @throws Refusal `not-found` (the cluster), `invalid` (ttl). */
export async function createJoinToken(
  ctx: Context,
  clusterName: string,
  role: Role,
  ttl: number = joinTtl.usual,
): Promise<{ secret: string; expiresAt: number }> {
  if (!(ttl > 0 && ttl <= joinTtl.longest)) refuse("invalid", "ttl must be more than 0 and at most 24 hours");
  const secret = `rcj_${ctx.newSecret()}`;
  return ctx.store.write(async (tx) => {
    const cluster = await clusterByName(tx, clusterName);
    const createdAt = ctx.now();
    const expiresAt = createdAt + ttl;
    await tx.tokens.addJoin({ hash: hashToken(secret), cluster: cluster.id, role, createdAt, expiresAt });
    return { secret, expiresAt };
  });
}

function checkTokenName(name: string): void {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) {
    refuse("invalid", `the connection name ${quote(name)} does not match [a-z0-9][a-z0-9-]{0,62}`);
  }
}

function newToken(ctx: Context, secret: string, kind: Token["kind"], org: string | undefined, name: string): Token {
  return {
    id: ctx.newId(),
    hash: hashToken(secret),
    kind,
    org,
    name,
    cluster: undefined,
    client: undefined,
    createdAt: ctx.now(),
    expiresAt: undefined,
    lastUsedAt: undefined,
    revokedAt: undefined,
  };
}

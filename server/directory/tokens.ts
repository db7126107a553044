/**
 * Commands on tokens. A secret is 256 random bits behind a prefix that says what it is; only its SHA-256 is kept, which is
 * enough for secrets that nobody can guess. Looking a token up by its hash tells an attacker's clock nothing.
 *
 * Tokens of one name in an org are one connection. Of each kind it has at most two live ones, so that one can take the
 * other's place without a gap, and a forgotten third cannot lie about.
 */

import { createHash } from "node:crypto";
import { quote, refuse } from "../../identity/refusal.ts";
import type { Role } from "../../identity/scope.ts";
import type { Tx } from "../store/store.ts";
import type { NamedToken, Token } from "../store/tokens.ts";
import type { Page } from "../store/users.ts";
import type { Actor } from "./actor.ts";
import { clusterByName, orgByName } from "./clusters.ts";
import type { Context } from "./context.ts";
import { named, record, tellToken, time } from "./record.ts";

const day = 24 * 3_600_000;

/** How long a join token can be used by default, and at most. */
export const joinTtl = { usual: 10 * 60_000, longest: day };

/** How long a token that was rotated still works by default, and at most. */
export const overlap = { usual: day, longest: 30 * day };

/** Longer would be as good as for ever, which is said by leaving it out. */
const longestTtl = 3650 * day;

/** A token, and the secret that is shown once. */
export interface Made {
  readonly secret: string;
  readonly token: Token;
}

export function hashToken(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** Makes a token for operators; the secret is returned once. */
export async function createAdminToken(ctx: Context, name: string): Promise<string> {
  const { secret, token } = make(ctx, { kind: "admin", org: undefined, name }, ctx.now());
  await ctx.store.write(async (tx) => {
    await tx.tokens.add(token);
    recordMade(tx, { kind: "server", cause: "seed" }, token);
  });
  return secret;
}

/**
 * Makes a token that writes an org's directory, or a client that gets itself such tokens.
 * @throws Refusal `invalid` (the name, the ttl), `not-found` (the org), `conflict` (two live ones are there).
 */
export async function createScimToken(
  ctx: Context,
  actor: Actor,
  orgName: string,
  name: string,
  { kind = "scim", ttl }: { readonly kind?: "scim" | "client"; readonly ttl?: number | undefined } = {},
): Promise<Made> {
  checkTokenName(name);
  checkTtl(ttl);
  return ctx.store.write(async (tx) => {
    const org = await orgByName(tx, orgName);
    return add(tx, ctx, actor, { kind, org: org.id, name }, ttl);
  });
}

/**
 * Makes a token that reads one cluster, which must be of the org if one is named.
 * @throws Refusal `invalid` (the name, the ttl), `not-found` (the cluster), `conflict` (two live ones are there).
 */
export async function createReadToken(
  ctx: Context,
  actor: Actor,
  clusterName: string,
  name: string,
  { org, ttl }: { readonly org?: string | undefined; readonly ttl?: number | undefined } = {},
): Promise<Made> {
  checkTokenName(name);
  checkTtl(ttl);
  return ctx.store.write(async (tx) => {
    const cluster = await clusterByName(tx, clusterName);
    if (org !== undefined && (await orgByName(tx, org)).id !== cluster.org) {
      refuse("not-found", `no cluster ${quote(clusterName)} in the org ${quote(org)}`);
    }
    return add(tx, ctx, actor, { kind: "read", org: cluster.org, name, cluster: cluster.id }, ttl);
  });
}

/** Tokens of an org's connections, dead ones too; access tokens are not among them. */
export async function listScimTokens(ctx: Context, orgName: string, page: Page): Promise<Token[]> {
  return ctx.store.read(async (tx) => {
    const org = await orgByName(tx, orgName);
    return tx.tokens.list(org.id, page);
  });
}

/**
 * Makes a token like a given one, with as long a life as that was given, and lets the old one work for a while longer.
 * @throws Refusal `invalid` (the overlap), `not-found`, `conflict` (it is dead, or another one is live beside it).
 */
export async function rotateScimToken(
  ctx: Context,
  actor: Actor,
  id: string,
  lasting: number = overlap.usual,
): Promise<Made & { readonly replaced: Token }> {
  if (!(lasting >= 0 && lasting <= overlap.longest)) refuse("invalid", "overlap must be 0 to 30 days");
  return ctx.store.write(async (tx) => {
    const old = await connectionToken(tx, id);
    const now = ctx.now();
    if (!isLive(old, now)) refuse("conflict", `the token ${id} no longer works: create a new one`);
    const ttl = old.expiresAt === undefined ? undefined : old.expiresAt - old.createdAt;
    const made = await add(tx, ctx, actor, old, ttl);
    const expiresAt = Math.min(now + Math.round(lasting), old.expiresAt ?? Number.POSITIVE_INFINITY);
    await tx.tokens.expire(id, expiresAt);
    const replaced = { ...old, expiresAt };
    recordChange(tx, actor, "token.expire", old, replaced);
    return { ...made, replaced };
  });
}

/** Ends a token; that of a client with all that it was issued. @throws Refusal `not-found`. */
export async function revokeScimToken(ctx: Context, actor: Actor, id: string): Promise<Token> {
  return ctx.store.write(async (tx) => {
    const token = await connectionToken(tx, id);
    await tx.tokens.revoke(id, ctx.now());
    const revoked = (await tx.tokens.get(id)) ?? token;
    recordChange(tx, actor, "token.revoke", token, revoked);
    return revoked;
  });
}

/** The live token behind a secret; undefined if there is none (unknown and revoked are not told apart). */
export async function authenticate(ctx: Context, secret: string, kind: Token["kind"]): Promise<NamedToken | undefined> {
  const { token, client } = await ctx.store.read(async (tx) => {
    const found = await tx.tokens.byHash(hashToken(secret));
    return { token: found, client: found?.client === undefined ? undefined : await tx.tokens.get(found.client) };
  });
  const now = ctx.now();
  if (token?.kind !== kind || !isLive(token, now)) return undefined;
  // An access token is only as good as the client that it was issued to.
  if (token.client !== undefined && !(client && isLive(client, now))) return undefined;
  // Once a minute is enough to see that a token is used, and keeps reads free of writes.
  const seen = client ?? token;
  if (seen.lastUsedAt === undefined || now - seen.lastUsedAt > 60_000) {
    await ctx.store.write((tx) => tx.tokens.used(seen.id, now));
  }
  return token;
}

/** Whether a token works at a moment, as far as it itself goes. */
export function isLive({ revokedAt, expiresAt }: Token, now: number): boolean {
  return revokedAt === undefined && (expiresAt === undefined || expiresAt > now);
}

/** Makes a token with which one node can enrol once. @throws Refusal `not-found` (the cluster), `invalid` (ttl). */
export async function createJoinToken(
  ctx: Context,
  actor: Actor,
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
    const after = { cluster: cluster.name, role, made: time(createdAt), expires: time(expiresAt) };
    record(tx, actor, { org: cluster.org, action: "join-token.create", subject: cluster.name, after });
    return { secret, expiresAt };
  });
}

/** What a token is made for. */
export type Purpose = Pick<Token, "kind" | "org" | "name"> & Partial<Pick<Token, "cluster" | "client" | "expiresAt">>;

/** A new token and its secret, not yet written. */
export function make(ctx: Context, { kind, org, name, cluster, client, expiresAt }: Purpose, createdAt: number): Made {
  const secret = `${client === undefined ? prefixes[kind] : "rct_"}${ctx.newSecret()}`;
  const token: Token = {
    id: ctx.newId(),
    hash: hashToken(secret),
    kind,
    org,
    name,
    cluster,
    client,
    createdAt,
    expiresAt,
    lastUsedAt: undefined,
    revokedAt: undefined,
  };
  return { secret, token };
}

const prefixes = { admin: "rca_", scim: "rcs_", read: "rcr_", client: "rcc_" } as const satisfies Record<
  Token["kind"],
  string
>;

async function add(tx: Tx, ctx: Context, actor: Actor, like: Purpose, ttl: number | undefined): Promise<Made> {
  const { kind, org, name, cluster } = like;
  const now = ctx.now();
  const live = await tx.tokens.live({ kind, org, name, cluster }, now);
  if (live.length >= 2) {
    const which = live.map(({ id }) => id).join(" or ");
    refuse("conflict", `the connection ${quote(name)} has ${live.length} live ${kind} tokens already: revoke ${which}`);
  }
  const expiresAt = ttl === undefined ? undefined : now + Math.round(ttl);
  const made = make(ctx, { kind, org, name, cluster, expiresAt }, now);
  await tx.tokens.add(made.token);
  recordMade(tx, actor, made.token);
  return made;
}

export function recordMade(tx: Tx, actor: Actor, token: Token): void {
  const { id, org = "", name } = token;
  record(tx, actor, { org, action: "token.create", subject: named(name, id), after: tellToken(token) });
}

function recordChange(tx: Tx, actor: Actor, action: string, was: Token, is: Token): void {
  const told = { before: tellToken(was), after: tellToken(is) };
  record(tx, actor, { org: was.org ?? "", action, subject: named(was.name, was.id), ...told });
}

/** A token that an admin made for a connection: no operator's, and no access token. */
async function connectionToken(tx: Tx, id: string): Promise<Token> {
  const token = await tx.tokens.get(id);
  if (!token || token.kind === "admin" || token.client !== undefined) refuse("not-found", `no SCIM token ${quote(id)}`);
  return token;
}

function checkTokenName(name: string): void {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) {
    refuse("invalid", `the connection name ${quote(name)} does not match [a-z0-9][a-z0-9-]{0,62}`);
  }
}

function checkTtl(ttl: number | undefined): void {
  if (ttl !== undefined && !(ttl > 0 && ttl <= longestTtl)) {
    refuse("invalid", "ttl must be more than 0 and at most 3650 days");
  }
}

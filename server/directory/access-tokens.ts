/**
 * Access tokens: what a client gets for its credentials (RFC 6749, section 4.4). Each is a `scim` token of the client's own
 * connection, lives for an hour, and dies with its client.
 */

import type { Context } from "./context.ts";
import { hashToken, isLive, type Made, make, recordMade } from "./tokens.ts";

/** How long an access token works, in milliseconds. */
export const accessTtl = 3_600_000;

/** How many of one client work at a time: the oldest give way, so that a client in a loop fills no disk. */
const mostLive = 100;

/** Issues an access token; undefined if there is no live client of this id and secret. */
export async function issueAccessToken(ctx: Context, clientId: string, secret: string): Promise<Made | undefined> {
  const hash = hashToken(secret);
  // Asked by a read first: a stranger must not hold up those who write.
  if (!(await ctx.store.read((tx) => tx.tokens.byHash(hash)))) return undefined;
  return ctx.store.write(async (tx) => {
    const client = await tx.tokens.byHash(hash);
    const now = ctx.now();
    if (client?.kind !== "client" || client.id !== clientId || !isLive(client, now)) return undefined;
    await tx.tokens.dropIssued(client.id, now, mostLive - 1);
    const expiresAt = Math.min(now + accessTtl, client.expiresAt ?? Number.POSITIVE_INFINITY);
    const { id, org, name } = client;
    const made = make(ctx, { kind: "scim", org, name, client: id, expiresAt }, now);
    await tx.tokens.add(made.token);
    recordMade(tx, { kind: "scim", connection: name, cause: "oauth" }, made.token);
    await tx.tokens.used(client.id, now);
    return made;
  });
}

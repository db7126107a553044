/** Commands on public SSH keys. */

import { quote, refuse } from "../../identity/refusal.ts";
import type { ResourceKey } from "../../identity/resource.ts";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { reproject } from "../projection/reproject.ts";
import type { StoredKey } from "../store/keys.ts";
import { type Actor, show } from "./actor.ts";
import type { Context } from "./context.ts";
import { named, record, tellKey } from "./record.ts";
import { findUser } from "./users.ts";

/** sshd reads every line at each login. */
const mostKeys = 50;

/** A key that lives longer needs no expiry: a date beyond is a mistake. */
const longestLife = 10 * 366 * 86_400_000;

/** How many expired keys one transaction removes. */
const expiredAtOnce = 500;

/**
 * Adds a key to a person; with `expiresAt`, until then.
 * @throws Refusal `invalid` (the key or the time), `not-found` (the user), `conflict` (someone of the org has it),
 *   `exhausted` (they have too many).
 */
export async function addKey(
  ctx: Context,
  actor: Actor,
  org: string,
  handle: string,
  text: string,
  expiresAt?: number,
): Promise<StoredKey> {
  const parsed = parseSshKey(text);
  return ctx.store.write(async (tx) => {
    const now = ctx.now();
    if (expiresAt !== undefined) checkExpiry(expiresAt, now);
    const user = await findUser(tx, org, handle);
    const holder = await tx.keys.holder(org, parsed.sha256);
    if (holder === user.id) refuse("conflict", `${user.userName} has the key ${fingerprint(parsed)} already`);
    if (holder !== undefined) refuse("conflict", `the key ${fingerprint(parsed)} is another user's`);
    if ((await tx.keys.of(user.id)).length >= mostKeys) {
      refuse("exhausted", `${quote(user.userName)} has ${mostKeys} keys, which is the most: remove one first`);
    }
    const key: StoredKey = { ...parsed, createdAt: now, expiresAt };
    await tx.keys.add(org, user.id, key);
    record(tx, actor, { org, action: "key.add", subject: named(user.userName, user.id), after: tellKey(key) });
    await reproject(tx, { org, users: [user.id] }, show(actor), now);
    return key;
  });
}

const expiry: Actor = { kind: "server", cause: "expiry" };

/**
 * Removes every key whose time has come; says how many. A clock that is set back later brings none back.
 */
export async function expireKeys(ctx: Context): Promise<number> {
  // Nearly always there is none: a read costs no writer its turn.
  if ((await ctx.store.read((tx) => tx.keys.expired(ctx.now(), 1))).length === 0) return 0;
  const removed = await ctx.store.write(async (tx) => {
    const now = ctx.now();
    const expired = await tx.keys.expired(now, expiredAtOnce);
    const owners = new Map<string, string[]>();
    const sure: ResourceKey[] = [];
    for (const { org, userId, sha256 } of expired) {
      const user = await tx.users.get(org, userId);
      if (user) sure.push(`key/${user.uid}/${sha256}` as ResourceKey);
      await tx.keys.remove(org, sha256);
      const subject = named(user?.userName ?? "", userId);
      record(tx, expiry, { org, action: "key.expire", subject, before: { key: fingerprint({ sha256 }) } });
      owners.set(org, [...(owners.get(org) ?? []), userId]);
    }
    for (const [org, users] of owners) await reproject(tx, { org, users }, "key expired", now, { sure });
    return expired.length;
  });
  return removed < expiredAtOnce ? removed : removed + (await expireKeys(ctx));
}

/** @throws Refusal `not-found`: the user, or the key among theirs. */
export async function removeKey(ctx: Context, actor: Actor, org: string, handle: string, print: string): Promise<void> {
  await ctx.store.write(async (tx) => {
    const user = await findUser(tx, org, handle);
    const key =
      (await tx.keys.of(user.id)).find((candidate) => fingerprint(candidate) === print) ??
      refuse("not-found", `${user.userName} has no key ${quote(print)}`);
    await tx.keys.remove(org, key.sha256);
    record(tx, actor, { org, action: "key.remove", subject: named(user.userName, user.id), before: tellKey(key) });
    // Asked for by itself: it goes, whatever else is held of its owner.
    const sure = [`key/${user.uid}/${key.sha256}` as ResourceKey];
    await reproject(tx, { org, users: [user.id] }, show(actor), ctx.now(), { sure });
  });
}

function checkExpiry(expiresAt: number, now: number): void {
  const rule = "it must be in the future, at most 10 years from now";
  if (!Number.isSafeInteger(expiresAt) || expiresAt <= now || expiresAt > now + longestLife) {
    const shown = Math.abs(expiresAt) <= 8.64e15 ? new Date(expiresAt).toISOString() : expiresAt;
    refuse("invalid", `expires_at ${quote(shown)}: ${rule}`);
  }
}

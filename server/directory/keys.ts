/** Commands on public SSH keys. */

import { quote, refuse } from "../../identity/refusal.ts";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { reproject } from "../projection/reproject.ts";
import type { StoredKey } from "../store/keys.ts";
import { type Actor, show } from "./actor.ts";
import type { Context } from "./context.ts";
import { named, record, tellKey } from "./record.ts";
import { findUser } from "./users.ts";

/** @throws Refusal `invalid` (the key), `not-found` (the user), `conflict` (someone of the org has it). */
export async function addKey(
  ctx: Context,
  actor: Actor,
  org: string,
  handle: string,
  text: string,
): Promise<StoredKey> {
  const key = parseSshKey(text);
  return ctx.store.write(async (tx) => {
    const user = await findUser(tx, org, handle);
    const holder = await tx.keys.holder(org, key.sha256);
    if (holder === user.id) refuse("conflict", `${user.userName} has the key ${fingerprint(key)} already`);
    if (holder !== undefined) refuse("conflict", `the key ${fingerprint(key)} is another user's`);
    const now = ctx.now();
    await tx.keys.add(org, user.id, key, now);
    record(tx, actor, { org, action: "key.add", subject: named(user.userName, user.id), after: tellKey(key) });
    await reproject(tx, { org, users: [user.id] }, show(actor), now);
    return { ...key, createdAt: now };
  });
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
    await reproject(tx, { org, users: [user.id] }, show(actor), ctx.now());
  });
}

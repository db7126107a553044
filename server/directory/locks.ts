/**
 * Commands on locks: an admin's word against the identity provider's. A lock is not a property of the user, which SCIM
 * could delete and make anew, but a row of its own that holds on by every handle of the person.
 */

import { quote, Refusal, refuse } from "../../identity/refusal.ts";
import { reproject } from "../projection/reproject.ts";
import type { Lock } from "../store/locks.ts";
import type { Tx } from "../store/store.ts";
import type { Page, User } from "../store/users.ts";
import { type Actor, show } from "./actor.ts";
import type { Context } from "./context.ts";
import { named, record, tellLock } from "./record.ts";
import { checkText, findUser } from "./users.ts";

/**
 * Locks a person out of every cluster until they are unlocked.
 * @throws Refusal `invalid` (the reason), `not-found` (the user), `conflict` (a lock holds them already).
 */
export async function lockUser(ctx: Context, actor: Actor, org: string, handle: string, reason: string): Promise<Lock> {
  checkText("the reason", reason, 500);
  return ctx.store.write(async (tx) => {
    const user = await findUser(tx, org, handle);
    const [held] = await tx.locks.on(org, user.id);
    if (held) refuse("conflict", `${quote(user.userName)} is locked already: ${held.reason}`);
    const { id: userId, userName, origin, externalId } = user;
    const now = ctx.now();
    const lock: Lock = { id: ctx.newId(), org, userId, userName, origin, externalId, reason, createdAt: now };
    await tx.locks.add(lock);
    record(tx, actor, { org, action: "user.lock", subject: named(userName, userId), after: tellLock(lock) });
    await reproject(tx, { org, users: await tx.locks.held(lock) }, show(actor), now, { urgent: true });
    return lock;
  });
}

/** Lifts every lock that holds a person, who may be gone by now. @throws Refusal `not-found`: no lock does. */
export async function unlockUser(ctx: Context, actor: Actor, org: string, handle: string): Promise<Lock[]> {
  return ctx.store.write(async (tx) => {
    const user = await userIfThere(tx, org, handle);
    const locks = user ? await tx.locks.on(org, user.id) : await tx.locks.madeOn(org, handle);
    if (locks.length === 0) refuse("not-found", `no lock holds ${quote(user?.userName ?? handle)}`);
    const touched: string[] = [];
    for (const lock of locks) {
      touched.push(...(await tx.locks.held(lock)));
      await tx.locks.remove(lock.id);
      const subject = named(lock.userName, lock.userId);
      record(tx, actor, { org, action: "user.unlock", subject, before: tellLock(lock) });
    }
    await reproject(tx, { org, users: touched }, show(actor), ctx.now());
    return locks;
  });
}

export async function listLocks(ctx: Context, org: string, page: Page): Promise<Lock[]> {
  return ctx.store.read((tx) => tx.locks.list(org, page));
}

/** Those of some users that a lock holds. */
export async function lockedAmong(ctx: Context, org: string, ids: readonly string[]): Promise<Set<string>> {
  return ctx.store.read((tx) => tx.locks.among(org, ids));
}

async function userIfThere(tx: Tx, org: string, handle: string): Promise<User | undefined> {
  try {
    return await findUser(tx, org, handle);
  } catch (error) {
    if (error instanceof Refusal && error.reason === "not-found") return undefined;
    throw error;
  }
}

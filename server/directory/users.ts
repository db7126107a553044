/**
 * Commands on people. Each is one transaction: load, decide or refuse, write, project. A person's POSIX name and uid are
 * given once, at creation, and are tombstones for ever; what the identity provider changes later never moves them.
 */

import type { Uid } from "../../identity/id.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { reproject } from "../projection/reproject.ts";
import type { Membership } from "../store/groups.ts";
import type { StoredKey } from "../store/keys.ts";
import { everything, type Search } from "../store/search.ts";
import type { Reader, Tx } from "../store/store.ts";
import type { Page, SearchValue, User } from "../store/users.ts";
import { type Actor, checkOwner, originOf, passing, show } from "./actor.ts";
import { allocate } from "./allocation.ts";
import type { Context, Precondition } from "./context.ts";
import { type SlurmStanding, slurmOf } from "./passages.ts";
import { named, record, tellUser } from "./record.ts";
import { findRemoved, subjectByNumber } from "./removed.ts";
import { statedOf } from "./stated.ts";

/** What the identity provider (or an admin) states of a person. */
export interface UserInput {
  readonly userName: string;
  readonly externalId: string | undefined;
  readonly active: boolean;
  /** For passwd's gecos field; may be empty. */
  readonly fullName: string;
  /** Everything else that was stated, to be said back: a JSON object. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** What of that can be searched by. */
  readonly values?: readonly SearchValue[];
  /** Of someone new: the number that shall be theirs; undefined: the next of the org's range. */
  readonly uidNumber?: number | undefined;
  /** Of someone new: a home directory and a login shell of their own; undefined: by the org's and cluster's rules. */
  readonly home?: string | undefined;
  readonly shell?: string | undefined;
}

/** What may change of a person afterwards. */
export type UserState = Pick<UserInput, "userName" | "externalId" | "active" | "fullName" | "attributes">;

/**
 * Makes a user, with a uid and a POSIX name of its own.
 * @throws Refusal `conflict` if the userName is taken, `invalid` if it cannot give a name, `exhausted` if no uid is left.
 */
export async function createUser(
  ctx: Context,
  actor: Actor,
  org: string,
  { values = [], uidNumber, home, shell, ...input }: UserInput,
): Promise<User> {
  checkInput(input);
  return ctx.store.write(async (tx) => {
    if (await tx.users.byUserName(org, input.userName)) {
      refuse("conflict", `the userName ${quote(input.userName)} is another user's`);
    }
    const id = ctx.newId();
    const now = ctx.now();
    const given = await allocate(tx, org, id, "user", {
      actor,
      stated: statedOf(input),
      number: uidNumber,
      home,
      shell,
    });
    const account = { name: given.name, uid: given.id as Uid, gid: undefined, home, shell };
    const user: User = { ...input, ...account, id, org, origin: show(actor), createdAt: now, modifiedAt: now };
    await tx.users.add(user);
    await tx.users.addValues(id, values);
    record(tx, actor, { org, action: "user.create", subject: named(user.userName, id), after: tellUser(user) });
    // Nobody is in a group before they exist, so no cluster holds anything of them yet.
    return user;
  });
}

/**
 * Changes a user: `change` gets what is stated now and gives what shall be; it may throw a Refusal, and must do nothing
 * else. A change that changes nothing is not written. Gives the user as written, with what else is wanted.
 * @throws Refusal `not-found` (also another's user), `conflict` (the new userName is taken), and what `when` throws.
 */
export async function updateUser(
  ctx: Context,
  actor: Actor,
  org: string,
  id: string,
  change: (current: UserState & Pick<User, "uid">) => UserState & Pick<UserInput, "values">,
  when?: Precondition,
  want: Wanted = { groups: false },
): Promise<Member> {
  return ctx.store.write(async (tx) => {
    const user = await owned(tx, actor, org, id);
    checkOwner(actor, user);
    when?.(user);
    const { userName, externalId, active, fullName, attributes } = user;
    const current = { userName, externalId, active, fullName, attributes };
    const { values = [], ...input } = change({ ...current, uid: user.uid });
    if (JSON.stringify(input) === JSON.stringify(current)) return withGroups(tx, actor, user, want);
    checkInput(input);
    const holder = input.userName === userName ? undefined : await tx.users.byUserName(org, input.userName);
    if (holder && holder.id !== id) refuse("conflict", `the userName ${quote(input.userName)} is another user's`);
    const now = ctx.now();
    const changed: User = { ...user, ...input, modifiedAt: Math.max(now, user.modifiedAt + 1) };
    await tx.users.put(user, changed);
    const told = { before: tellUser(user), after: tellUser(changed) };
    record(tx, actor, { org, action: "user.update", subject: named(user.userName, id), ...told });
    if (JSON.stringify(attributes) !== JSON.stringify(input.attributes)) {
      await tx.users.removeValues(id);
      await tx.users.addValues(id, values);
    }
    if (concernsNodes(user, changed)) await reproject(tx, { org, users: [id] }, show(actor), now, passing(actor));
    return withGroups(tx, actor, changed, want);
  });
}

/** Removes a user everywhere; uid and POSIX name stay taken. @throws Refusal `not-found`, and what `when` throws. */
export async function removeUser(
  ctx: Context,
  actor: Actor,
  org: string,
  id: string,
  when?: Precondition,
): Promise<void> {
  await ctx.store.write(async (tx) => {
    const user = await owned(tx, actor, org, id);
    checkOwner(actor, user);
    when?.(user);
    await tx.users.remove(id);
    record(tx, actor, { org, action: "user.remove", subject: named(user.userName, id), before: tellUser(user) });
    await reproject(tx, { org, users: [id] }, show(actor), ctx.now(), passing(actor));
  });
}

/** A person and the groups around them, as far as the actor can see them. */
export interface Member {
  readonly user: User;
  readonly groups: readonly Membership[];
}

/** @throws Refusal `not-found`. */
export async function getUser(ctx: Context, actor: Actor, org: string, id: string, want: Wanted): Promise<Member> {
  return ctx.store.read(async (tx) => {
    return withGroups(tx, actor, await owned(tx, actor, org, id), want);
  });
}

/** Users by userName or in the order asked for, a page of them, and how many there are in all. */
export async function listUsers(
  reader: Reader,
  actor: Actor,
  org: string,
  search: Search,
  page: Page,
  want: Wanted,
): Promise<{ total: number; users: Member[] }> {
  return reader.read(async (tx) => {
    const { total, users } = await tx.users.list(org, originOf(actor), search, page);
    return { total, users: await allWithGroups(tx, actor, users, want) };
  });
}

export { everything };

export interface Wanted {
  readonly groups: boolean;
}

async function withGroups(tx: Tx, actor: Actor, user: User, want: Wanted): Promise<Member> {
  const [member] = await allWithGroups(tx, actor, [user], want);
  return member ?? { user, groups: [] };
}

async function allWithGroups(tx: Tx, actor: Actor, users: readonly User[], want: Wanted): Promise<Member[]> {
  const origin = originOf(actor);
  const groups = want.groups ? await tx.groups.of(users.map(({ id }) => id)) : new Map<string, Membership[]>();
  return users.map((user) => ({
    user,
    groups: (groups.get(user.id) ?? []).filter(({ group }) => origin === undefined || group.origin === origin),
  }));
}

/** A person with everything that an operator wants to see. */
export interface Portrait {
  readonly user: User;
  readonly groups: readonly Membership[];
  /** Nobody states the person any more; of the user, only what nodes are told is known. */
  readonly removed: boolean;
  /** Whether an admin locked the person out. */
  readonly locked: boolean;
  readonly keys: readonly StoredKey[];
  /** Names of the clusters that hold the person now. */
  readonly clusters: readonly string[];
  /** Names of those that keep something of the person only because the guard holds its removal. */
  readonly held: readonly string[];
  /** Their use of Slurm, where they have any. */
  readonly slurm: readonly SlurmStanding[];
}

/**
 * Finds a person by userName, POSIX name, id or UID; also one whom nobody states any more, as long as nodes hold them.
 * @throws Refusal `not-found`.
 */
export async function portray(ctx: Context, org: string, handle: string): Promise<Portrait> {
  return ctx.store.read(async (tx) => {
    const numbered = await subjectByNumber(tx, org, handle);
    const stated =
      (await lookUp(tx, org, handle)) ?? (numbered === undefined ? undefined : await tx.users.get(org, numbered));
    const user = stated ?? (await findRemoved(tx, org, numbered ?? handle)) ?? unknown(handle);
    const clusters: string[] = [];
    const waiting: string[] = [];
    const slurm: SlurmStanding[] = [];
    for (const cluster of await tx.clusters.ofOrg(org)) {
      const held = await tx.log.resourcesOf(cluster.id, [user.id]);
      const resources = held.get(user.id) ?? [];
      const standing = await slurmOf(tx, cluster, user.id, resources);
      if (standing.uses.length > 0) slurm.push(standing);
      if (resources.length > 0 && !standing.isLeaving) clusters.push(cluster.name);
      if ((await tx.holds.heldOf(cluster.id, [user.id])).size > 0) waiting.push(cluster.name);
    }
    const groups = (await tx.groups.of([user.id])).get(user.id) ?? [];
    const locked = (await tx.locks.among(org, [user.id])).has(user.id);
    const keys = await tx.keys.of(user.id);
    return { user, removed: !stated, groups, locked, keys, clusters, held: waiting, slurm };
  });
}

/** The id of a person by userName, POSIX name or id. @throws Refusal `not-found`. */
export async function userId(ctx: Context, org: string, handle: string): Promise<string> {
  return ctx.store.read(async (tx) => (await findUser(tx, org, handle)).id);
}

/** @throws Refusal `not-found`. */
export async function findUser(tx: Tx, org: string, handle: string): Promise<User> {
  return (await lookUp(tx, org, handle)) ?? unknown(handle);
}

async function lookUp(tx: Tx, org: string, handle: string): Promise<User | undefined> {
  return (
    (await tx.users.byUserName(org, handle)) ??
    (await tx.users.byName(org, handle)) ??
    (await tx.users.get(org, handle))
  );
}

function unknown(handle: string): never {
  refuse("not-found", `no user has the userName, POSIX name or id ${quote(handle)}`);
}

/** Whether a change can matter to a cluster: by what nodes are told, or by the names that a lock holds on by. */
function concernsNodes(before: User, after: User): boolean {
  const said = ({ active, fullName, userName, externalId }: User) =>
    JSON.stringify([active, fullName, userName, externalId]);
  return said(before) !== said(after);
}

async function owned(tx: Tx, actor: Actor, org: string, id: string): Promise<User> {
  const user = await tx.users.get(org, id);
  const origin = originOf(actor);
  if (!user || (origin !== undefined && user.origin !== origin)) refuse("not-found", `no user ${quote(id)}`);
  return user;
}

function checkInput({ userName, externalId }: UserState): void {
  checkText("userName", userName, 256);
  if (externalId !== undefined) checkText("externalId", externalId, 256);
}

/** @throws Refusal `invalid`: empty, too long, or with characters that no person types. */
export function checkText(field: string, value: string, longest: number): void {
  if (value.trim() !== value || value === "" || value.length > longest) {
    refuse("invalid", `${field} ${quote(value)} must have 1 to ${longest} characters, without spaces around them`);
  }
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(value) || !value.isWellFormed()) {
    refuse("invalid", `${field} ${quote(value)} holds control or invisible characters`);
  }
}

/**
 * Commands on groups and memberships. Adding or removing one user costs that user, not the group. A group may be in
 * groups: what those grant, its users have. The nesting never closes a circle.
 */

import { fold } from "../../identity/fold.ts";
import type { Gid } from "../../identity/id.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { grantedBy, grantsOf } from "../projection/access.ts";
import { reproject } from "../projection/reproject.ts";
import type { Group, GroupMember } from "../store/groups.ts";
import type { Search } from "../store/search.ts";
import type { Reader, Tx } from "../store/store.ts";
import type { Page } from "../store/users.ts";
import { type Actor, checkOwner, originOf, passing, show } from "./actor.ts";
import { allocate } from "./allocation.ts";
import type { Context, Precondition } from "./context.ts";
import { named, record, recordMembers, tellGroup } from "./record.ts";
import { checkText } from "./users.ts";

export interface GroupInput {
  readonly displayName: string;
  readonly externalId: string | undefined;
  /** Ids of users and of groups. */
  readonly members: readonly string[];
  /** The number that shall be its own; undefined: the next of the org's range. */
  readonly gidNumber?: number | undefined;
}

/** One edit of a group; a command applies a list of them in order, all or none. */
export type GroupEdit =
  | { readonly kind: "set-display-name"; readonly displayName: string }
  | { readonly kind: "set-external-id"; readonly externalId: string | undefined }
  | { readonly kind: "add-members"; readonly members: readonly string[] }
  | { readonly kind: "remove-members"; readonly members: readonly string[] }
  | { readonly kind: "set-members"; readonly members: readonly string[] }
  /** Changes nothing: throws a Refusal if the group is not as it must be. */
  | { readonly kind: "check"; readonly check: (group: Group) => void };

/** @throws Refusal `conflict` (display name taken), `invalid` (no POSIX name possible, unknown member), `exhausted`. */
export async function createGroup(ctx: Context, actor: Actor, org: string, input: GroupInput): Promise<Group> {
  const { displayName, externalId, members, gidNumber } = input;
  checkGroup(displayName, externalId);
  return ctx.store.write(async (tx) => {
    if (await tx.groups.byDisplayName(org, displayName)) {
      refuse("conflict", `the displayName ${quote(displayName)} is another group's`);
    }
    const id = ctx.newId();
    const now = ctx.now();
    const stated = { displayName, externalId };
    const { name, id: number } = await allocate(tx, org, id, "group", { actor, stated, number: gidNumber });
    const gid = number as Gid;
    const origin = show(actor);
    const group: Group = { id, org, origin, displayName, externalId, name, gid, createdAt: now, modifiedAt: now };
    await tx.groups.put(group);
    const touched = await addMembers(tx, actor, group, members);
    record(tx, actor, { org, action: "group.create", subject: named(displayName, id), after: tellGroup(group) });
    recordMembers(tx, actor, group, { added: [...touched.users, ...touched.groups], removed: [] });
    await reproject(tx, { org, groups: [id], users: await affected(tx, org, [id], touched) }, show(actor), now);
    return group;
  });
}

/** @throws Refusal `not-found` (also another's group), `conflict`, `invalid` (a member), and what `when` throws. */
export async function updateGroup(
  ctx: Context,
  actor: Actor,
  org: string,
  id: string,
  edits: readonly GroupEdit[],
  when?: Precondition,
): Promise<Group> {
  return ctx.store.write(async (tx) => {
    const before = await owned(tx, actor, org, id);
    checkOwner(actor, before);
    when?.(before);
    const touched: Touched = { users: [], groups: [], added: new Set(), removed: new Set() };
    let group = before;
    for (const edit of edits) group = await applyEdit(tx, actor, group, edit, touched);
    checkGroup(group.displayName, group.externalId);
    if (group !== before) {
      const holder = await tx.groups.byDisplayName(org, group.displayName);
      if (holder && holder.id !== id)
        refuse("conflict", `the displayName ${quote(group.displayName)} is another group's`);
    }
    const now = ctx.now();
    if (group === before && touched.users.length === 0 && touched.groups.length === 0) return before;
    const changed = { ...group, modifiedAt: Math.max(now, before.modifiedAt + 1) };
    await tx.groups.put(changed);
    const told = { before: tellGroup(before), after: tellGroup(changed) };
    record(tx, actor, { org, action: "group.update", subject: named(before.displayName, id), ...told });
    recordMembers(tx, actor, changed, { added: [...touched.added], removed: [...touched.removed] });
    const renamed = await rulesDiffer(tx, before, changed);
    const users = renamed
      ? [...(await tx.groups.usersWithin([id])), ...touched.users, ...(await tx.groups.usersWithin(touched.groups))]
      : await affected(tx, org, [id], touched);
    await reproject(tx, { org, groups: [id], users }, show(actor), now, passing(actor));
    return changed;
  });
}

/** Removes a group; its members lose what it granted. @throws Refusal `not-found`, and what `when` throws. */
export async function removeGroup(
  ctx: Context,
  actor: Actor,
  org: string,
  id: string,
  when?: Precondition,
): Promise<void> {
  await ctx.store.write(async (tx) => {
    const group = await owned(tx, actor, org, id);
    checkOwner(actor, group);
    when?.(group);
    const users = await affected(tx, org, [id], { users: [], groups: [id] });
    recordMembers(tx, actor, group, { added: [], removed: await tx.groups.memberIds(id) });
    record(tx, actor, { org, action: "group.remove", subject: named(group.displayName, id), before: tellGroup(group) });
    await tx.groups.remove(id);
    await reproject(tx, { org, groups: [id], users }, show(actor), ctx.now(), passing(actor));
  });
}

/** A group, with its members if they are wanted. @throws Refusal `not-found`. */
export async function getGroup(
  ctx: Context,
  actor: Actor,
  org: string,
  id: string,
  want: { members: boolean },
): Promise<{ group: Group; members: GroupMember[] }> {
  return ctx.store.read(async (tx) => {
    const group = await owned(tx, actor, org, id);
    return { group, members: want.members ? await tx.groups.members(id) : [] };
  });
}

/** The id of a group by display name or id. @throws Refusal `not-found`. */
export async function groupId(ctx: Context, org: string, handle: string): Promise<string> {
  return ctx.store.read(async (tx) => {
    const group = (await tx.groups.byDisplayName(org, handle)) ?? (await tx.groups.get(org, handle));
    return (group ?? refuse("not-found", `no group has the display name or id ${quote(handle)}`)).id;
  });
}

/** Groups by displayName or in the order asked for, a page of them with their members if wanted, and how many there are. */
export async function listGroups(
  reader: Reader,
  actor: Actor,
  org: string,
  search: Search,
  page: Page,
  want: { members: boolean },
): Promise<{ total: number; groups: { group: Group; members: GroupMember[] }[] }> {
  return reader.read(async (tx) => {
    const { total, groups } = await tx.groups.list(org, originOf(actor), search, page);
    const filled = [];
    for (const group of groups) filled.push({ group, members: want.members ? await tx.groups.members(group.id) : [] });
    return { total, groups: filled };
  });
}

/** Ids of members that came or went. */
interface Moved {
  readonly users: readonly string[];
  readonly groups: readonly string[];
}

/** The same over several edits; who only came and went again, or the other way round, did neither. */
interface Touched {
  readonly users: string[];
  readonly groups: string[];
  readonly added: Set<string>;
  readonly removed: Set<string>;
}

async function applyEdit(tx: Tx, actor: Actor, group: Group, edit: GroupEdit, touched: Touched): Promise<Group> {
  switch (edit.kind) {
    case "set-display-name":
      return edit.displayName === group.displayName ? group : { ...group, displayName: edit.displayName };
    case "set-external-id":
      return edit.externalId === group.externalId ? group : { ...group, externalId: edit.externalId };
    case "check":
      edit.check(group);
      return group;
    case "add-members":
      note(touched, "added", await addMembers(tx, actor, group, edit.members));
      return group;
    case "remove-members":
      note(touched, "removed", await removeMembers(tx, group, edit.members));
      return group;
    case "set-members": {
      const wanted = new Set(edit.members);
      const gone = (await tx.groups.memberIds(group.id)).filter((id) => !wanted.has(id));
      note(touched, "removed", await removeMembers(tx, group, gone));
      note(touched, "added", await addMembers(tx, actor, group, edit.members));
      return group;
    }
  }
}

function note(touched: Touched, way: "added" | "removed", { users, groups }: Moved): void {
  for (const id of users) touched.users.push(id);
  for (const id of groups) touched.groups.push(id);
  const back = touched[way === "added" ? "removed" : "added"];
  for (const id of [...users, ...groups]) if (!back.delete(id)) touched[way].add(id);
}

/** @throws Refusal `invalid`: no such user or group to the actor, or a circle. */
async function addMembers(tx: Tx, actor: Actor, { id, org }: Group, members: readonly string[]): Promise<Moved> {
  const ids = [...new Set(members)];
  const origin = originOf(actor);
  const seen = <T extends { origin: string }>(found: ReadonlyMap<string, T>) =>
    ids.filter((each) => found.has(each) && (origin === undefined || found.get(each)?.origin === origin));
  const users = seen(await tx.users.many(org, ids));
  const groups = users.length === ids.length ? [] : seen(await tx.groups.many(org, ids));
  const known = new Set([...users, ...groups]);
  const unknown = ids.find((each) => !known.has(each));
  if (unknown !== undefined) refuse("invalid", `members: no user or group ${quote(unknown)}`);
  if (groups.length > 0 && (await tx.groups.within(groups)).has(id)) {
    refuse("invalid", "members: a group cannot be in itself, nor in a group that is in it");
  }
  return { users: await tx.groups.addUsers(id, users), groups: await tx.groups.addGroups(id, groups) };
}

async function removeMembers(tx: Tx, { id }: Group, members: readonly string[]): Promise<Moved> {
  const ids = [...new Set(members)];
  return { users: await tx.groups.removeUsers(id, ids), groups: await tx.groups.removeGroups(id, ids) };
}

/**
 * The users whose resources may differ after members of a group came or went: none, if neither it nor a group around it
 * grants anything.
 */
async function affected(tx: Tx, org: string, groups: readonly string[], { users, groups: nested }: Moved) {
  const around = await tx.groups.around(groups);
  for (const cluster of await tx.clusters.ofOrg(org)) {
    const grants = grantsOf(await tx.clusters.rules(cluster.id));
    if (around.some((group) => grantedBy({ grants }, group))) {
      return [...users, ...(nested.length > 0 ? await tx.groups.usersWithin(nested) : [])];
    }
  }
  return [];
}

/** Whether a rename changed what the group grants in a cluster: then every member's access may differ. */
async function rulesDiffer(tx: Tx, before: Group, after: Group): Promise<boolean> {
  if (fold(before.displayName) === fold(after.displayName)) return false;
  for (const cluster of await tx.clusters.ofOrg(before.org)) {
    const grants = grantsOf(await tx.clusters.rules(cluster.id));
    if (grantedBy({ grants }, before) || grantedBy({ grants }, after)) return true;
  }
  return false;
}

async function owned(tx: Tx, actor: Actor, org: string, id: string): Promise<Group> {
  const group = await tx.groups.get(org, id);
  const origin = originOf(actor);
  if (!group || (origin !== undefined && group.origin !== origin)) refuse("not-found", `no group ${quote(id)}`);
  return group;
}

function checkGroup(displayName: string, externalId: string | undefined): void {
  checkText("displayName", displayName, 256);
  if (externalId !== undefined) checkText("externalId", externalId, 256);
}

/** Commands on groups and memberships. Adding or removing one member costs that member, not the group. */

import { groupIds, parseGid } from "../../identity/id.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { accessOf, names } from "../projection/project.ts";
import { reproject } from "../projection/reproject.ts";
import type { Group, GroupMember, GroupQuery } from "../store/groups.ts";
import type { Reader, Tx } from "../store/store.ts";
import type { Page } from "../store/users.ts";
import { type Actor, show } from "./actor.ts";
import type { Context, Precondition } from "./context.ts";
import { checkText, takeId, takeName } from "./users.ts";

export interface GroupInput {
  readonly displayName: string;
  readonly externalId: string | undefined;
  /** Ids of users. */
  readonly members: readonly string[];
}

/** One edit of a group; a command applies a list of them in order, all or none. */
export type GroupEdit =
  | { readonly kind: "set-display-name"; readonly displayName: string }
  | { readonly kind: "set-external-id"; readonly externalId: string | undefined }
  | { readonly kind: "add-members"; readonly members: readonly string[] }
  | { readonly kind: "remove-members"; readonly members: readonly string[] }
  | { readonly kind: "set-members"; readonly members: readonly string[] };

/** @throws Refusal `conflict` (display name taken), `invalid` (no POSIX name possible, unknown member), `exhausted`. */
export async function createGroup(ctx: Context, actor: Actor, org: string, input: GroupInput): Promise<Group> {
  const { displayName, externalId, members } = input;
  checkGroup(displayName, externalId);
  return ctx.store.write(async (tx) => {
    if (await tx.groups.byDisplayName(org, displayName)) {
      refuse("conflict", `the displayName ${quote(displayName)} is another group's`);
    }
    const id = ctx.newId();
    const now = ctx.now();
    const name = await takeName(tx, org, displayName, id);
    const gid = parseGid(await takeId(tx, org, groupIds, id));
    const origin = show(actor);
    const group: Group = { id, org, origin, displayName, externalId, name, gid, createdAt: now, modifiedAt: now };
    await tx.groups.put(group);
    const touched = await addMembers(tx, group, members);
    await reproject(tx, { org, groups: [id], users: touched }, show(actor), now);
    return group;
  });
}

/** @throws Refusal `not-found`, `forbidden` (another's group), `conflict`, `invalid` (unknown member). */
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
    when?.(before);
    const touched: string[] = [];
    let group = before;
    for (const edit of edits) group = await applyEdit(tx, group, edit, touched);
    checkGroup(group.displayName, group.externalId);
    if (group !== before) {
      const holder = await tx.groups.byDisplayName(org, group.displayName);
      if (holder && holder.id !== id)
        refuse("conflict", `the displayName ${quote(group.displayName)} is another group's`);
    }
    const now = ctx.now();
    if (group === before && touched.length === 0) return before;
    const changed = { ...group, modifiedAt: Math.max(now, before.modifiedAt + 1) };
    await tx.groups.put(changed);
    if (await rulesDiffer(tx, before, changed)) touched.push(...(await tx.groups.memberIds(id)));
    await reproject(tx, { org, groups: [id], users: touched }, show(actor), now);
    return changed;
  });
}

/** Removes a group; its members lose what it granted. @throws Refusal `not-found`, `forbidden`. */
export async function removeGroup(
  ctx: Context,
  actor: Actor,
  org: string,
  id: string,
  when?: Precondition,
): Promise<void> {
  await ctx.store.write(async (tx) => {
    const current = await owned(tx, actor, org, id);
    when?.(current);
    const users = await tx.groups.memberIds(id);
    await tx.groups.remove(id);
    await reproject(tx, { org, groups: [id], users }, show(actor), ctx.now());
  });
}

/** A group, with its members if they are wanted. @throws Refusal `not-found`. */
export async function getGroup(
  ctx: Context,
  org: string,
  id: string,
  want: { members: boolean },
): Promise<{ group: Group; members: GroupMember[] }> {
  return ctx.store.read(async (tx) => {
    const group = (await tx.groups.get(org, id)) ?? refuse("not-found", `no group ${quote(id)}`);
    return { group, members: want.members ? await tx.groups.members(id) : [] };
  });
}

/** Groups by display name, a page of them with their members if wanted, and how many there are in all. */
export async function listGroups(
  reader: Reader,
  org: string,
  query: GroupQuery,
  page: Page,
  want: { members: boolean },
): Promise<{ total: number; groups: { group: Group; members: GroupMember[] }[] }> {
  return reader.read(async (tx) => {
    const { total, groups } = await tx.groups.list(org, query, page);
    const filled = [];
    for (const group of groups) filled.push({ group, members: want.members ? await tx.groups.members(group.id) : [] });
    return { total, groups: filled };
  });
}

async function applyEdit(tx: Tx, group: Group, edit: GroupEdit, touched: string[]): Promise<Group> {
  switch (edit.kind) {
    case "set-display-name":
      return edit.displayName === group.displayName ? group : { ...group, displayName: edit.displayName };
    case "set-external-id":
      return edit.externalId === group.externalId ? group : { ...group, externalId: edit.externalId };
    case "add-members":
      touched.push(...(await addMembers(tx, group, edit.members)));
      return group;
    case "remove-members":
      for (const id of edit.members) if (await tx.groups.removeMember(group.id, id)) touched.push(id);
      return group;
    case "set-members": {
      const wanted = new Set(edit.members);
      const gone = (await tx.groups.memberIds(group.id)).filter((id) => !wanted.has(id));
      for (const id of gone) if (await tx.groups.removeMember(group.id, id)) touched.push(id);
      touched.push(...(await addMembers(tx, group, edit.members)));
      return group;
    }
  }
}

async function addMembers(tx: Tx, group: Group, ids: readonly string[]): Promise<string[]> {
  const added: string[] = [];
  for (const id of ids) {
    if (!(await tx.users.get(group.org, id))) refuse("invalid", `members: no user ${quote(id)}`);
    if (await tx.groups.addMember(group.id, id)) added.push(id);
  }
  return added;
}

/** Whether a rename moved the group into or out of a cluster's rules: then every member's access may differ. */
async function rulesDiffer(tx: Tx, before: Group, after: Group): Promise<boolean> {
  if (before.displayName === after.displayName) return false;
  for (const cluster of await tx.clusters.ofOrg(before.org)) {
    const access = accessOf(await tx.clusters.rules(cluster.id));
    if (names(access, before) !== names(access, after)) return true;
  }
  return false;
}

async function owned(tx: Tx, actor: Actor, org: string, id: string): Promise<Group> {
  const group = (await tx.groups.get(org, id)) ?? refuse("not-found", `no group ${quote(id)}`);
  if (actor.kind === "scim" && group.origin !== show(actor)) {
    refuse("forbidden", `the group ${quote(group.displayName)} was made by ${group.origin}, and only it may change it`);
  }
  return group;
}

function checkGroup(displayName: string, externalId: string | undefined): void {
  checkText("displayName", displayName, 256);
  if (externalId !== undefined) checkText("externalId", externalId, 256);
}

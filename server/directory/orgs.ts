/** Commands on orgs and on the rules by which their people become accounts. */

import { overlap, parseRange } from "../../identity/id.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { parseShell } from "../../identity/resource.ts";
import { groupPlaces, parseHomeTemplate, parseNameTemplate, userPlaces } from "../../identity/template.ts";
import { reprojectOrg } from "../projection/reproject.ts";
import type { RuledOrg } from "../store/clusters.ts";
import type { OrgSettings } from "../store/settings.ts";
import type { Tx } from "../store/store.ts";
import type { Page } from "../store/users.ts";
import { type Actor, show } from "./actor.ts";
import { isLabel } from "./clusters.ts";
import type { Context } from "./context.ts";
import { named, record } from "./record.ts";

/** Rules as they are stated: what is left out stays; words are not checked yet. */
export type OrgEdit = Partial<Omit<OrgSettings, "spaces" | "suppliedIds"> & { spaces: string; suppliedIds: string }>;

/** @throws Refusal `invalid` (the name), `conflict` (it is taken). */
export async function createOrg(ctx: Context, actor: Actor, name: string): Promise<RuledOrg> {
  if (!isLabel(name)) refuse("invalid", `the org name ${quote(name)} is not a DNS label ([a-z0-9-], at most 63)`);
  return ctx.store.write(async (tx) => {
    if (await tx.clusters.org(name)) refuse("conflict", `there is an org ${quote(name)} already`);
    const id = ctx.newId();
    await tx.clusters.addOrg({ id, name }, ctx.now());
    record(tx, actor, { org: id, action: "org.create", subject: named(name, id), after: { name } });
    return ruledOrg(tx, name);
  });
}

/** @throws Refusal `not-found`. */
export async function getOrg(ctx: Context, name: string): Promise<RuledOrg> {
  return ctx.store.read((tx) => ruledOrg(tx, name));
}

export async function listOrgs(ctx: Context, page: Page): Promise<RuledOrg[]> {
  return ctx.store.read((tx) => tx.clusters.orgs(page));
}

/**
 * Sets rules of an org. Names and numbers that were given stay; homes and shells change on every node.
 * @throws Refusal `not-found`, `invalid`, naming the field.
 */
export async function setOrg(ctx: Context, actor: Actor, name: string, edit: OrgEdit): Promise<RuledOrg> {
  return ctx.store.write(async (tx) => {
    const { id, settings } = await ruledOrg(tx, name);
    const set = checked(edit);
    const next = { ...settings, ...set };
    if (overlap(next.userIds, next.groupIds)) {
      const [user, group] = [next.userIds, next.groupIds].map(({ first, last }) => `${first}-${last}`);
      refuse("invalid", `user_ids ${user} and group_ids ${group} overlap: no number can be a person's and a group's`);
    }
    if (!next.shells.includes(next.shell)) {
      refuse("invalid", `shell ${quote(next.shell)} is not one of shells: ${next.shells.join(", ")}`);
    }
    await tx.clusters.putOrgSettings(id, set);
    const deed = { org: id, action: "org.set", subject: named(name, id) };
    record(tx, actor, { ...deed, before: { ...settings }, after: { ...next } });
    const moved = next.home !== settings.home || next.shell !== settings.shell;
    if (moved) await reprojectOrg(tx, id, show(actor), ctx.now());
    return ruledOrg(tx, name);
  });
}

function checked({ spaces, suppliedIds, ...edit }: OrgEdit): Partial<OrgSettings> {
  const { userNames, groupNames, userIds, groupIds, home, shell, shells } = edit;
  return {
    ...(userNames !== undefined && { userNames: parseNameTemplate("user_names", userNames, userPlaces) }),
    ...(groupNames !== undefined && { groupNames: parseNameTemplate("group_names", groupNames, groupPlaces) }),
    ...(spaces !== undefined && { spaces: oneOf("spaces", spaces, ["refuse", "dash"] as const) }),
    ...(userIds && { userIds: parseRange("user_ids", userIds) }),
    ...(groupIds && { groupIds: parseRange("group_ids", groupIds) }),
    ...(suppliedIds !== undefined && {
      suppliedIds: oneOf("supplied_ids", suppliedIds, ["honour", "refuse"] as const),
    }),
    ...(home !== undefined && { home: parseHomeTemplate("home", home) }),
    ...(shell !== undefined && { shell: parseShell(shell) }),
    ...(shells && { shells: [...new Set(shells.map(parseShell))] }),
  };
}

function oneOf<T extends string>(field: string, value: string, words: readonly T[]): T {
  return (
    words.find((word) => word === value) ?? refuse("invalid", `${field} ${quote(value)} is not ${words.join(" or ")}`)
  );
}

async function ruledOrg(tx: Tx, name: string): Promise<RuledOrg> {
  return (await tx.clusters.ruledOrg(name)) ?? refuse("not-found", `no org ${quote(name)}`);
}

/**
 * Commands on accounts as an admin sees them: the POSIX name, home directory and login shell of anybody, which no identity
 * provider changes; and all that is said of local people, whom none knows.
 */

import { isDeepStrictEqual } from "node:util";
import { printable } from "../../identity/display-name.ts";
import { parseName } from "../../identity/name.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { sanitiseGecos } from "../../identity/resource.ts";
import { reproject } from "../projection/reproject.ts";
import type { Tx } from "../store/store.ts";
import type { User } from "../store/users.ts";
import { type Actor, checkOwner, passing, show } from "./actor.ts";
import { checkOwn, type Own } from "./allocation.ts";
import type { Context } from "./context.ts";
import { named, record, tellUser } from "./record.ts";
import { checkText, findUser, type UserInput } from "./users.ts";

/**
 * Gives a person another POSIX name. The old one stays theirs for ever: files, jobs and logs still have it.
 * @throws Refusal `not-found`, `invalid` (the name), `conflict` (it is theirs already, or is or was somebody's).
 */
export async function renameAccount(
  ctx: Context,
  actor: Actor,
  org: string,
  handle: string,
  wanted: string,
): Promise<User> {
  const name = parseName(wanted);
  return ctx.store.write(async (tx) => {
    const user = await findUser(tx, org, handle);
    if (user.name === name) refuse("conflict", `the POSIX name of ${quote(user.userName)} is ${quote(name)} already`);
    if (!(await tx.users.takeName(org, name, user.id)) && (await tx.users.nameHolder(org, name)) !== user.id) {
      refuse("conflict", `the POSIX name ${quote(name)} is or was somebody's, and is never given again`);
    }
    return change(tx, ctx, actor, "user.rename", user, { name });
  });
}

/** What an admin changes of a person; undefined leaves it. */
export interface AccountEdit extends Own {
  readonly active?: boolean | undefined;
  readonly displayName?: string | undefined;
  readonly email?: string | undefined;
}

/**
 * Changes what an admin may: home and shell of anybody, the rest of local people. An empty home or shell goes back to the
 * rule of cluster and org.
 * @throws Refusal `not-found`, `forbidden` (the identity provider's to say), `invalid` (no such home can be, or the shell
 *   is not among the org's).
 */
export async function editAccount(
  ctx: Context,
  actor: Actor,
  org: string,
  handle: string,
  { active, displayName, email, ...own }: AccountEdit,
): Promise<User> {
  return ctx.store.write(async (tx) => {
    const user = await findUser(tx, org, handle);
    const stated = [active, displayName, email].some((value) => value !== undefined);
    if (stated) checkOwner(actor, user);
    checkOwn(own, await tx.clusters.orgSettings(org));
    const { home = user.home ?? "", shell = user.shell ?? "" } = own;
    const next = {
      active: active ?? user.active,
      ...(displayName !== undefined && { fullName: sanitiseGecos(displayName) }),
      attributes: { ...user.attributes, ...attributesOf({ displayName, email }) },
      home: home === "" ? undefined : home,
      shell: shell === "" ? undefined : shell,
    };
    return isDeepStrictEqual({ ...user, ...next }, user) ? user : change(tx, ctx, actor, "user.update", user, next);
  });
}

/** Someone whom no identity provider knows. */
export interface LocalUser extends Own {
  readonly userName: string;
  readonly displayName: string;
  readonly givenName: string;
  readonly familyName: string;
  readonly email: string;
  readonly uidNumber: number | undefined;
}

/** What a directory keeps of a local user. */
export function localInput(stated: LocalUser): UserInput {
  const { userName, displayName, givenName, familyName, email, uidNumber, home, shell } = stated;
  const parts = [givenName, familyName].filter((part) => part !== "");
  const name = { ...(givenName !== "" && { givenName }), ...(familyName !== "" && { familyName }) };
  return {
    userName,
    externalId: undefined,
    active: true,
    fullName: sanitiseGecos(displayName || parts.join(" ")),
    attributes: { ...(parts.length > 0 && { name }), ...attributesOf({ displayName, email: email || undefined }) },
    uidNumber,
    home: home || undefined,
    shell: shell || undefined,
  };
}

function attributesOf({ displayName, email }: Pick<AccountEdit, "displayName" | "email">): Record<string, unknown> {
  if (email) checkText("email", email, 254);
  return {
    ...(displayName !== undefined && { displayName: printable(displayName) }),
    ...(email !== undefined && { emails: email === "" ? undefined : [{ value: email, type: "work", primary: true }] }),
  };
}

async function change(
  tx: Tx,
  ctx: Context,
  actor: Actor,
  action: string,
  user: User,
  next: Partial<User>,
): Promise<User> {
  const now = ctx.now();
  const changed: User = { ...user, ...next, modifiedAt: Math.max(now, user.modifiedAt + 1) };
  await tx.users.put(user, changed);
  const deed = { org: user.org, action, subject: named(user.userName, user.id) };
  record(tx, actor, { ...deed, before: tellUser(user), after: tellUser(changed) });
  await reproject(tx, { org: user.org, users: [user.id] }, show(actor), now, passing(actor));
  return changed;
}

/**
 * Numbers and POSIX names, each given once: by the org's rules, to one subject, for ever. Removal makes a tombstone of
 * them; nothing frees them.
 */

import { type IdRange, parseGid, parseUid } from "../../identity/id.ts";
import { type Name, nameCandidates } from "../../identity/name.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { parseHome, parseShell } from "../../identity/resource.ts";
import { nameFrom, type Stated } from "../../identity/template.ts";
import type { OrgSettings } from "../store/settings.ts";
import type { Tx } from "../store/store.ts";
import type { Actor } from "./actor.ts";

/** Takes the first free name of the ladder. A name that ever was somebody's stays theirs. */
export async function takeName(tx: Tx, org: string, stem: Name, subject: string): Promise<Name> {
  for (const name of nameCandidates(stem)) {
    if (await tx.users.takeName(org, name, subject)) return name;
  }
  return refuse("exhausted", `all POSIX names that can be made of ${quote(stem)} are or were somebody's`);
}

/** Takes the next number of a range; numbers are never given twice. @throws Refusal `exhausted`. */
export async function takeId(tx: Tx, org: string, range: IdRange, subject: string): Promise<number> {
  const taken = await tx.users.takeId(org, range, subject);
  if (taken !== undefined) return taken;
  const what = `the range ${range.first}..${range.last} has no free number left`;
  return refuse("exhausted", `${what}: set a higher one with \`rollcall org set --user-ids\` or \`--group-ids\``);
}

/** Home directory and login shell of a person's own; undefined or empty: by the rules of cluster and org. */
export interface Own {
  readonly home?: string | undefined;
  readonly shell?: string | undefined;
}

/** What is asked for of a subject's identity. */
export interface Asked extends Own {
  readonly actor: Actor;
  readonly stated: Stated;
  /** The number that a provider states. */
  readonly number: number | undefined;
}

/** The name and number of someone new, by the org's rules. @throws Refusal `invalid`, `conflict`, `exhausted`. */
export async function allocate(
  tx: Tx,
  org: string,
  subject: string,
  kind: "user" | "group",
  { actor, stated, number, ...own }: Asked,
): Promise<{ name: Name; id: number }> {
  const settings = await tx.clusters.orgSettings(org);
  await checkFence(tx, org);
  checkOwn(own, settings);
  const template = kind === "user" ? settings.userNames : settings.groupNames;
  const name = await takeName(tx, org, nameFrom(template, settings.spaces, stated), subject);
  const range = kind === "user" ? settings.userIds : settings.groupIds;
  if (number === undefined) return { name, id: await takeId(tx, org, range, subject) };
  checkStated(actor, kind, number, settings);
  if (!(await tx.users.adoptId(org, number, subject))) {
    refuse("conflict", `${fields[kind]} ${number} is or was somebody's, and is never given again`);
  }
  return { name, id: number };
}

/** A database that knows less than the nodes do may give what they know as somebody else's. */
async function checkFence(tx: Tx, org: string): Promise<void> {
  const [fenced] = await tx.clusters.fencedOf(org);
  if (fenced === undefined) return;
  const why = `nodes of the cluster ${fenced} hold more than this database knows: it was restored from a backup`;
  refuse("conflict", `${why}; nobody is given a number until \`rollcall-server restore\` is run`);
}

/** @throws Refusal `invalid`: no home can be there, or the shell is not among the org's. */
export function checkOwn({ home, shell }: Own, { shells }: OrgSettings): void {
  if (home) parseHome(home);
  if (shell && !shells.includes(parseShell(shell))) {
    refuse("invalid", `shell ${quote(shell)} is not one of the org's: ${shells.join(", ")}`);
  }
}

const fields = { user: "uidNumber", group: "gidNumber" } as const;

function checkStated(actor: Actor, kind: "user" | "group", number: number, settings: OrgSettings): void {
  const field = fields[kind];
  const { first, last } = kind === "user" ? settings.userIds : settings.groupIds;
  if (kind === "user") parseUid(number);
  else parseGid(number);
  // What an admin types is an admin's decision.
  if (actor.kind === "scim" && settings.suppliedIds === "refuse") {
    refuse("invalid", `${field} ${number}: the org gives its own numbers; leave ${field} out`);
  }
  if (number < first || number > last) {
    refuse("invalid", `${field} ${number} is outside the org's range ${first}..${last}`);
  }
}

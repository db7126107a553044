/**
 * Adopting an estate: the accounts and groups that a site had before Rollcall keep their numbers and names. All or nothing,
 * in one transaction: one problem, and nothing is written.
 */

import { fold } from "../../identity/fold.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { fingerprint } from "../../identity/ssh-key.ts";
import { type Estate, merge } from "../estate/estate.ts";
import { parseLdif } from "../estate/ldif.ts";
import { type Mapping, parseMapping } from "../estate/mapping.ts";
import { match } from "../estate/match.ts";
import { parseGroup, parsePasswd } from "../estate/passwd.ts";
import { type Plan, plan } from "../estate/plan.ts";
import { parseSacctmgrDump, type SlurmDump } from "../estate/sacctmgr.ts";
import { planSlurm, type SlurmPlan } from "../estate/slurm-plan.ts";
import { reproject } from "../projection/reproject.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Effect, Tx } from "../store/store.ts";
import { type Actor, show } from "./actor.ts";
import { clusterByName } from "./clusters.ts";
import type { Context } from "./context.ts";
import { named, record, recordMembers } from "./record.ts";
import { adoptRules } from "./rules.ts";

export type FileKind = "passwd" | "group" | "ldif" | "sacctmgr-dump" | "map";

/** A file of a site, with the name that problems call it by. */
export interface EstateFile {
  readonly kind: FileKind;
  readonly name: string;
  readonly text: string;
}

export interface ImportOptions {
  readonly dryRun: boolean;
  /** Whether those who match nobody become local users and groups; else their numbers and names are closed. */
  readonly create: boolean;
  /** Whose rules get the accounts of a Slurm dump. */
  readonly cluster: string | undefined;
}

export interface ImportReport {
  readonly plan: Plan;
  readonly slurm: SlurmPlan;
  /** Everything that stands against it; then nothing is written. */
  readonly problems: Plan["problems"];
  readonly applied: boolean;
  readonly effects: readonly Effect[];
}

const longestFile = 16 * 1024 * 1024;

/** @throws Refusal `not-found` (the cluster), `invalid` (no files, too long a file, a dump without a cluster). */
export async function importEstate(
  ctx: Context,
  actor: Actor,
  org: string,
  files: readonly EstateFile[],
  options: ImportOptions,
): Promise<ImportReport> {
  if (!files.some(({ kind }) => kind !== "map")) refuse("invalid", "files: none is given; give at least one to import");
  const long = files.find(({ text }) => text.length > longestFile);
  if (long) refuse("invalid", `${quote(long.name)} is longer than 16 MiB: split it`);
  const estate = merge(files.map(readEstate));
  const mapping = readMapping(files);
  const dump = readDump(files);
  if (dump && options.cluster === undefined) refuse("invalid", "cluster: a Slurm dump needs the cluster that it is of");
  const command = async (tx: Tx): Promise<ImportReport> => {
    const cluster = options.cluster === undefined ? undefined : await clusterByName(tx, options.cluster);
    if (cluster && cluster.org !== org) refuse("not-found", `the org has no cluster ${quote(cluster.name)}`);
    const planned = await planFor(tx, org, estate, mapping, options.create);
    const slurm = await slurmFor(tx, org, dump, estate, planned, options.create, cluster);
    const problems = [...estate.problems, ...mapping.problems, ...planned.problems, ...slurm.problems];
    if (problems.length === 0) await apply(tx, ctx, actor, org, planned, slurm, cluster);
    const applied = problems.length === 0 && !options.dryRun;
    return { plan: planned, slurm, problems, applied, effects: tx.effects };
  };
  return options.dryRun ? ctx.store.rehearse(command) : ctx.store.write(command);
}

function readEstate({ kind, name, text }: EstateFile): Estate {
  switch (kind) {
    case "passwd":
      return parsePasswd(name, text);
    case "group":
      return parseGroup(name, text);
    case "ldif":
      return parseLdif(name, text);
    case "sacctmgr-dump":
    case "map":
      return { accounts: [], teams: [], problems: [] };
  }
}

function readMapping(files: readonly EstateFile[]): Mapping {
  const text = files.filter(({ kind }) => kind === "map");
  if (text.length > 1) refuse("invalid", "files: give one mapping");
  const [file] = text;
  return file ? parseMapping(file.name, file.text) : { userNames: new Map(), problems: [] };
}

function readDump(files: readonly EstateFile[]): SlurmDump | undefined {
  const dumps = files.filter(({ kind }) => kind === "sacctmgr-dump");
  if (dumps.length > 1) refuse("invalid", "files: give one Slurm dump");
  const [file] = dumps;
  return file && parseSacctmgrDump(file.name, file.text);
}

async function planFor(tx: Tx, org: string, estate: Estate, mapping: Mapping, create: boolean): Promise<Plan> {
  const people = await tx.estate.people(org);
  const groups = await tx.estate.groups(org);
  const matches = match(estate, mapping, people, groups);
  const keys = new Map<string, string>([
    ...matches.people.flatMap(([, person]) => (person ? [[`user/${person.uid}`, person.id] as const] : [])),
    ...matches.groups.flatMap(([, group]) => (group ? [[`group/${group.gid}`, group.id] as const] : [])),
  ]);
  const told = await tx.estate.everTold(org, [...keys.keys()]);
  const { settings } = await tx.clusters.orgOf(org);
  return plan(
    matches,
    {
      numbers: await tx.estate.numbers(org),
      names: await tx.estate.names(org),
      released: new Set([...told].flatMap((key) => keys.get(key) ?? [])),
      gids: new Set(groups.map(({ gid }) => gid)),
      primaries: Map.groupBy(people, ({ gid }) => gid),
      keys: create ? await tx.estate.keys(org) : new Set(),
      shells: settings.shells,
    },
    create,
  );
}

async function slurmFor(
  tx: Tx,
  org: string,
  dump: SlurmDump | undefined,
  estate: Estate,
  planned: Plan,
  create: boolean,
  cluster: Cluster | undefined,
): Promise<SlurmPlan> {
  if (!dump || !cluster) return { rules: [], kept: [], unmatched: [], admins: [], problems: [] };
  const people = await tx.estate.people(org);
  const groups = await tx.estate.groups(org);
  const names = new Map(
    groups.flatMap(({ name, displayName }) => [name, fold(displayName)].map((each) => [each, displayName])),
  );
  for (const { name, group } of planned.groups) names.set(name, group?.displayName ?? name);
  if (create) for (const { name } of estate.teams) if (!names.has(fold(name))) names.set(fold(name), name);
  const posixNames = new Set([...people, ...estate.accounts].map(({ name }) => name));
  return planSlurm(dump, posixNames, names, await tx.clusters.rules(cluster.id));
}

async function apply(
  tx: Tx,
  ctx: Context,
  actor: Actor,
  org: string,
  { people, groups, closed }: Plan,
  { rules }: SlurmPlan,
  cluster: Cluster | undefined,
): Promise<void> {
  const now = ctx.now();
  const users: string[] = [];
  const touchedGroups: string[] = [];
  const adopters = people.map((each) => ({ ...each, id: each.person?.id ?? ctx.newId() }));
  const adopted = groups.map((each) => ({ ...each, id: each.group?.id ?? ctx.newId() }));
  await tx.estate.claim(org, [
    ...closed.map(({ name, numbers }) => ({ subject: `estate:${name}`, name, numbers })),
    ...adopters.map(({ id, name, uid }) => ({ subject: id, name, numbers: [uid] })),
    ...adopted.map(({ id, name, gid }) => ({ subject: id, name, numbers: [gid] })),
  ]);
  for (const { id, person, name, uid, gid, home, shell, fullName, keys } of adopters) {
    const account = { name, uid, gid, home, shell };
    if (person) await tx.estate.setPerson(id, account, now);
    else {
      const stated = { userName: name, externalId: undefined, active: true, fullName, attributes: {} };
      await tx.users.add({ ...stated, ...account, id, org, origin: "admin", createdAt: now, modifiedAt: now });
      for (const key of keys) await tx.keys.add(org, id, { ...key, createdAt: now, expiresAt: undefined });
    }
    const before = person && {
      name: person.name,
      uid: person.uid,
      gid: person.gid,
      home: person.home,
      shell: person.shell,
    };
    record(tx, actor, {
      org,
      action: "user.adopt",
      subject: named(person?.userName ?? name, id),
      before,
      after: person ? account : { ...account, fullName, keys: keys.map(fingerprint) },
    });
    users.push(id);
  }
  for (const { id, group, name, gid, members } of adopted) {
    if (group) await tx.estate.setGroup(id, { name, gid }, now);
    else {
      const stated = { displayName: name, externalId: undefined, origin: "admin" };
      const made = { ...stated, id, org, name, gid, createdAt: now, modifiedAt: now };
      await tx.groups.put(made);
      // Who of the files is not there is left out: their system accounts.
      const added = await tx.estate.idsOf(org, members);
      await tx.groups.addUsers(id, added);
      recordMembers(tx, actor, made, { added, removed: [] });
    }
    users.push(...(await tx.groups.usersWithin([id])));
    touchedGroups.push(id);
    const before = group && { name: group.name, gid: group.gid };
    record(tx, actor, {
      org,
      action: "group.adopt",
      subject: named(group?.displayName ?? name, id),
      before,
      after: { name, gid },
    });
  }
  if (closed.length > 0) record(tx, actor, { org, action: "estate.close", subject: "estate", after: { closed } });
  if (cluster) await adoptRules(tx, actor, cluster, rules);
  for (const { group } of cluster ? rules : []) {
    const found = await tx.groups.byDisplayName(org, group);
    if (found) touchedGroups.push(found.id);
    if (found) users.push(...(await tx.groups.usersWithin([found.id])));
  }
  const touched = { org, users, groups: touchedGroups, clusters: cluster ? [cluster.id] : [] };
  await reproject(tx, touched, `${show(actor)}: import`, now);
}

/**
 * What adopting an estate would do, and everything that stands against it. Pure: nothing is decided by the first problem,
 * and one problem is enough that nothing is done.
 *
 * A number or a name has one subject for ever. So an account may be taken over by somebody whom no node ever knew under
 * another number or name, and only if nobody else has or had what it brings. What nobody takes over is closed: given to
 * nobody, ever, since files on the cluster's disks carry it.
 */

import { type Gid, parseGid, parseUid, type Uid } from "../../identity/id.ts";
import { type Name, parseName } from "../../identity/name.ts";
import { Refusal } from "../../identity/refusal.ts";
import { parseHome, parseShell, sanitiseGecos } from "../../identity/resource.ts";
import { fingerprint, parseSshKey, type SshKey } from "../../identity/ssh-key.ts";
import type { Account, Problem, Team } from "./estate.ts";
import { type DirectoryGroup, type Matches, type Person, placeOf } from "./match.ts";

/** What the directory has or had. */
export interface Standing {
  /** Whose a number or a name is or was: an id of the directory, or `estate:` and the name of an account. */
  readonly numbers: ReadonlyMap<number, string>;
  readonly names: ReadonlyMap<string, string>;
  /** Ids of those whom nodes were ever told of. */
  readonly released: ReadonlySet<string>;
  /** GIDs of the directory's groups. */
  readonly gids: ReadonlySet<number>;
  /** By GID, those whose primary group it is; undefined: their private group. */
  readonly primaries: ReadonlyMap<number | undefined, readonly { readonly id: string }[]>;
  /** Hashes of the keys that somebody has. */
  readonly keys: ReadonlySet<string>;
  /** Login shells that the org allows. */
  readonly shells: readonly string[];
}

export interface AdoptedPerson {
  readonly person: Person | undefined;
  readonly name: Name;
  readonly uid: Uid;
  /** Undefined: the private group. */
  readonly gid: Gid | undefined;
  readonly home: string;
  readonly shell: string;
  readonly fullName: string;
  /** Of one who is to be created. */
  readonly keys: readonly SshKey[];
}

export interface AdoptedGroup {
  readonly group: DirectoryGroup | undefined;
  readonly name: Name;
  readonly gid: Gid;
  /** POSIX names, of one that is to be created. */
  readonly members: readonly string[];
}

export interface Plan {
  readonly people: readonly AdoptedPerson[];
  readonly groups: readonly AdoptedGroup[];
  /** What is given to nobody from now on. */
  readonly closed: readonly { readonly name: string; readonly numbers: readonly number[] }[];
  /** How many are as they should be already. */
  readonly unchanged: number;
  /** How many belong to the system, and are left alone. */
  readonly system: number;
  readonly problems: readonly Problem[];
}

/** `create`: whether those who match nobody become local users and groups. */
export function plan(matches: Matches, standing: Standing, create: boolean): Plan {
  const problems: Problem[] = [...matches.problems];
  const accounts = matches.people.filter(([account]) => !isSystem(account.uid));
  const ownGroups = new Set(
    accounts.filter(([{ uid, gid }]) => uid === gid).map(([{ name, gid }]) => `${gid}:${name}`),
  );
  const privates = new Set(
    matches.groups.filter(([{ name, gid }]) => ownGroups.has(`${gid}:${name}`)).map(([team]) => team),
  );
  const teams = matches.groups.filter(([team]) => !isSystem(team.gid) && !privates.has(team));
  const system = matches.people.length - accounts.length + (matches.groups.length - privates.size - teams.length);

  checkOnce(accounts, teams, problems);
  checkRoot(matches.people, problems);
  const moved = teams.flatMap(([team, group]) => (group && group.gid !== team.gid ? [{ team, group }] : []));
  const left = new Set(moved.map(({ group }) => group.gid));
  const known = new Set([
    ...[...standing.gids].filter((gid) => !left.has(gid)),
    ...teams.filter(([, group]) => group || create).map(([team]) => team.gid),
  ]);
  const people = accounts.flatMap(([account, person]) => {
    const checked = readAccount(account, known, standing.shells, problems);
    return checked ? [{ account, person, ...checked }] : [];
  });
  const groups = teams.flatMap(([team, group]) => {
    const name = attempt(team, "name", team.name, parseName, problems);
    const gid = attempt(team, "gid", team.gid, parseGid, problems);
    return name !== undefined && gid !== undefined ? [{ team, group, name, gid, members: team.members }] : [];
  });
  for (const { account, person, name, uid } of people) {
    if (person && standing.released.has(person.id) && (person.uid !== uid || person.name !== name)) {
      const rule = `nodes know ${person.userName} as ${person.name} with uid ${person.uid}, which never changes`;
      problems.push({ ...placeOf(account), field: "uid", value: String(uid), rule });
    }
    checkFree(account, name, uid, person?.id, standing, problems);
  }
  for (const { team, group, name, gid } of groups) {
    if (group && standing.released.has(group.id) && (group.gid !== (gid as number) || group.name !== name)) {
      const rule = `nodes know ${group.displayName} as ${group.name} with gid ${group.gid}, which never changes`;
      problems.push({ ...placeOf(team), field: "gid", value: String(gid), rule });
    }
    checkFree(team, name, gid, group?.id, standing, problems);
  }
  const taken = people.filter(({ person }) => person || create);
  const takenGroups = groups.filter(({ group }) => group || create);
  checkPrimaries(moved, new Set(people.flatMap(({ person }) => person?.id ?? [])), standing, problems);
  if (create) checkKeys(people, standing.keys, problems);
  const changed = taken.filter((each) => !isAsItShouldBe(each));
  const changedGroups = takenGroups.filter(
    ({ group, name, gid }) => group?.name !== name || group.gid !== (gid as number),
  );
  return {
    people: changed,
    groups: changedGroups,
    closed: [
      ...people.filter(({ person }) => !person && !create).map(({ name, uid }) => ({ name, numbers: [uid as number] })),
      ...groups.filter(({ group }) => !group && !create).map(({ name, gid }) => ({ name, numbers: [gid as number] })),
    ].filter(
      ({ name, numbers }) => standing.names.get(name) === undefined || numbers.some((n) => !standing.numbers.has(n)),
    ),
    unchanged: taken.length - changed.length + takenGroups.length - changedGroups.length,
    system,
    problems,
  };
}

function isSystem(id: number): boolean {
  return id < 1000 || id === 65_534;
}

function isAsItShouldBe({ person, name, uid, gid, home, shell }: Omit<AdoptedPerson, "fullName" | "keys">): boolean {
  return (
    person?.name === name &&
    person.uid === (uid as number) &&
    person.gid === gid &&
    person.home === home &&
    person.shell === shell
  );
}

function readAccount(account: Account, gids: ReadonlySet<number>, shells: readonly string[], problems: Problem[]) {
  const name = attempt(account, "name", account.name, parseName, problems);
  const uid = attempt(account, "uid", account.uid, parseUid, problems);
  const home = attempt(account, "home", account.home, parseHome, problems);
  const shell = attempt(account, "shell", account.shell, parseShell, problems);
  const isPrivate = account.gid === account.uid;
  const gid = isPrivate ? undefined : attempt(account, "gid", account.gid, parseGid, problems);
  const keys = account.keys.flatMap((line) => attempt(account, "sshPublicKey", line, parseSshKey, problems) ?? []);
  if (gid !== undefined && !gids.has(gid)) {
    const rule = "the primary group is neither among the groups that are taken over nor the directory's";
    problems.push({ ...placeOf(account), field: "gid", value: String(gid), rule });
  }
  if (shell !== undefined && !shells.includes(shell)) {
    const rule = `the org allows ${shells.join(", ")}: allow it with \`rollcall org set --shells\`, or change the account`;
    problems.push({ ...placeOf(account), field: "shell", value: shell, rule });
  }
  if (name === undefined || uid === undefined || home === undefined || shell === undefined) return undefined;
  return { name, uid, gid, home, shell, fullName: sanitiseGecos(account.gecos), keys };
}

function attempt<T, R>(
  at: Account | Team,
  field: string,
  value: T,
  parse: (value: T) => R,
  problems: Problem[],
): R | undefined {
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    // Not a key's own text: it may be a private one.
    const shown = field === "sshPublicKey" ? "" : String(value);
    problems.push({ ...placeOf(at), field, value: shown, rule: error.message });
    return undefined;
  }
}

/** The superuser is the node's own, under every name. */
function checkRoot(people: Matches["people"], problems: Problem[]): void {
  for (const [account] of people) {
    if (account.uid !== 0 || account.name === "root") continue;
    const rule = "uid 0 is root's, and this would be a second name of root: remove the line, and ask why it was there";
    problems.push({ ...placeOf(account), field: "uid", value: "0", rule });
  }
}

/** A group that moves takes its people along only if the files say so of each. */
function checkPrimaries(
  moved: readonly { readonly team: Team; readonly group: DirectoryGroup }[],
  stated: ReadonlySet<string>,
  { primaries }: Standing,
  problems: Problem[],
): void {
  for (const { team, group } of moved) {
    const behind = (primaries.get(group.gid) ?? []).filter(({ id }) => !stated.has(id));
    if (behind.length === 0) continue;
    const rule = `${group.gid} is the primary group of ${behind.length} whom the files do not have: give their accounts too`;
    problems.push({ ...placeOf(team), field: "gid", value: String(team.gid), rule });
  }
}

/** A key signs in one person. */
function checkKeys(
  people: readonly {
    readonly account: Account;
    readonly person: Person | undefined;
    readonly keys: readonly SshKey[];
  }[],
  taken: ReadonlySet<string>,
  problems: Problem[],
): void {
  const seen = new Map<string, Account>();
  for (const { account, keys } of people.filter(({ person }) => !person)) {
    for (const key of keys) {
      const other = seen.get(key.sha256);
      const whose = other ? `${other.file}:${other.line} has it too` : "it is a directory user's";
      if (other || taken.has(key.sha256)) {
        const rule = `the key ${fingerprint(key)} signs in one person, and ${whose}: remove it from one of them`;
        problems.push({ ...placeOf(account), field: "sshPublicKey", value: "", rule });
      }
      seen.set(key.sha256, account);
    }
  }
}

/** One number space and one space of names for people and groups: a private group has its owner's. */
function checkOnce(accounts: Matches["people"], teams: Matches["groups"], problems: Problem[]): void {
  const entries = [
    ...accounts.map(([account]) => ({ at: account, field: "uid", number: account.uid })),
    ...teams.map(([team]) => ({ at: team, field: "gid", number: team.gid })),
  ];
  const byNumber = new Map<number, Account | Team>();
  const byName = new Map<string, Account | Team>();
  for (const { at, field, number } of entries) {
    const other = byNumber.get(number);
    const rule = "one number is one person's or one group's, also as a private group";
    if (other) {
      problems.push({
        ...placeOf(at),
        field,
        value: String(number),
        rule: `${other.file}:${other.line} has it too: ${rule}`,
      });
    } else byNumber.set(number, at);
    const namesake = byName.get(at.name.toLowerCase());
    if (namesake) {
      const clash = `${namesake.file}:${namesake.line} has the same name, but for case: rename one of them`;
      problems.push({ ...placeOf(at), field: "name", value: at.name, rule: clash });
    } else byName.set(at.name.toLowerCase(), at);
  }
}

function checkFree(
  at: Account | Team,
  name: Name,
  number: number,
  id: string | undefined,
  { numbers, names }: Standing,
  problems: Problem[],
): void {
  const isFree = (holder: string | undefined): boolean =>
    holder === undefined || holder === id || holder === `estate:${name}`;
  if (!isFree(numbers.get(number))) {
    const rule = "it is or was somebody else's, and is never given again";
    problems.push({ ...placeOf(at), field: "uid" in at ? "uid" : "gid", value: String(number), rule });
  }
  if (!isFree(names.get(name))) {
    const rule = "the POSIX name is or was somebody else's, and is never given again";
    problems.push({ ...placeOf(at), field: "name", value: name, rule });
  }
}

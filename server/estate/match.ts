/** Who of an estate is who of the directory: by the operator's mapping, by POSIX name, by e-mail address. */

import { fold } from "../../identity/fold.ts";
import type { Account, Estate, Problem, Team } from "./estate.ts";
import type { Mapping } from "./mapping.ts";

/** A person of the directory, as far as an estate can be about them. */
export interface Person {
  readonly id: string;
  readonly userName: string;
  readonly name: string;
  readonly uid: number;
  readonly gid: number | undefined;
  readonly home: string | undefined;
  readonly shell: string | undefined;
  /** The primary address, folded; undefined if none is known. */
  readonly mail: string | undefined;
}

/** A group of the directory. */
export interface DirectoryGroup {
  readonly id: string;
  readonly displayName: string;
  readonly name: string;
  readonly gid: number;
}

export interface Matches {
  readonly people: readonly (readonly [Account, Person | undefined])[];
  readonly groups: readonly (readonly [Team, DirectoryGroup | undefined])[];
  readonly problems: readonly Problem[];
}

export function match(
  { accounts, teams }: Pick<Estate, "accounts" | "teams">,
  mapping: Mapping,
  people: readonly Person[],
  groups: readonly DirectoryGroup[],
): Matches {
  const problems: Problem[] = [];
  const byUserName = new Map(people.map((person) => [fold(person.userName), person]));
  const byName = new Map(people.map((person) => [person.name, person]));
  const byLocalPart = grouped(people, ({ userName }) => fold(userName.split("@", 1)[0] ?? ""));
  const byMail = grouped(people, ({ mail }) => mail);
  const find = (account: Account): Person | undefined => {
    const mapped = mapping.userNames.get(account.name);
    if (mapped) {
      const person = byUserName.get(fold(mapped.userName));
      const rule = "the directory has no such userName: create the user first, or leave the line out";
      if (!person) problems.push({ ...mapped, field: "userName", value: mapped.userName, rule });
      return person;
    }
    const named = byName.get(account.name);
    if (named) return named;
    const mails = account.mails.map(fold);
    const found = new Set([
      ...(byLocalPart.get(fold(account.name)) ?? []),
      ...mails.flatMap((mail) => [...(byMail.get(mail) ?? []), ...[byUserName.get(mail)].flatMap((one) => one ?? [])]),
    ]);
    if (found.size <= 1) return [...found][0];
    const who = [...found].map(({ userName }) => userName).join(", ");
    problems.push({
      ...placeOf(account),
      field: "name",
      value: account.name,
      rule: `could be each of ${who}: say which with --map`,
    });
    return undefined;
  };
  const matched = accounts.map((account) => [account, find(account)] as const);
  checkOnce(matched, ({ userName }) => `${userName} is matched`, "say who is who with --map", problems);
  const names = new Set(accounts.map(({ name }) => name));
  for (const [name, { file, line }] of mapping.userNames) {
    if (names.has(name)) continue;
    problems.push({ file, line, field: "name", value: name, rule: "no file has an account of this name" });
  }
  const found = matchGroups(teams, groups);
  const remedy = "keep the line that has its number, and give the other another name";
  checkOnce(found, ({ displayName }) => `the group ${displayName} is matched`, remedy, problems);
  return { people: matched, groups: found, problems };
}

/** By POSIX name before display name: the POSIX name is what files and nodes say, and is one group's for ever. */
function matchGroups(teams: readonly Team[], groups: readonly DirectoryGroup[]): Matches["groups"] {
  const byName = new Map(groups.map((group) => [group.name, group]));
  const byDisplayName = new Map(groups.map((group) => [fold(group.displayName), group]));
  return teams.map((team) => [team, byName.get(team.name) ?? byDisplayName.get(fold(team.name))] as const);
}

/** One subject of the directory has one entry in the files, whichever name found it. */
function checkOnce<E extends Account | Team, S extends { readonly id: string }>(
  matched: readonly (readonly [E, S | undefined])[],
  say: (subject: S) => string,
  remedy: string,
  problems: Problem[],
): void {
  const taken = new Map<string, E>();
  for (const [entry, subject] of matched) {
    if (!subject) continue;
    const other = taken.get(subject.id);
    if (!other) taken.set(subject.id, entry);
    else {
      const rule = `${say(subject)} by ${other.file}:${other.line} already: ${remedy}`;
      problems.push({ ...placeOf(entry), field: "name", value: entry.name, rule });
    }
  }
}

export function placeOf({ file, line }: Problem | Account | Team): { file: string; line: number } {
  return { file, line };
}

function grouped<T>(all: readonly T[], keyOf: (one: T) => string | undefined): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    if (key === undefined) continue;
    const others = found.get(key);
    if (others) others.push(one);
    else found.set(key, [one]);
  }
  return found;
}

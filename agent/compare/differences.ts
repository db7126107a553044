/** What would change on a node if it were served what its agent holds: pure. */

import type { Answers, Group, Person, Present } from "./answers.ts";

export interface Difference {
  readonly kind: "user" | "group" | "key";
  readonly name: string;
  /** `entry` if one side has none. */
  readonly field: "entry" | "uid" | "gid" | "gecos" | "home" | "shell" | "members" | "keys";
  /** What is there now; empty: nothing. */
  readonly here: string;
  /** What would be; empty: nothing. */
  readonly there: string;
}

export interface Differences {
  readonly users: number;
  readonly usersDiffering: number;
  readonly groups: number;
  readonly groupsDiffering: number;
  /** People whose keys were compared; 0 if the node has no place for keys. */
  readonly keys: number;
  readonly keysDiffering: number;
  readonly differences: readonly Difference[];
}

/** The first person's number; what is below is the system's, and so is `nobody`. */
const firstId = 1000;
const nobody = 65_534;

/** At most so many characters of a value. */
const longest = 200;

export function differencesOf(
  expected: Answers & { readonly keys: ReadonlyMap<string, ReadonlySet<string>> },
  present: Present,
): Differences {
  const users = [...expected.people.values()].flatMap((there) => personDiffers(there, present));
  users.push(...onlyHere("user", present.people, expected.people, present.local.people, ({ uid }) => uid));
  const groups = [...expected.groups.values()].flatMap((there) =>
    groupDiffers(there, present, expected.people.get(there.name)?.uid === there.gid),
  );
  groups.push(...onlyHere("group", present.groups, expected.groups, present.local.groups, ({ gid }) => gid));
  const keys = present.keys
    ? [...expected.people.keys()].flatMap((name) => keysDiffer(name, expected.keys, present))
    : [];
  const names = (list: readonly Difference[]): number => new Set(list.map(({ name }) => name)).size;
  return {
    users: expected.people.size,
    usersDiffering: names(users),
    groups: expected.groups.size,
    groupsDiffering: names(groups),
    keys: present.keys ? expected.people.size : 0,
    keysDiffering: names(keys),
    // Whoever changes or goes first: people who are only to come are what the move is for.
    differences: [...users, ...groups, ...keys].sort((a, b) => weight(a) - weight(b)),
  };
}

function weight({ here }: Difference): number {
  return here === "" ? 1 : 0;
}

function personDiffers(there: Person, { people, uids, local }: Present): Difference[] {
  const { name } = there;
  const here = people.get(name);
  if (!here) {
    const holder = uids.get(there.uid);
    const now = holder === undefined ? "" : `uid ${there.uid} is ${holder}`;
    return [{ kind: "user", name, field: "entry", here: now, there: `uid ${there.uid}` }];
  }
  const fields = ["uid", "gid", "gecos", "home", "shell"] as const;
  const stays = local.people.has(name) ? " (in the node's own passwd, which stays)" : "";
  return fields
    .filter((field) => here[field] !== there[field])
    .map((field) => ({ kind: "user", name, field, here: shown(`${here[field]}${stays}`), there: shown(there[field]) }));
}

function groupDiffers(there: Group, { groups, gids, local }: Present, isPrivate: boolean): Difference[] {
  const { name } = there;
  const here = groups.get(name);
  if (!here) {
    const holder = gids.get(there.gid);
    // A private group that nobody has now is news to nobody; a person without one is told as such.
    if (holder === undefined && isPrivate) return [];
    const now = holder === undefined ? "" : `gid ${there.gid} is ${holder}`;
    return [{ kind: "group", name, field: "entry", here: now, there: `gid ${there.gid}` }];
  }
  const stays = local.groups.has(name) ? " (in the node's own group, which stays)" : "";
  const found: Difference[] = [];
  if (here.gid !== there.gid) {
    found.push({ kind: "group", name, field: "gid", here: `${here.gid}${stays}`, there: there.gid });
  }
  const [left, came] = [missing(here.members, there.members), missing(there.members, here.members)];
  if (left.length + came.length > 0) {
    // Only who differs: of ten thousand members two may.
    found.push({ kind: "group", name, field: "members", here: shown(left.join(" ")), there: shown(came.join(" ")) });
  }
  return found;
}

function keysDiffer(name: string, expected: ReadonlyMap<string, ReadonlySet<string>>, { keys }: Present): Difference[] {
  const [here, there] = [keys?.get(name) ?? new Set<string>(), expected.get(name) ?? new Set<string>()];
  const [left, came] = [missing(here, there), missing(there, here)];
  if (left.length + came.length === 0) return [];
  return [{ kind: "key", name, field: "keys", here: shown(left.join(" ")), there: shown(came.join(" ")) }];
}

/** Whom the node lists now and would know no more; who is in its own files stays. */
function* onlyHere<T extends { readonly name: string }>(
  kind: "user" | "group",
  present: ReadonlyMap<string, T>,
  expected: ReadonlyMap<string, T>,
  local: ReadonlySet<string>,
  numberOf: (entry: T) => string,
): Generator<Difference> {
  for (const entry of present.values()) {
    const number = Number(numberOf(entry));
    if (expected.has(entry.name) || local.has(entry.name) || number < firstId || number === nobody) continue;
    yield { kind, name: entry.name, field: "entry", here: `${kind === "user" ? "uid" : "gid"} ${number}`, there: "" };
  }
}

function missing(of: ReadonlySet<string>, from: ReadonlySet<string>): string[] {
  return [...of].filter((one) => !from.has(one)).sort();
}

function shown(text: string): string {
  return text.length <= longest ? text : `${text.slice(0, longest - 3)}...`;
}

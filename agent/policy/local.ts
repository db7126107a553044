/**
 * The node's own accounts: /etc/passwd and /etc/group. `files` comes first in nsswitch.conf, so of two entries with one name
 * or one number readers find the local one, sometimes: half of a person would be another. So the directory's entry loses, whole: no
 * sink sees it.
 *
 * Subordinate ids (/etc/subuid) are another matter: whoever holds them can become a person with such a number inside a
 * container. Nothing is served otherwise for that, but it is said.
 */

import { existsSync, readFileSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { type IdRange, idsOfPeople, overlap } from "../../identity/id.ts";
import { keyOf, type Resource, type User } from "../../identity/resource.ts";
import { errnoOf } from "../disk.ts";
import type { Isolated } from "../sink.ts";

export interface Local {
  /** Ids by name. */
  readonly users: ReadonlyMap<string, number>;
  readonly groups: ReadonlyMap<string, number>;
  /** Names by id, of the first with that id. */
  readonly uids: ReadonlyMap<number, string>;
  readonly gids: ReadonlyMap<number, string>;
  readonly subordinate: readonly Subordinate[];
}

/** Ids that a local user may give away inside containers. */
export interface Subordinate extends IdRange {
  readonly whose: string;
}

export const nobodyLocal: Local = parseLocal({ passwd: "", group: "", subuid: "" });

/** Why an entry loses to a local account; undefined if it does not. */
export function whyShadowed(local: Local, resource: Resource): string | undefined {
  switch (resource.kind) {
    case "user": {
      const { uid, gid, name } = resource;
      const holder = local.users.get(name);
      if (holder !== undefined) return `local: the user ${name} is in this node's own /etc/passwd, with uid ${holder}`;
      const namesake = local.uids.get(uid);
      if (namesake !== undefined) return `local: uid ${uid} is ${namesake}'s in this node's own /etc/passwd`;
      const group = local.gids.get(gid);
      if (group !== undefined) return `local: gid ${gid} is the group ${group} in this node's own /etc/group`;
      // A private group has its user's name.
      const of = gid === (uid as number) ? local.groups.get(name) : undefined;
      return of === undefined ? undefined : `local: the group ${name} is in this node's own /etc/group, with gid ${of}`;
    }
    case "group": {
      const { gid, name } = resource;
      const holder = local.groups.get(name);
      if (holder !== undefined) return `local: the group ${name} is in this node's own /etc/group, with gid ${holder}`;
      const namesake = local.gids.get(gid);
      return namesake === undefined
        ? undefined
        : `local: gid ${gid} is the group ${namesake} in this node's own /etc/group`;
    }
    case "member":
    case "key":
    case "sudo":
    case "account":
    case "association":
      return undefined;
  }
}

/** Whether a resource is a person whom the holder of subordinate ids may become. */
export function isLent({ subordinate }: Local, resource: Resource): boolean {
  return (
    resource.kind === "user" && subordinate.some(({ first, last }) => resource.uid >= first && resource.uid <= last)
  );
}

/** Of each range of subordinate ids, the first of some people whom its holder may become, and how many there are. */
export function lent({ subordinate }: Local, people: Iterable<Resource>): Isolated[] {
  if (subordinate.length === 0) return [];
  const found = new Map<Subordinate, { readonly first: User; count: number }>();
  for (const person of people) {
    if (person.kind !== "user") continue;
    for (const range of subordinate) {
      if (person.uid < range.first || person.uid > range.last) continue;
      const known = found.get(range);
      if (known) known.count++;
      else found.set(range, { first: person, count: 1 });
    }
  }
  return [...found].map(([{ whose, first: from, last: to }, { first, count }]) => {
    const others = count === 1 ? "" : ` (and ${count - 1} others)`;
    const range = `${from}..${to} in this node's own /etc/subuid`;
    return {
      key: keyOf(first),
      reason: `local: served, but ${whose} may become ${first.name}${others} in containers: ${range}`,
    };
  });
}

/** The uids in a passwd file, as it is now; none if there is no such file. */
export function uidsIn(path: string): ReadonlySet<number> {
  return new Set(existsSync(path) ? entries(readFileSync(path, "latin1"), 2).map(([, uid]) => uid) : []);
}

const files = ["passwd", "group", "subuid"] as const;
type Name = (typeof files)[number];

const longest = 16_777_216;

/** Reads them again only if a file changed. */
export class LocalAccounts {
  readonly #etc: string;
  #seen = "";
  #now = nobodyLocal;

  constructor(etc: string) {
    this.#etc = etc;
  }

  get now(): Local {
    return this.#now;
  }

  /** Whether they are others than before. @throws Error if a file cannot be read: the last good ones stay. */
  async refresh(): Promise<boolean> {
    const seen = (await Promise.all(files.map((name) => this.#mark(name)))).join(" ");
    if (seen === this.#seen) return false;
    const texts: Partial<Record<Name, string>> = {};
    for (const name of files) texts[name] = await this.#read(name);
    const { passwd = "", group = "", subuid = "" } = texts;
    this.#now = parseLocal({ passwd, group, subuid });
    this.#seen = seen;
    return true;
  }

  async #mark(name: Name): Promise<string> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(join(this.#etc, name), { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join();
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return "none";
      throw new Error(`look at /etc/${name}`, { cause });
    }
  }

  async #read(name: Name): Promise<string> {
    try {
      await using file = await open(join(this.#etc, name));
      if ((await file.stat()).size > longest) throw new Error(`it is longer than ${longest} bytes`);
      return await file.readFile("latin1");
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return "";
      throw new Error(`read /etc/${name}`, { cause });
    }
  }
}

/** @internal As glibc reads them: what is no entry, a comment or a compat line, is passed over. */
export function parseLocal(texts: Readonly<Record<Name, string>>): Local {
  const [users, groups] = [entries(texts.passwd, 2), entries(texts.group, 2)];
  const subordinate = texts.subuid.split("\n").flatMap((line) => {
    const [, whose = "", from, count] = /^([^#:]+):([0-9]+):([0-9]+)$/.exec(line) ?? [];
    const range = { first: Number(from), last: Number(from) + Number(count) - 1 };
    // Most are where nobody's number can be.
    return Number(count) > 0 && idsOfPeople.some((each) => overlap(each, range)) ? [{ whose, ...range }] : [];
  });
  return {
    users: new Map(users.toReversed()),
    groups: new Map(groups.toReversed()),
    uids: new Map(users.map(([name, id]) => [id, name] as const).toReversed()),
    gids: new Map(groups.map(([name, id]) => [id, name] as const).toReversed()),
    subordinate,
  };
}

function entries(text: string, field: number): [string, number][] {
  return text.split("\n").flatMap((line): [string, number][] => {
    const fields = line.trimStart().split(":");
    const [name = ""] = fields;
    const id = fields[field] ?? "";
    return /^[^#+-]/.test(name) && /^[0-9]+$/.test(id) ? [[name, Number(id)]] : [];
  });
}

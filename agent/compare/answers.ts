/**
 * What a node answers now, whoever gives the answers: nsscache, SSSD, files. Asked through getent, so through the node's own
 * nsswitch.conf; of keys, what lies where sshd or its helper would read it.
 */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export interface Person {
  readonly name: string;
  readonly uid: string;
  readonly gid: string;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
}

export interface Group {
  readonly name: string;
  readonly gid: string;
  readonly members: ReadonlySet<string>;
}

/** By name. */
export interface Answers {
  readonly people: ReadonlyMap<string, Person>;
  readonly groups: ReadonlyMap<string, Group>;
}

export interface Present extends Answers {
  /** Whose number it is now, by number. */
  readonly uids: ReadonlyMap<string, string>;
  readonly gids: ReadonlyMap<string, string>;
  /** Names in the node's own passwd and group files, which answer first and stay whoever else answers. */
  readonly local: { readonly people: ReadonlySet<string>; readonly groups: ReadonlySet<string> };
  /** Fingerprints by name; undefined: there is no place for keys. */
  readonly keys: ReadonlyMap<string, ReadonlySet<string>> | undefined;
}

/** Asks one database for some names or numbers, or without any for all that it lists. @throws Error if it cannot be asked. */
export type Ask = (database: "passwd" | "group", keys: readonly string[]) => Promise<string>;

/** So many names are asked for at once. */
const atOnce = 300;

/**
 * What the node answers of some people and groups, and whom else it lists. Not every source lists whom it knows (SSSD by default does
 * not), so who is expected and not listed is asked for by name and by number.
 */
export async function presentOf(etc: string, expected: Answers, ask: Ask): Promise<Present> {
  const passwd = await answersOf(ask, "passwd", expected.people, ({ uid }) => uid, parsePeople);
  const group = await answersOf(ask, "group", expected.groups, ({ gid }) => gid, parseGroups);
  const file = (name: string) => readFile(join(etc, name), "utf8").catch(() => "");
  return {
    people: passwd.byName,
    groups: group.byName,
    uids: passwd.byNumber,
    gids: group.byNumber,
    local: {
      people: new Set(parsePeople(await file("passwd")).keys()),
      groups: new Set(parseGroups(await file("group")).keys()),
    },
    keys: await keysIn(etc),
  };
}

async function answersOf<T extends { readonly name: string }>(
  ask: Ask,
  database: "passwd" | "group",
  expected: ReadonlyMap<string, T>,
  numberOf: (entry: T) => string,
  parse: (text: string) => ReadonlyMap<string, T>,
) {
  const byName = new Map(parse(await ask(database, [])));
  const byNumber = new Map([...byName.values()].map((entry) => [numberOf(entry), entry.name]));
  const wanted = [...expected.values()].flatMap((entry) => [
    ...(byName.has(entry.name) ? [] : [entry.name]),
    ...(byNumber.has(numberOf(entry)) ? [] : [numberOf(entry)]),
  ]);
  for (let at = 0; at < wanted.length; at += atOnce) {
    for (const [name, entry] of parse(await ask(database, wanted.slice(at, at + atOnce)))) {
      byName.set(name, entry);
      if (!byNumber.has(numberOf(entry))) byNumber.set(numberOf(entry), name);
    }
  }
  return { byName, byNumber };
}

/** Lines of passwd(5); the first of a name counts, and what is no entry is passed over, as readers do. */
export function parsePeople(text: string): Map<string, Person> {
  const people = new Map<string, Person>();
  for (const line of text.split("\n")) {
    const [name = "", , uid = "", gid = "", gecos = "", home = "", shell = ""] = line.split(":");
    if (!isNumber(uid) || !isNumber(gid) || name === "" || name.startsWith("#") || people.has(name)) continue;
    people.set(name, { name, uid, gid, gecos, home, shell });
  }
  return people;
}

/** Lines of group(5), in the same way. */
export function parseGroups(text: string): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const line of text.split("\n")) {
    const [name = "", , gid = "", members = ""] = line.split(":");
    if (!isNumber(gid) || name === "" || name.startsWith("#") || groups.has(name)) continue;
    groups.set(name, { name, gid, members: new Set(members.split(",").filter((member) => member !== "")) });
  }
  return groups;
}

function isNumber(text: string): boolean {
  return /^[0-9]{1,10}$/.test(text);
}

/** Keys in `ssh/authorized_keys.d/NAME` and in nsscache's `sshkey.cache`. */
async function keysIn(etc: string): Promise<Map<string, ReadonlySet<string>> | undefined> {
  const folder = join(etc, "ssh/authorized_keys.d");
  const names = await readdir(folder).catch(() => undefined);
  const cache = await readFile(join(etc, "sshkey.cache"), "utf8").catch(() => undefined);
  if (names === undefined && cache === undefined) return undefined;
  const keys = new Map<string, ReadonlySet<string>>();
  const add = (name: string, text: string) =>
    keys.set(name, new Set([...(keys.get(name) ?? []), ...fingerprintsIn(text)]));
  for (const name of names ?? []) add(name, await readFile(join(folder, name), "utf8").catch(() => ""));
  for (const line of cache?.split("\n") ?? []) {
    const [, name, text] = /^([^:#]+):(.*)$/.exec(line) ?? [];
    if (name !== undefined && text !== undefined) add(name, text);
  }
  return keys;
}

const keyPattern =
  /(?:sk-)?(?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp(?:256|384|521))(?:@openssh\.com)? +([A-Za-z0-9+/]{16,}={0,2})/g;

/** Whatever is before or behind a key: options, comments, how a program prints a list. Commented lines do not count. */
export function fingerprintsIn(text: string): string[] {
  const lines = text.split("\n").filter((line) => !line.trimStart().startsWith("#"));
  return [...lines.join("\n").matchAll(keyPattern)].map(([, base64 = ""]) => {
    const sum = createHash("sha256").update(Buffer.from(base64, "base64")).digest("base64");
    return `SHA256:${sum.replace(/=+$/, "")}`;
  });
}

/** A source that hangs keeps no comparison for ever, in milliseconds. */
const patience = 120_000;

export const getent: Ask = (database, keys) => {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = { timeout: patience, killSignal: "SIGKILL", maxBuffer: 1 << 28 } as const;
  execFile("getent", [database, ...keys], options, (error, stdout) => {
    // 2: some of them nobody knows.
    if (!error || error.code === 2) resolve(stdout);
    else reject(new Error(`getent ${database} ${keys.length === 0 ? "" : "of names "}failed`, { cause: error }));
  });
  return promise;
};

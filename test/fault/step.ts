/**
 * The step that the fault tests disturb: what is served before and after it, the order in which its files may change, and what readers
 * find in them.
 */

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { expect } from "vitest";
import type { Resource } from "../../identity/resource.ts";
import { aGroup, aKey, aMember, aSudo, aUser } from "../../identity/testing.ts";

/** One leaves, one comes, one is described anew and loses a key, one stays as it is; a group may run more. */
export const before: readonly Resource[] = [
  ...[aUser(1, { name: "leaver" }), aMember(1, 1), aKey(1, "leaver")],
  ...[aUser(2, { name: "changed", gecos: "Old" }), aMember(1, 2), aKey(2, "kept"), aKey(2, "dropped")],
  ...[aUser(3, { name: "steady" }), aMember(2, 3), aKey(3, "steady")],
  ...[aGroup(1), aGroup(2), aSudo(1, ["/usr/bin/id"])],
];
export const after: readonly Resource[] = [
  ...[aUser(4, { name: "joiner" }), aMember(1, 4), aKey(4, "joiner")],
  ...[aUser(2, { name: "changed", gecos: "N".repeat(100) }), aMember(1, 2), aKey(2, "kept")],
  ...[aUser(3, { name: "steady" }), aMember(2, 3), aKey(3, "steady")],
  ...[aGroup(1), aGroup(2), aSudo(1, ["/usr/bin/id"]), aSudo(2, "ALL")],
];

/** Every file that the step changes, in the order in which they may: all of one line before any of the next. */
export const safeOrder: readonly (readonly string[])[] = [
  ["ssh/authorized_keys.d/leaver", "ssh/authorized_keys.d/changed"],
  ["nss/shadow.cache"],
  ["nss/passwd.cache"],
  ["nss/group.cache"],
  [
    "nss/shadow.cache.ixname",
    "nss/passwd.cache.ixuid",
    "nss/passwd.cache.ixname",
    "nss/group.cache.ixgid",
    "nss/group.cache.ixname",
  ],
  ["sudo/rollcall"],
  ["ssh/authorized_keys.d/joiner"],
];

/** By path below the served folder: mode, owners and bytes. */
export type Files = Readonly<Record<string, string>>;

export function filesIn(state: string): Files {
  const served = join(state, "served");
  const entries = readdirSync(served, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
  return Object.fromEntries(
    entries.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      const { mode, uid, gid } = statSync(path);
      return [relative(served, path), `${mode.toString(8)} ${uid}:${gid}\n${readFileSync(path, "latin1")}`];
    }),
  );
}

/**
 * What readers find in files, whatever the layout: a repair may give a record another slot than the step would have. A data
 * file is its records, an index the record at each entry's offset, a key file its bytes.
 */
export function meaningOf(files: Files): Files {
  const meaning = ([path, text]: [string, string]): string => {
    if (!path.startsWith("nss/")) return text;
    const [held, bytes] = parted(text);
    const [data, index] = path.split(/(?<=\.cache)\./);
    if (index === undefined)
      return [
        held,
        ...bytes
          .split("\n")
          .filter((line) => !/^(#|$)/.test(line))
          .sort(),
      ].join("\n");
    const [, lines] = parted(files[data ?? ""] ?? "");
    const entries = bytes.split("\n").slice(0, -1);
    const found = entries.map((entry) => {
      const [key, offset] = entry.split("\0", 2);
      return `${key} -> ${lines.slice(Number(offset)).split("\n", 1)[0]}`;
    });
    return [held, ...found].join("\n");
  };
  return Object.fromEntries(Object.entries(files).map((file) => [file[0], meaning(file)]));
}

/** What stands before the first line break, and all behind it. */
function parted(text: string): [string, string] {
  const at = text.indexOf("\n");
  return [text.slice(0, at), text.slice(at + 1)];
}

export function changed(old: Files, fresh: Files): string[] {
  return Object.keys({ ...old, ...fresh })
    .filter((path) => old[path] !== fresh[path])
    .sort();
}

/** Every file is old or new, and none is new before all that must be so earlier are. */
export function expectSafe(where: string, live: Files, old: Files, fresh: Files): void {
  const states = safeOrder.map((paths) =>
    paths.map((path) => {
      if (live[path] === fresh[path]) return "new";
      return live[path] === old[path] ? "old" : "neither";
    }),
  );
  const mixed = states.findIndex((line) => line.some((state) => state !== "new"));
  const late = mixed < 0 ? [] : states.slice(mixed + 1).flat();
  expect(states.flat(), where).not.toContain("neither");
  expect(late, `${where}: ${JSON.stringify(states)}`).not.toContain("new");
  const others = Object.keys({ ...live, ...old, ...fresh }).filter((path) => !safeOrder.flat().includes(path));
  for (const path of others) expect(live[path], `${path} ${where}`).toBe(old[path]);
}

/** Who may import whom. A breach is a design change: it belongs in docs/decisions first. */

import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

/** For each folder, the folders of ours that it may import; the longest matching prefix rules. */
const allowed: Record<string, readonly string[]> = {
  identity: ["identity"],
  proto: ["proto", "identity"],
  agent: ["agent", "identity", "proto"],
  cli: ["cli", "identity", "proto"],
  server: ["server", "identity", "proto"],
  "server/audit": ["server/audit"],
  "server/store": ["server/store", "server/audit", "identity"],
  "server/estate": ["server/estate", "identity"],
  "server/release": ["server/release", "server/store", "identity"],
  "server/projection": ["server/projection", "server/release", "server/store", "identity"],
  "server/directory": [
    "server/directory",
    "server/estate",
    "server/projection",
    "server/release",
    "server/store",
    "server/audit",
    "identity",
  ],
  "server/rollout": ["server/rollout", "server/store", "server/directory", "identity"],
  "server/stream": [
    "server/stream",
    "server/rollout",
    "server/store",
    "server/directory",
    "server/authority",
    "identity",
    "proto",
  ],
  "server/scim": ["server/scim", "server/directory", "identity"],
  "server/oauth": ["server/oauth", "server/directory", "identity"],
  "server/api": ["server/api", "server/directory", "server/rollout", "identity", "proto"],
  "server/authority": ["server/authority", "server/durable-file.ts", "identity"],
};

// Rows of the store are what the directory gives: their types, and nothing else, may be named above it.
const typesOnly: Record<string, readonly string[]> = {
  "server/scim": ["server/store"],
  "server/api": ["server/store"],
};

const files = globSync(["identity", "proto", "server", "agent", "cli"].map((folder) => `${folder}/**/*.ts`)).filter(
  (file) => !/\.test\.ts$|\/testing\.ts$|simulated-/.test(file),
);

function rule<T>(table: Record<string, T>, file: string): T | undefined {
  const prefixes = Object.keys(table).filter((prefix) => file.startsWith(`${prefix}/`) || file === prefix);
  const longest = prefixes.sort((a, b) => b.length - a.length)[0];
  return longest === undefined ? undefined : table[longest];
}

const within = (target: string, folders: readonly string[]): boolean =>
  folders.some((folder) => target === folder || target.startsWith(`${folder}/`));

test.each(files)("%s", (file) => {
  const source = readFileSync(file, "utf8");
  for (const [, type, target = ""] of source.matchAll(/^(?:import|export)( type)?[^;]*? from "(\.[^"]+)"/gms)) {
    const path = normalize(join(dirname(file), target));
    expect(path, "nothing imports a main.ts").not.toMatch(/(^|\/)main\.ts$/);
    if (file.endsWith("main.ts") && path.startsWith(file.split("/")[0] ?? "")) continue;
    if (path === "package.json") continue;
    const also = type === undefined ? [] : (rule(typesOnly, file) ?? []);
    expect(within(path, [...(rule(allowed, file) ?? []), ...also]), `${file} imports ${path}`).toBe(true);
  }
});

test("the agent carries no database", () => {
  for (const file of files.filter((name) => name.startsWith("agent/"))) {
    expect(readFileSync(file, "utf8")).not.toMatch(/better-sqlite3|kysely/);
  }
});

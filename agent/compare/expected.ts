/**
 * What a node would answer if it were served a copy: the very files that the sinks would write, read back. Nothing is written: the
 * sinks render for a disk that has nothing and takes nothing.
 */

import type { ResourceKey } from "../../identity/resource.ts";
import { fingerprint } from "../../identity/ssh-key.ts";
import type { Disk } from "../disk.ts";
import type { Shown } from "../sink.ts";
import { enumerate } from "../sinks/nss/reader.ts";
import { nssSink } from "../sinks/nss/sink.ts";
import { type Answers, parseGroups, parsePeople } from "./answers.ts";

/** Only the keys of people who are known; others are served to nobody. */
export async function expectedOf(
  copy: Shown,
): Promise<Answers & { readonly keys: ReadonlyMap<string, ReadonlySet<string>> }> {
  const { writes } = await nssSink(nowhere, "/nowhere").repair(copy);
  const text = (map: "passwd" | "group"): string => {
    const written = writes.findLast(({ path, bytes }) => path === `nss/${map}.cache` && bytes !== undefined);
    const lines = enumerate(map, Buffer.from(written?.bytes ?? []));
    return lines.filter((line) => !line.startsWith("rollcall.end:")).join("\n");
  };
  const keys = new Map<string, Set<string>>();
  for (const resource of copy.resources.values()) {
    if (resource.kind !== "key") continue;
    const user = copy.resources.get(`user/${resource.uid}` as ResourceKey);
    if (user?.kind !== "user") continue;
    keys.set(user.name, (keys.get(user.name) ?? new Set()).add(fingerprint(resource.key)));
  }
  return { people: parsePeople(text("passwd")), groups: parseGroups(text("group")), keys };
}

const refused = (): never => {
  throw new Error("a comparing agent writes nothing");
};

const nowhere: Disk = {
  read: async () => undefined,
  holds: async () => false,
  list: async () => [],
  tree: async () => [],
  stamps: async (paths) => paths.map(() => undefined),
  folder: refused,
  create: refused,
  append: refused,
  cut: refused,
  rename: refused,
  remove: refused,
  touch: refused,
  sync: refused,
};

/**
 * The links through which readers find our files. What stands in their place and is not our link was made by somebody else,
 * and is never touched: the agent says what is in the way. One that was taken away is placed again.
 *
 * They may dangle until the first snapshot: to libnss-cache, sshd and sudo a file that cannot be opened is a file without entries.
 */

import { lstat, mkdir, open, readlink, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf } from "./disk.ts";

const links: Readonly<Record<string, string>> = {
  "passwd.cache": "nss/passwd.cache",
  "passwd.cache.ixname": "nss/passwd.cache.ixname",
  "passwd.cache.ixuid": "nss/passwd.cache.ixuid",
  "group.cache": "nss/group.cache",
  "group.cache.ixname": "nss/group.cache.ixname",
  "group.cache.ixgid": "nss/group.cache.ixgid",
  "shadow.cache": "nss/shadow.cache",
  "shadow.cache.ixname": "nss/shadow.cache.ixname",
  "ssh/authorized_keys.d": "ssh/authorized_keys.d",
  "sudoers.d/rollcall": "sudo/rollcall",
};

export interface Tended {
  /** Links that were missing and are there again. */
  readonly placed: readonly string[];
  /** What stands in the place of others, in words: `/etc/passwd.cache is in the way: it is a file ...`. */
  readonly inTheWay: readonly string[];
}

/**
 * Places the links that are missing, where nothing else stands.
 * @param etc `/etc`, or where the node's is mounted.
 * @param served the served folder by the path that the readers know it by.
 */
export async function tendLinks(etc: string, served: string): Promise<Tended> {
  const { missing, inTheWay } = await lookAtLinks(etc, served);
  for (const { path, target } of missing) await place(path, target);
  return { placed: missing.map(({ path }) => path), inTheWay };
}

/**
 * Places the links of a node that serves nothing yet.
 * @returns the links that were placed now.
 * @throws Error naming what is in the way; then no link was placed.
 */
export async function placeLinks(etc: string, served: string): Promise<readonly string[]> {
  const { inTheWay } = await lookAtLinks(etc, served);
  if (inTheWay[0] !== undefined) {
    throw new Error(`${inTheWay[0]}. Move it away and start the agent again, or give another --etc`);
  }
  return (await tendLinks(etc, served)).placed;
}

/** Links of ours that are there: readers of this node are served by the agent's files. */
export async function ownLinks(etc: string, served: string): Promise<string[]> {
  const found: string[] = [];
  for (const [name, content] of Object.entries(links)) {
    if ((await what(join(etc, name))) === join(served, content)) found.push(join(etc, name));
  }
  return found;
}

async function lookAtLinks(etc: string, served: string) {
  const missing: { readonly path: string; readonly target: string }[] = [];
  const inTheWay: string[] = [];
  for (const [name, content] of Object.entries(links)) {
    const path = join(etc, name);
    const target = join(served, content);
    const found = await what(path);
    if (found === undefined) missing.push({ path, target });
    else if (found !== target) inTheWay.push(`${path} is in the way: ${found}`);
  }
  return { missing, inTheWay };
}

/** A link's target, or in words what else stands at a path; undefined if nothing does. */
async function what(path: string): Promise<string | undefined> {
  try {
    const found = await lstat(path);
    if (found.isSymbolicLink()) return await readlink(path);
    return found.isDirectory()
      ? "it is a folder that Rollcall did not make"
      : "it is a file that Rollcall did not make";
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function place(path: string, target: string): Promise<void> {
  const folder = dirname(path);
  try {
    await mkdir(folder, { mode: 0o755 }).catch((error: unknown) => {
      if (errnoOf(error) !== "EEXIST") throw error;
    });
    await symlink(target, path);
    await using opened = await open(folder);
    await opened.sync();
  } catch (cause) {
    const advice = ["EROFS", "EACCES", "EPERM"].includes(errnoOf(cause) ?? "")
      ? ": `rollcall-agent links` is to do it"
      : "";
    throw new Error(`place the link ${path}${advice}`, { cause });
  }
}

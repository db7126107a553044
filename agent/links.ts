/**
 * The links through which readers find our files, placed once. What stands in their place and is not our link was made
 * by somebody else, and is never touched: the agent says what is in the way, and places nothing.
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

/**
 * Places the links that are missing.
 * @param etc `/etc`, or where the node's is mounted.
 * @param served the served folder by the path that the readers know it by.
 * @returns the links that were placed now.
 * @throws Error naming what is in the way; then no link was placed.
 */
export async function placeLinks(etc: string, served: string): Promise<string[]> {
  const missing: { readonly path: string; readonly target: string }[] = [];
  for (const [name, content] of Object.entries(links)) {
    const path = join(etc, name);
    const target = join(served, content);
    const found = await what(path);
    if (found === undefined) missing.push({ path, target });
    else if (found !== target) {
      throw new Error(`${path} is in the way: ${found}. Move it away and start the agent again, or give another --etc`);
    }
  }
  for (const { path, target } of missing) await place(path, target);
  return missing.map(({ path }) => path);
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

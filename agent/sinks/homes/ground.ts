/**
 * Whether a folder is out of everybody's reach but root's: each folder on the way to it, and itself, is a real one, root's, and
 * writable by nobody else. What was looked at in there stays as it was, for nobody else can rename, replace or plant
 * anything on that path. Node has no openat(2); this is what makes paths as good.
 */

import { lstat } from "node:fs/promises";

/** @throws Error naming the first folder on the path that is not so, and why. */
export async function mustBeRoots(path: string): Promise<void> {
  const names = path.split("/").filter((name) => name !== "");
  if (!path.startsWith("/") || names.includes("..") || names.includes(".")) throw new Error(`${path} is no plain path`);
  for (let depth = 0; depth <= names.length; depth++) {
    const at = `/${names.slice(0, depth).join("/")}`;
    const found = await lstat(at);
    if (found.isSymbolicLink()) throw new Error(`${at} is a symlink`);
    if (!found.isDirectory()) throw new Error(`${at} is no folder`);
    mustBeClosed(at, found);
  }
}

/** @throws Error if somebody else than root could change what this is of. */
export function mustBeClosed(path: string, { uid, mode }: { readonly uid: number; readonly mode: number }): void {
  if (uid !== 0) throw new Error(`${path} belongs to uid ${uid}, not to root`);
  if ((mode & 0o022) !== 0) throw new Error(`${path} may be written by others than root`);
}

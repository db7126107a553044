/**
 * Makes one home, whole or not at all: built beside it under a name of ours, in a folder that nobody but root may enter, given
 * away last, and renamed to where nothing is. What exists is never opened, followed, changed or removed.
 *
 * A crash leaves the folder under our name, and how it stands says how far it came: root's and 0700, it may be half, and is made
 * anew (nobody was ever in it); otherwise only its last calls are missing.
 */

import { constants } from "node:fs";
import { chmod, lchown, lstat, mkdir, open, readdir, rename, rmdir, stat, symlink, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf } from "../../disk.ts";
import { mustBeRoots } from "./ground.ts";
import type { Entry } from "./skeleton.ts";

export interface Home {
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
}

export interface How {
  readonly skeleton: readonly Entry[];
  readonly mode: number;
  /** This node, in the name under which a home is built: nodes may share the file system. */
  readonly tag: string;
}

/** @throws Error saying what is in the way. */
export async function makeHome({ path, uid, gid }: Home, { skeleton, mode, tag }: How): Promise<"made" | "there"> {
  const parent = dirname(path);
  await mustBeRoots(parent);
  if (await isThere(path)) return "there";
  const draft = join(parent, `.rollcall-home-${uid}-${tag}`);
  const left = await unlessMissing(lstat(draft));
  const isWhole = left !== undefined && (left.uid !== 0 || (left.mode & 0o7777) !== 0o700);
  if (!isWhole) {
    if (left) await clear(draft);
    await mkdir(draft, 0o700);
    await fill(draft, skeleton, { uid, gid });
    await sync(draft);
    await chmod(draft, mode);
  }
  await lchown(draft, uid, gid);
  if (await isThere(path)) throw new Error(`somebody else made ${path} meanwhile; ${draft} is left over`);
  await rename(draft, path);
  await sync(parent);
  return "made";
}

/** @throws Error if something is there that is no home. A link is root's own doing, here: where it leads is looked at, no more. */
async function isThere(path: string): Promise<boolean> {
  const found = await unlessMissing(lstat(path));
  if (!found) return false;
  const end = found.isSymbolicLink() ? await unlessMissing(stat(path)) : found;
  if (end?.isDirectory()) return true;
  throw new Error(
    `${path} is there, and is ${found.isSymbolicLink() ? "a symlink to no folder" : "no folder"}: left alone`,
  );
}

type Owner = Pick<Home, "uid" | "gid">;

/** Fills a folder that is root's and closed; whatever is in it is given away once it is complete. */
async function fill(folder: string, entries: readonly Entry[], owner: Owner): Promise<void> {
  for (const entry of entries) {
    const path = join(folder, entry.name);
    switch (entry.kind) {
      case "file":
        await write(path, entry, owner);
        break;
      case "folder":
        await mkdir(path, 0o700);
        await fill(path, entry.entries, owner);
        await sync(path);
        await chmod(path, entry.mode | 0o700);
        await lchown(path, owner.uid, owner.gid);
        break;
      case "link":
        await symlink(entry.target, path);
        await lchown(path, owner.uid, owner.gid);
        break;
    }
  }
}

async function write(path: string, { bytes, mode }: Entry & { kind: "file" }, { uid, gid }: Owner): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  await using file = await open(path, flags, 0o600);
  await file.writeFile(bytes);
  await file.chmod(mode);
  await file.chown(uid, gid);
  await file.sync();
}

/** Removes a draft that nobody but root could ever enter. Folders in it may have been given away: they are taken back first. */
async function clear(folder: string): Promise<void> {
  await lchown(folder, 0, 0);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await clear(path);
    else await unlink(path);
  }
  await rmdir(folder);
}

async function sync(folder: string): Promise<void> {
  await using opened = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  await opened.sync();
}

async function unlessMissing<T>(act: Promise<T>): Promise<T | undefined> {
  try {
    return await act;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * The few things that the agent asks of a file system, each durable when it returns and each one short, fixed sequence of
 * system calls. Tests put another Disk in its place and kill it at every call.
 *
 * A new content never appears under its final name but by `rename`, after its own fsync; a rename or a removal is
 * durable after `sync` of the folder, and not before.
 */

import { constants, lstatSync } from "node:fs";
import { chmod, chown, type FileHandle, lstat, lutimes, mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import { constants as system } from "node:os";
import { dirname, join } from "node:path";
import { setImmediate as breath } from "node:timers/promises";

/** A regular file as it lies on the disk. */
export interface Found {
  readonly bytes: Buffer;
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Modification time in whole seconds, as libnss-cache compares it. */
  readonly mtime: number;
}

/** How a new file is to be held. The owner is the agent itself. */
export interface Holding {
  readonly mode: number;
  /** Owning group; the agent's own if absent. */
  readonly gid?: number;
}

export interface Disk {
  /** The regular file at a path; undefined if nothing, or something else (a symlink, a pipe), is there. */
  read(path: string): Promise<Found | undefined>;
  /** Whether the regular file at a path is exactly these bytes; reads it a piece at a time. */
  holds(path: string, bytes: Uint8Array): Promise<boolean>;
  /** The sorted names of all that lies in a folder, less its folders; none if the folder is missing. */
  list(folder: string): Promise<string[]>;
  /** Paths, relative to a folder, of all that lies below it, never through a symlink; those of folders end with a slash. */
  tree(folder: string): Promise<string[]>;
  /**
   * For each path, what tells whether anybody changed it since: of a folder its mode and owner, of anything else also inode,
   * size and times; undefined if nothing is there. Two stamps are equal or not, and say nothing more.
   */
  stamps(paths: readonly string[]): Promise<(string | undefined)[]>;
  /** Makes a folder and its missing parents, durably, and makes it the agent's own, with this mode. */
  folder(path: string, mode: number): Promise<void>;
  /** Writes a new file and syncs its content; replaces a leftover of the same name. */
  create(path: string, bytes: Uint8Array, holding: Holding): Promise<void>;
  /** Adds bytes at the end of a file and syncs them. */
  append(path: string, bytes: Uint8Array): Promise<void>;
  /** Cuts a file to a length and syncs it. */
  cut(path: string, length: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes a file as new as one that is written now; no need to be durable. One that is not there is no error. */
  touch(path: string): Promise<void>;
  /** Removes a file; one that is not there is no error. */
  remove(path: string): Promise<void>;
  /** Makes a folder's renames and removals durable. */
  sync(folder: string): Promise<void>;
}

const { errno: errnos } = system;

/** Of what is compared at a time: large enough for few calls, small enough to stay in a processor's cache. */
const pieceSize = 524_288;

/** The machine's own file system. */
export const realDisk: Disk = {
  read: (path) => worded(`read ${path}`, () => readRegular(path)),
  holds: (path, bytes) => worded(`read ${path}`, () => isSame(path, bytes)),
  list: (folder) => worded(`list ${folder}`, () => namesIn(folder)),
  tree: (folder) => worded(`list ${folder}`, () => pathsBelow(folder)),
  stamps: (paths) => worded("look at files", () => stampsOf(paths)),
  folder: (path, mode) => worded(`make folder ${path}`, () => makeFolder(path, mode)),
  create: (path, bytes, holding) => worded(`write ${path}`, () => writeNew(path, bytes, holding)),
  append: (path, bytes) =>
    worded(`append to ${path}`, () =>
      within(path, constants.O_WRONLY | constants.O_APPEND, async (file) => {
        await writeAll(file, bytes);
        await file.sync();
      }),
    ),
  cut: (path, length) =>
    worded(`cut ${path}`, () =>
      within(path, constants.O_WRONLY, async (file) => {
        await file.truncate(length);
        await file.sync();
      }),
    ),
  rename: (from, to) => worded(`replace ${to}`, () => rename(from, to)),
  touch: (path) => worded(`touch ${path}`, () => unless("ENOENT", touchNow(path))),
  remove: (path) => worded(`remove ${path}`, () => unless("ENOENT", unlink(path))),
  sync: (folder) => worded(`sync ${folder}`, () => syncFolder(folder)),
};

/** Whether a file is held as the agent holds its own: the owner is itself; the group is asked about only if one is given. */
export function isHeld(found: Found, mode: number, gid?: number): boolean {
  return found.mode === mode && found.uid === (process.geteuid?.() ?? 0) && (gid === undefined || found.gid === gid);
}

/** The errno at the bottom of an error's causes: `ENOSPC`; undefined if no system call failed. */
export function errnoOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (!("code" in at) || typeof at.code !== "string" || !("errno" in at)) continue;
    // libuv has names for most only; EDQUOT comes as "Unknown system error -122".
    return at.code.startsWith("Unknown system error") ? (nameOf(at.errno) ?? at.code) : at.code;
  }
  return undefined;
}

function nameOf(errno: unknown): string | undefined {
  return Object.entries(errnos).find(([, number]) => number === -Number(errno))?.[0];
}

async function worded<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    const why = errnoOf(cause) ?? (cause instanceof Error ? cause.message : String(cause));
    throw new Error(`${what}: ${why}`, { cause });
  }
}

async function openRegular(path: string): Promise<FileHandle | undefined> {
  // Never through a symlink and never blocking on a pipe: what is not a plain file is not ours.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  return unless("ENOENT", unless("ELOOP", unless("ENXIO", open(path, flags))));
}

async function isSame(path: string, bytes: Uint8Array): Promise<boolean> {
  const file = await openRegular(path);
  if (!file) return false;
  try {
    const found = await file.stat();
    if (!found.isFile() || found.size !== bytes.length) return false;
    const piece = Buffer.allocUnsafe(Math.min(pieceSize, bytes.length));
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0 || piece.compare(bytes, at, at + bytesRead, 0, bytesRead) !== 0) return false;
      at += bytesRead;
    }
    return true;
  } finally {
    await file.close();
  }
}

async function touchNow(path: string): Promise<void> {
  const now = new Date();
  await lutimes(path, now, now);
}

async function readRegular(path: string): Promise<Found | undefined> {
  const file = await openRegular(path);
  if (!file) return undefined;
  try {
    const found = await file.stat();
    if (!found.isFile()) return undefined;
    const { mode, uid, gid, mtimeMs } = found;
    return { bytes: await file.readFile(), mode: mode & 0o7777, uid, gid, mtime: Math.floor(mtimeMs / 1000) };
  } finally {
    await file.close();
  }
}

async function namesIn(folder: string): Promise<string[]> {
  const entries = (await unless("ENOENT", readdir(folder, { withFileTypes: true }))) ?? [];
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}

async function pathsBelow(folder: string): Promise<string[]> {
  const entries = (await unless("ENOENT", readdir(folder, { withFileTypes: true }))) ?? [];
  const paths: string[] = [];
  for (const entry of entries) {
    paths.push(entry.isDirectory() ? `${entry.name}/` : entry.name);
    if (!entry.isDirectory()) continue;
    for (const below of await pathsBelow(join(folder, entry.name))) paths.push(join(entry.name, below));
  }
  return paths;
}

/** At most so many files are looked at without letting others have a turn. */
const glance = 250;

// Synchronous: a tenth of the time that as many promises take, and the node has one file per person.
async function stampsOf(paths: readonly string[]): Promise<(string | undefined)[]> {
  const stamps: (string | undefined)[] = [];
  for (const path of paths) {
    if (stamps.length % glance === glance - 1) await breath();
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    const holding = found && [found.mode, found.uid, found.gid];
    const content = found && !found.isDirectory() ? [found.ino, found.size, found.mtimeNs, found.ctimeNs] : [];
    stamps.push(holding && [...holding, ...content].join(" "));
  }
  return stamps;
}

async function makeFolder(path: string, mode: number): Promise<void> {
  const found = await unless("ENOENT", lstat(path));
  if (found && !found.isDirectory()) throw new Error("something that is not a folder is there");
  if (!found) {
    const parent = dirname(path);
    if (!(await unless("ENOENT", lstat(parent)))) await makeFolder(parent, 0o755);
    await mkdir(path, mode);
    await syncFolder(parent);
  }
  const self = process.geteuid?.() ?? 0;
  if (found && found.uid !== self) await chown(path, self, process.getegid?.() ?? 0);
  if (!found || (found.mode & 0o7777) !== mode) await chmod(path, mode);
}

async function writeNew(path: string, bytes: Uint8Array, { mode, gid }: Holding): Promise<void> {
  await unless("ENOENT", unlink(path));
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  // 0600 until its owner is right: nobody else ever opens a half-made file.
  await within(path, flags, async (file) => {
    if (gid !== undefined) await file.chown(process.geteuid?.() ?? 0, gid);
    await file.chmod(mode);
    await writeAll(file, bytes);
    await file.sync();
  });
}

async function within(path: string, flags: number, act: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await act(file);
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

async function syncFolder(folder: string): Promise<void> {
  await within(folder, constants.O_RDONLY | constants.O_DIRECTORY, (file) => file.sync());
}

async function unless<T>(code: string, act: Promise<T>): Promise<T | undefined> {
  try {
    return await act;
  } catch (error) {
    if (errnoOf(error) === code) return undefined;
    throw error;
  }
}

/**
 * What a new home starts with (/etc/skel), read whole into memory: files, folders and links as they are. Nothing in it is
 * followed, everything in it must be root's, and what is none of the three is refused, and with it the skeleton.
 */

import { constants } from "node:fs";
import { lstat, open, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { mustBeClosed, mustBeRoots } from "./ground.ts";

export type Entry =
  | { readonly kind: "file"; readonly name: string; readonly mode: number; readonly bytes: Buffer }
  | { readonly kind: "folder"; readonly name: string; readonly mode: number; readonly entries: readonly Entry[] }
  | { readonly kind: "link"; readonly name: string; readonly target: string };

const most = { entries: 1_000, bytes: 4_194_304, depth: 8 };

interface Budget {
  entries: number;
  bytes: number;
}

/** @throws Error naming what cannot be taken, and why. */
export async function readSkeleton(path: string): Promise<Entry[]> {
  try {
    await mustBeRoots(path);
    return await entriesIn(path, { entries: most.entries, bytes: most.bytes }, most.depth);
  } catch (cause) {
    throw new Error(`the skeleton ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

async function entriesIn(folder: string, budget: Budget, depth: number): Promise<Entry[]> {
  if (depth === 0) throw new Error(`${folder} is nested too deep`);
  const entries: Entry[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (--budget.entries < 0) throw new Error(`it has more than ${most.entries} entries`);
    entries.push(await entryAt(folder, name, budget, depth));
  }
  return entries;
}

async function entryAt(folder: string, name: string, budget: Budget, depth: number): Promise<Entry> {
  const path = join(folder, name);
  const found = await lstat(path);
  if (found.isSymbolicLink()) return { kind: "link", name, target: await readlink(path) };
  mustBeClosed(path, found);
  // The new owner's programs gain nothing by it.
  const mode = found.mode & 0o777;
  if (found.isDirectory()) return { kind: "folder", name, mode, entries: await entriesIn(path, budget, depth - 1) };
  if (!found.isFile()) throw new Error(`${path} is no file, folder or link`);
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const opened = await file.stat();
  if (!opened.isFile() || opened.ino !== found.ino) throw new Error(`${path} was exchanged`);
  budget.bytes -= opened.size;
  if (budget.bytes < 0) throw new Error(`its files have more than ${most.bytes} bytes`);
  return { kind: "file", name, mode, bytes: await file.readFile() };
}

/** The folders below the agent's state folder (`--state DIR`, 0755): one file system, and all of it ours. */

import { join } from "node:path";
import type { Disk } from "./disk.ts";

export interface Folders {
  /** 0700: the node's key and certificate, and the memory. */
  readonly private: string;
  /** 0755: what sshd, libnss-cache and the like read. */
  readonly served: string;
  /** 0700, same file system: files that are not true yet; emptied at every start. */
  readonly stage: string;
}

/** Folders that sinks fill, below `served`; each is made by the first file in it. */
const sinkFolders = ["nss", "ssh", "ssh/authorized_keys.d", "sudo"];

export function foldersIn(state: string): Folders {
  return { private: join(state, "private"), served: join(state, "served"), stage: join(state, "stage") };
}

/**
 * Makes the folders that are missing, takes back those below `served` that somebody gave away or opened (sshd reads no key in
 * a folder that others may write), and empties the stage: what lies there was never true.
 */
export async function prepareFolders(disk: Disk, folders: Folders): Promise<void> {
  await disk.folder(folders.private, 0o700);
  await disk.folder(folders.served, 0o755);
  await disk.folder(folders.stage, 0o700);
  const known = sinkFolders.map((name) => join(folders.served, name));
  const stamps = await disk.stamps(known);
  for (const [i, path] of known.entries()) if (stamps[i] !== undefined) await disk.folder(path, 0o755);
  for (const name of await disk.list(folders.stage)) await disk.remove(join(folders.stage, name));
}

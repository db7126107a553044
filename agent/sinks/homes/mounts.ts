/** Whether another file system is mounted at a folder than the one that the folder is in. */

import { lstat, statfs } from "node:fs/promises";
import { dirname } from "node:path";

const autofs = 0x0187;

/**
 * By device, not by /proc/self/mountinfo: a service manager that lets the agent write to a folder mounts that folder upon itself. An
 * automounter that only waits there is no file system yet.
 */
export async function isMounted(path: string): Promise<boolean> {
  if ((await lstat(path)).dev === (await lstat(dirname(path))).dev) return false;
  return (await statfs(path)).type !== autofs;
}

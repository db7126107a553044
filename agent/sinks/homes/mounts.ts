/** Whether another file system is mounted at a folder than the one that the folder is in. */

import { lstat, statfs } from "node:fs/promises";
import { dirname } from "node:path";

const autofs = 0x0187;

/**
 * By device, not by /proc/self/mountinfo: a service manager that lets the agent write to a folder mounts that folder upon itself. An
 * automounter that only waits there is no file system yet.
 * @param own a folder of the node's own root file system. A container has another root: whatever it has of the node seems mounted in it.
 */
export async function isMounted(path: string, own: string): Promise<boolean> {
  const [here, around, root] = await Promise.all([path, dirname(path), own].map((each) => lstat(each)));
  if (here?.dev === around?.dev || here?.dev === root?.dev) return false;
  return (await statfs(path)).type !== autofs;
}

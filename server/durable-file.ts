/** A file that is there whole or not at all, also after a power cut: temporary name, fsync, rename, fsync of the folder. */

import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

export async function writeDurably(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, "w", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

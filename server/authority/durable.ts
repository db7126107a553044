/** Files that are whole or absent after any crash. */

import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes a file so that it survives a power cut once this returns, and nobody ever sees a part of it. */
export async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  const next = `${path}.new`;
  await rm(next, { force: true });
  await using file = await open(next, "wx", mode);
  await file.chmod(mode);
  await file.writeFile(text);
  await file.sync();
  await rename(next, path);
  await using folder = await open(dirname(path), "r");
  await folder.sync();
}

/**
 * How the agent left its served files, to notice by a glance (no content is read) that somebody else changed them since.
 *
 * Only what the agent itself just wrote is marked anew after a step: an edit of any other file stays a difference until a
 * look finds it. What a glance cannot see, a content changed behind the file system's back, is found by reading (watch.ts).
 */

import { dirname, join } from "node:path";
import type { Disk } from "./disk.ts";

export interface Differing {
  readonly came: readonly string[];
  readonly left: readonly string[];
  readonly changed: readonly string[];
}

/** How files lay at a look, by path; what was marked anew since it began may have been seen before or after that. */
export interface Look {
  readonly stamps: ReadonlyMap<string, string>;
  readonly since: Set<string>;
}

export class Marks {
  readonly #disk: Disk;
  readonly #folder: string;
  #marks = new Map<string, string>();
  /** What was marked since the last look began. */
  #since = new Set<string>();

  /** @param folder what lies below it is looked at. */
  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#folder = folder;
  }

  /** Takes all that lies there as the agent's own work. */
  async takeAll(): Promise<void> {
    this.#marks = await this.#stampsNow();
    for (const path of this.#marks.keys()) this.#since.add(path);
  }

  /** Takes some files, relative to the folder, as the agent's own work, with the folders that they are in; those that are gone too. */
  async take(files: readonly string[]): Promise<void> {
    const paths = [...new Set(files.flatMap((path) => [path, ...foldersOf(path)]))];
    const stamps = await this.#disk.stamps(paths.map((path) => join(this.#folder, path)));
    paths.forEach((path, i) => {
      const stamp = stamps[i];
      this.#since.add(path);
      if (stamp === undefined) this.#marks.delete(path);
      else this.#marks.set(path, stamp);
    });
  }

  /** Looks at all that lies there, while others may write. */
  async look(): Promise<Look> {
    const since = new Set<string>();
    this.#since = since;
    return { stamps: await this.#stampsNow(), since };
  }

  /**
   * What was not as the agent left it, relative to the folder; a folder's path ends with a slash. To be asked while nothing is being
   * written: what was, and is not marked yet, would seem somebody else's.
   */
  differing({ stamps, since }: Look): Differing {
    const paths = [...stamps.keys()].filter((path) => !since.has(path));
    return {
      came: paths.filter((path) => !this.#marks.has(path)),
      left: [...this.#marks.keys()].filter((path) => !stamps.has(path) && !since.has(path)),
      changed: paths.filter((path) => this.#marks.has(path) && this.#marks.get(path) !== stamps.get(path)),
    };
  }

  async #stampsNow(): Promise<Map<string, string>> {
    const paths = await this.#disk.tree(this.#folder);
    const stamps = await this.#disk.stamps(paths.map((path) => join(this.#folder, path)));
    return new Map(paths.flatMap((path, i) => (stamps[i] === undefined ? [] : [[path, stamps[i]] as const])));
  }
}

function foldersOf(path: string): string[] {
  const folder = dirname(path);
  return folder === "." ? [] : [...foldersOf(folder), `${folder}/`];
}

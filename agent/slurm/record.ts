/**
 * What Rollcall made in Slurm, where Slurm cannot say so: users and associations. Kept before anything is made, so that whatever ends the
 * agent, nothing that it made is forgotten; and what it did not get to make is not in Slurm, and is dropped when that is read.
 *
 * A whole file, replaced at once, with a sum. One that is damaged is put aside and not guessed at: what it held is then left as it is, as
 * if others had made it, until the node's operator lets it be adopted.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseUid } from "../../identity/id.ts";
import { parseName } from "../../identity/name.ts";
import { parseAccountName, parseJobsOnLeave } from "../../identity/slurm.ts";
import type { Claim, Owned } from "../../identity/slurm-state.ts";
import type { Disk } from "../disk.ts";
import type { Folders } from "../folders.ts";

const format = "rollcall slurm 1";

export class Record {
  readonly #disk: Disk;
  readonly #folders: Folders;
  #text: string;
  #owned: Owned;

  private constructor(disk: Disk, folders: Folders, owned: Owned) {
    this.#disk = disk;
    this.#folders = folders;
    this.#owned = owned;
    this.#text = print(owned);
  }

  /** Reads it back; `warning` says why it starts anew, if it had to. */
  static async open(
    disk: Disk,
    folders: Folders,
  ): Promise<{ readonly record: Record; readonly warning: string | undefined }> {
    const path = pathIn(folders);
    const found = await disk.read(path);
    try {
      const owned = found
        ? parse(found.bytes.toString())
        : { users: new Set<string>(), associations: new Map<string, Claim>() };
      return { record: new Record(disk, folders, owned), warning: undefined };
    } catch (error) {
      await disk.rename(path, `${path}.damaged`);
      const why = error instanceof Error ? error.message : String(error);
      const record = new Record(disk, folders, { users: new Set(), associations: new Map() });
      return { record, warning: `the record of what was made in Slurm is damaged (${why})` };
    }
  }

  get owned(): Owned {
    return this.#owned;
  }

  /** Durable when it returns. */
  async keep(owned: Owned): Promise<void> {
    const text = print(owned);
    if (text === this.#text) return;
    const staged = join(this.#folders.stage, "slurm");
    await this.#disk.create(staged, Buffer.from(`${text}sum ${sumOf(text)}\n`), { mode: 0o600 });
    await this.#disk.rename(staged, pathIn(this.#folders));
    await this.#disk.sync(this.#folders.private);
    this.#text = text;
    this.#owned = owned;
  }
}

function print({ users, associations }: Owned): string {
  const lines = [...users].map((user) => `user ${user}`);
  for (const { account, user, uid, jobs } of associations.values())
    lines.push(`association ${account} ${user} ${uid} ${jobs}`);
  return [format, ...lines.toSorted(), ""].join("\n");
}

/** @throws Error: it is not what {@link print} wrote. */
function parse(file: string): Owned {
  const [, text = "", sum = ""] = /^(.*\n)sum ([0-9a-f]{64})\n$/s.exec(file) ?? [];
  if (sum === "" || sum !== sumOf(text)) throw new Error("its sum is wrong");
  const [head, ...lines] = text.split("\n").slice(0, -1);
  if (head !== format) throw new Error(`it is not in the format "${format}"`);
  const users = new Set<string>();
  const associations = new Map<string, Claim>();
  for (const line of lines) {
    const [kind, first = "", user = "", uid = "", jobs = ""] = line.split(" ");
    if (kind === "user") users.add(parseName(first));
    else {
      const claim = {
        account: parseAccountName(first),
        user: parseName(user),
        uid: parseUid(Number(uid)),
        jobs: parseJobsOnLeave(jobs),
      };
      associations.set(`${claim.account}/${claim.user}`, claim);
    }
  }
  return { users, associations };
}

function sumOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function pathIn(folders: Folders): string {
  return join(folders.private, "slurm");
}

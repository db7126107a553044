/**
 * A Disk in memory, for tests: it can be killed at any call, fail any call with an errno, and lose power. It keeps apart
 * what running programs see and what would survive: content survives its fsync, a name survives its folder's.
 */

import { dirname } from "node:path";
import type { Disk, Found, Holding } from "./disk.ts";

interface Inode {
  bytes: Buffer;
  /** What a power cut leaves; undefined if the file was never synced. */
  durable: Buffer | undefined;
  readonly mode: number;
  readonly gid: number;
}

/** What goes wrong, and at which call (from 1). */
export type Fault =
  /** The process dies in that call: before it does anything, or with half of a write done. */
  | { readonly kind: "killed"; readonly at: number; readonly torn: boolean }
  /** That one call fails; all others work. */
  | { readonly kind: "errno"; readonly at: number; readonly code: string };

export class SimulatedDisk implements Disk {
  /** Calls that change something, so far. */
  calls = 0;
  /** Those calls in words, for a failed test's message. */
  readonly log: string[] = [];
  fault: Fault | undefined;
  /** Until it is taken back, every call that changes something fails with it. */
  failing: string | undefined;
  /** One kind of call does not return before. */
  held: { readonly call: "create" | "tree"; readonly until: Promise<void> } | undefined;
  readonly #names: Map<string, Inode>;
  readonly #durableNames: Map<string, Inode>;
  #dead = false;

  constructor(names: ReadonlyMap<string, Inode> = new Map()) {
    this.#names = new Map(names);
    this.#durableNames = new Map(names);
  }

  /** The disk that the next process finds: after a kill all that was written, after a power cut only what was synced. */
  after(end: "kill" | "power cut"): SimulatedDisk {
    const names = end === "kill" ? this.#names : this.#durableNames;
    const content = (inode: Inode) => (end === "kill" ? inode.bytes : (inode.durable ?? Buffer.alloc(0)));
    const copy = ([path, inode]: [string, Inode]): [string, Inode] => {
      const bytes = Buffer.from(content(inode));
      return [path, { ...inode, bytes, durable: bytes }];
    };
    return new SimulatedDisk(new Map([...names].map(copy)));
  }

  /** All files, by path, as text. */
  files(): Map<string, string> {
    return new Map(
      [...this.#names].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, { bytes }]) => [path, bytes.toString()]),
    );
  }

  /** A file's bytes, not to be changed. */
  bytes(path: string): Buffer | undefined {
    return this.#names.get(path)?.bytes;
  }

  /** Writes a file as a stranger would: at once, durably, unasked. */
  plant(path: string, bytes: Uint8Array | undefined, holding: Holding = { mode: 0o644 }): void {
    this.#names.delete(path);
    if (bytes) this.#names.set(path, inode(bytes, holding, true));
    const now = this.#names.get(path);
    if (now) this.#durableNames.set(path, now);
    else this.#durableNames.delete(path);
  }

  /** Changes a content behind the file system's back: no stamp tells. */
  rot(path: string, bytes: Uint8Array): void {
    const content = Buffer.from(bytes);
    const file = this.#get(path);
    numbers.set(content, numberOf(file.bytes));
    file.bytes = content;
  }

  async read(path: string): Promise<Found | undefined> {
    if (this.#dead) throw new Error("killed");
    const found = this.#names.get(path);
    return found && { bytes: Buffer.from(found.bytes), mode: found.mode, uid: self.uid, gid: found.gid, mtime: 0 };
  }

  async tree(folder: string): Promise<string[]> {
    if (this.#dead) throw new Error("killed");
    const below = [...this.#names.keys()].filter((path) => path.startsWith(`${folder}/`));
    if (this.held?.call === "tree") await this.held.until;
    return below.map((path) => path.slice(folder.length + 1)).sort();
  }

  async stamps(paths: readonly string[]): Promise<(string | undefined)[]> {
    if (this.#dead) throw new Error("killed");
    return paths.map((path) => {
      const found = this.#names.get(path);
      return found && `${found.mode} ${found.gid} ${numberOf(found.bytes)}`;
    });
  }

  async holds(path: string, bytes: Uint8Array): Promise<boolean> {
    return (await this.read(path))?.bytes.equals(bytes) ?? false;
  }

  async list(folder: string): Promise<string[]> {
    if (this.#dead) throw new Error("killed");
    return [...this.#names.keys()]
      .filter((path) => dirname(path) === folder)
      .map((path) => path.slice(folder.length + 1))
      .sort();
  }

  async folder(path: string): Promise<void> {
    this.#turn(`folder ${path}`, () => {});
  }

  async create(path: string, bytes: Uint8Array, holding: Holding): Promise<void> {
    const torn = () => this.#names.set(path, inode(bytes.subarray(0, bytes.length / 2), holding, false));
    this.#turn(`create ${path}`, torn);
    if (this.held?.call === "create") await this.held.until;
    this.#names.set(path, inode(bytes, holding, true));
  }

  async append(path: string, bytes: Uint8Array): Promise<void> {
    const file = this.#get(path);
    this.#turn(`append ${path}`, () => {
      file.bytes = Buffer.concat([file.bytes, bytes.subarray(0, bytes.length / 2)]);
    });
    file.bytes = Buffer.concat([file.bytes, bytes]);
    file.durable = file.bytes;
  }

  async cut(path: string, length: number): Promise<void> {
    const file = this.#get(path);
    this.#turn(`cut ${path}`, () => {});
    file.bytes = file.bytes.subarray(0, length);
    file.durable = file.bytes;
  }

  async rename(from: string, to: string): Promise<void> {
    const file = this.#get(from);
    this.#turn(`rename ${to}`, () => {});
    this.#names.delete(from);
    this.#names.set(to, file);
  }

  async touch(path: string): Promise<void> {
    this.#turn(`touch ${path}`, () => {});
  }

  async remove(path: string): Promise<void> {
    this.#turn(`remove ${path}`, () => {});
    this.#names.delete(path);
  }

  async sync(folder: string): Promise<void> {
    this.#turn(`sync ${folder}`, () => {});
    for (const path of this.#durableNames.keys()) if (dirname(path) === folder) this.#durableNames.delete(path);
    for (const [path, file] of this.#names) if (dirname(path) === folder) this.#durableNames.set(path, file);
  }

  #get(path: string): Inode {
    if (this.#dead) throw new Error("killed");
    return this.#names.get(path) ?? raise("ENOENT", path);
  }

  #turn(what: string, half: () => void): void {
    if (this.#dead) throw new Error("killed");
    this.calls++;
    this.log.push(what);
    if (this.failing !== undefined) raise(this.failing, what);
    if (this.fault?.at !== this.calls) return;
    if (this.fault.kind === "killed" ? this.fault.torn : true) half();
    if (this.fault.kind === "errno") raise(this.fault.code, what);
    this.#dead = true;
    throw new Error("killed");
  }
}

/** Every content that was ever written is another one, whatever it says. */
const numbers = new WeakMap<Buffer, number>();
let lastNumber = 0;

function numberOf(content: Buffer): number {
  const number = numbers.get(content) ?? ++lastNumber;
  numbers.set(content, number);
  return number;
}

/** Who the agent is, here as on a real disk. */
const self = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

function inode(bytes: Uint8Array, { mode, gid }: Holding, synced: boolean): Inode {
  const content = Buffer.from(bytes);
  return { bytes: content, durable: synced ? content : undefined, mode, gid: gid ?? self.gid };
}

function raise(code: string, what: string): never {
  throw Object.assign(new Error(`${what}: ${code}`), { code, errno: -1 });
}

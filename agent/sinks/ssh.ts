/**
 * Mirrors public keys into one file per user for sshd (`AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u`). The folder is
 * ours alone: a file in it that the copy does not explain is removed, so that after the ack of a revocation no file that
 * sshd reads holds the key.
 *
 * Lines are printed anew from parsed keys; the one option that they may hold is the expiry, which sshd checks by itself,
 * also when nobody tells this node anything any more. A write that takes a key away is a revocation even if it
 * brings another one too: its user is known before and after, so the new key is early, and for nobody new.
 *
 * ssh-keygen is asked about every line that was not in that user's file before. A file that only loses lines waits for nobody.
 */

import { execFile } from "node:child_process";
import { join } from "node:path";
import type { Edit, Step } from "../../identity/copy.ts";
import type { Uid } from "../../identity/id.ts";
import { type Position, samePosition } from "../../identity/position.ts";
import type { Key, Resource, ResourceKey } from "../../identity/resource.ts";
import { fingerprint, parseSshKey, printSshKey, type SshKey } from "../../identity/ssh-key.ts";
import { type Disk, errnoOf, isHeld } from "../disk.ts";
import { overlay } from "../overlay.ts";
import type { Isolated, Rendering, Shown, Sink, Write } from "../sink.ts";

/** Relative to the served folder. */
export const keysFolder = "ssh/authorized_keys.d";

const mode = 0o644;

/** Gives what `ssh-keygen -l` prints for lines of keys; undefined if there is no ssh-keygen. @throws Error: it refuses them, or hangs. */
export type Fingerprints = (lines: string) => Promise<string | undefined>;

/** @param served the agent's served folder. */
export function sshSink(disk: Disk, served: string, fingerprints: Fingerprints = sshKeygen): Sink {
  return new SshSink(disk, served, fingerprints);
}

interface State {
  readonly at: Position;
  readonly keysOf: Map<Uid, Map<ResourceKey, Key>>;
  readonly isolated: ReadonlyMap<Uid, readonly Isolated[]>;
}

/** What a rendering means. */
interface Plan {
  readonly settle: () => State;
  /** By path: the lines of a file that are in there already. */
  readonly known: ReadonlyMap<string, readonly string[]>;
}

class SshSink implements Sink {
  readonly name = "ssh";
  readonly #disk: Disk;
  readonly #served: string;
  readonly #fingerprints: Fingerprints;
  #live: State | undefined;
  readonly #plans = new WeakMap<Rendering, Plan>();

  constructor(disk: Disk, served: string, fingerprints: Fingerprints) {
    this.#disk = disk;
    this.#served = served;
    this.#fingerprints = fingerprints;
  }

  async render(copy: Shown, step: Step): Promise<Rendering> {
    const live = this.#live;
    const held = overlay(copy.resources, new Map(step.edits.map(({ key, after }) => [key, after])));
    if (!live || !samePosition(live.at, copy.at)) return this.#reconcile(held, step.to);
    const touched = new Map<Uid, Edit[]>();
    for (const edit of step.edits) {
      const uid = uidOf(edit.after ?? edit.before);
      if (uid === undefined) continue;
      const edits = touched.get(uid);
      if (edits) edits.push(edit);
      else touched.set(uid, [edit]);
    }
    const next = new Map<Uid, Map<ResourceKey, Key>>();
    const isolated = new Map(live.isolated);
    const writes: Write[] = [];
    const known = new Map<string, readonly string[]>();
    const granting: ResourceKey[] = [];
    for (const [uid, edits] of touched) {
      const keys = live.keysOf.get(uid) ?? new Map<ResourceKey, Key>();
      const userKey = `user/${uid}` as ResourceKey;
      const after = held.get(userKey);
      const keysAfter = keysOfAfter(keys, edits);
      next.set(uid, keysAfter);
      isolated.delete(uid);
      if (!after && keysAfter.size > 0) isolated.set(uid, strays(uid, keysAfter.keys()));
      const before = fileOf(copy.resources.get(userKey), keys);
      if (before) known.set(join(keysFolder, before.name), before.lines);
      const changes = changeOf(before, fileOf(after, keysAfter));
      writes.push(...changes);
      if (changes.some(({ phase }) => phase === "grant-keys")) granting.push(...keysAfter.keys());
    }
    const settle = (): State => {
      for (const [uid, keys] of next) {
        if (keys.size > 0) live.keysOf.set(uid, keys);
        else live.keysOf.delete(uid);
      }
      return { at: step.to, keysOf: live.keysOf, isolated };
    };
    return this.#planned({ writes, granting }, isolated, { settle, known });
  }

  async verify(rendering: Rendering, staged: ReadonlyMap<Write, string>): Promise<void> {
    const { known } = this.#planOf(rendering);
    const keys: SshKey[] = [];
    for (const write of rendering.writes) {
      const { path, bytes } = write;
      const at = staged.get(write);
      if (!bytes || at === undefined) continue;
      const found = await this.#disk.read(at);
      if (!found?.bytes.equals(bytes)) throw new Error(`the staged ${path} is not what was rendered`);
      const asked = new Set(known.get(path));
      for (const { line, key } of readKeys(path, found.bytes.toString())) if (!asked.has(line)) keys.push(key);
    }
    for (let at = 0; at < keys.length; at += 1000) await this.#compare(keys.slice(at, at + 1000));
  }

  settled(rendering: Rendering, isWhole = true): void {
    this.#live = isWhole ? this.#planOf(rendering).settle() : undefined;
  }

  async repair(copy: Shown): Promise<Rendering> {
    return this.#reconcile(copy.resources, copy.at);
  }

  async #reconcile(resources: ReadonlyMap<ResourceKey, Resource>, at: Position): Promise<Rendering> {
    const keysOf = new Map<Uid, Map<ResourceKey, Key>>();
    for (const [key, resource] of resources) {
      if (resource.kind !== "key") continue;
      const held = keysOf.get(resource.uid) ?? new Map<ResourceKey, Key>();
      keysOf.set(resource.uid, held.set(key, resource));
    }
    const files = new Map<string, KeyFile>();
    const isolated = new Map<Uid, readonly Isolated[]>();
    for (const [uid, keys] of keysOf) {
      const user = resources.get(`user/${uid}` as ResourceKey);
      const file = fileOf(user, keys);
      if (file) files.set(file.name, file);
      else if (!user) isolated.set(uid, strays(uid, keys.keys()));
    }
    const writes: Write[] = [];
    for (const name of await this.#disk.list(join(this.#served, keysFolder))) {
      const wanted = files.get(name);
      const found = await this.#disk.read(join(this.#served, keysFolder, name));
      if (!wanted) writes.push(removal(name));
      else if (!found?.bytes.equals(wanted.bytes) || !isHeld(found, mode)) writes.push(writeOf("revoke-keys", wanted));
      files.delete(name);
    }
    for (const missing of files.values()) writes.push(writeOf("grant-keys", missing));
    const granting = [...keysOf].flatMap(([uid, keys]) => {
      const user = resources.get(`user/${uid}` as ResourceKey);
      return user?.kind === "user" && files.has(user.name) ? [...keys.keys()] : [];
    });
    return this.#planned({ writes, granting }, isolated, {
      settle: () => ({ at, keysOf, isolated }),
      known: new Map(),
    });
  }

  #planned(files: Omit<Rendering, "isolated">, isolated: State["isolated"], plan: Plan): Rendering {
    const rendering = { ...files, isolated: [...isolated.values()].flat() };
    this.#plans.set(rendering, plan);
    return rendering;
  }

  #planOf(rendering: Rendering): Plan {
    const plan = this.#plans.get(rendering);
    if (!plan) throw new Error("the rendering is not this sink's");
    return plan;
  }

  /** Asks ssh-keygen for every key. A node without it has no sshd either, and our own parser has read each line. */
  async #compare(keys: readonly SshKey[]): Promise<void> {
    const printed = await this.#fingerprints(keys.map((key) => `${printSshKey(key)}\n`).join(""));
    if (printed === undefined) return;
    const seen = new Set(printed.split("\n").map((line) => line.split(" ", 2)[1]));
    for (const key of keys) {
      // A build without security keys passes over sk-* lines, and so does its sshd: no harm, and nobody else's fault.
      if (!seen.has(fingerprint(key)) && !key.type.startsWith("sk-")) {
        throw new Error(`ssh-keygen does not read the key ${fingerprint(key)}`);
      }
    }
  }
}

/** What one user's file is to hold. */
interface KeyFile {
  readonly name: string;
  readonly lines: readonly string[];
  readonly bytes: Buffer;
}

/** None for who is locked, whatever keys they were sent. */
function fileOf(user: Resource | undefined, keys: ReadonlyMap<ResourceKey, Key>): KeyFile | undefined {
  if (user?.kind !== "user" || user.locked || keys.size === 0) return undefined;
  const lines = [...keys.values()].map(lineOf).sort();
  return { name: user.name, lines, bytes: Buffer.from(lines.map((line) => `${line}\n`).join("")) };
}

function changeOf(before: KeyFile | undefined, after: KeyFile | undefined): Write[] {
  const left = before && before.name !== after?.name ? [removal(before.name)] : [];
  if (!after || (before?.name === after.name && before.bytes.equals(after.bytes))) return left;
  const kept = new Set(after.lines);
  const loses = before?.name === after.name && before.lines.some((line) => !kept.has(line));
  return [...left, writeOf(loses ? "revoke-keys" : "grant-keys", after)];
}

function removal(name: string): Write {
  return { phase: "revoke-keys", path: join(keysFolder, name), bytes: undefined, mode };
}

function writeOf(phase: "revoke-keys" | "grant-keys", { name, bytes }: KeyFile): Write {
  return { phase, path: join(keysFolder, name), bytes, mode };
}

/** The keys that a user has after some edits of theirs. */
function keysOfAfter(keys: ReadonlyMap<ResourceKey, Key>, edits: readonly Edit[]): Map<ResourceKey, Key> {
  const kept = new Map(keys);
  for (const { key, before, after } of edits) {
    if (before?.kind === "key") kept.delete(key);
    if (after?.kind === "key") kept.set(key, after);
  }
  return kept;
}

function uidOf(resource: Resource | undefined): Uid | undefined {
  return resource?.kind === "user" || resource?.kind === "key" ? resource.uid : undefined;
}

function strays(uid: Uid, keys: Iterable<ResourceKey>): Isolated[] {
  return [...keys].map((key) => ({ key, reason: `user ${uid} is not known here` }));
}

/** sshd(8), AUTHORIZED_KEYS FILE FORMAT. The Z, for UTC, is OpenSSH's since 9.1; an older one refuses the key, whose time it cannot read. */
function lineOf({ key, expires }: Key): string {
  if (expires === undefined) return printSshKey(key);
  const digits = new Date(expires * 1000)
    .toISOString()
    .replaceAll(/[^0-9]/g, "")
    .slice(0, 14);
  return `expiry-time="${digits}Z" ${printSshKey(key)}`;
}

/** The keys of a file, each on a line of its own exactly as we print it. @throws Error naming the line. */
function readKeys(path: string, text: string): { readonly line: string; readonly key: SshKey }[] {
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length === 0) throw new Error(`${path} does not end with a line break`);
  return lines.map((line, index) => {
    const [, plain = line] = /^expiry-time="[0-9]{14}Z" (.+)$/.exec(line) ?? [];
    const key = parseSshKey(plain);
    if (printSshKey(key) !== plain) throw new Error(`${path}, line ${index + 1}, is not as we print keys`);
    return { line, key };
  });
}

const patience = 10_000;

async function sshKeygen(lines: string): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const options = { timeout: patience, killSignal: "SIGKILL", maxBuffer: 1 << 24 } as const;
  const child = execFile("ssh-keygen", ["-l", "-f", "-"], options, (error, stdout) => {
    if (!error) resolve(stdout);
    else if (errnoOf(error) === "ENOENT") resolve(undefined);
    else if (error.signal) {
      // That may pass, other than what it says of a key.
      const why = error.killed ? `did not answer within ${patience / 1000} s` : `was ended by ${error.signal}`;
      const cause = Object.assign(new Error(why), { code: "ETIMEDOUT", errno: -110 });
      reject(new Error(`ssh-keygen ${why}`, { cause }));
    } else reject(new Error("ssh-keygen -l refuses the keys", { cause: error }));
  });
  // It may be gone before it has read all; the exit code tells why.
  child.stdin?.on("error", () => undefined).end(lines);
  return promise;
}

/**
 * A namespace is the body of a test host: mount (an overlay above the layer, on a tmpfs only it sees), net, uts, ipc and
 * mostly pid namespaces, held by one init (init.sh). Init waits on a pipe from us, so nothing outlives this process,
 * also when it is killed; and all of it lives in kernel objects without names, so nothing of an earlier run can disturb.
 *
 * A command meant for a host never reaches the machine: we look at its root before we enter, and the entry itself runs
 * the command only after it has read, in the root it arrived in, the token that init wrote there.
 */

import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, statfsSync } from "node:fs";
import { constants } from "node:os";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

/** What a command left behind. A death by signal has the code a shell gives it: 128 + the signal's number. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  /** In milliseconds, 30,000 if not said; then the command and its children are killed, and `run` throws. */
  readonly timeout?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A process inside, with pipes. `kill` reaches the process itself; `pid` is that of the entry, out here. */
export type Inmate = ChildProcessByStdio<Writable, Readable, Readable>;

const overlayfs = 0x794c7630;
const bootTimeout = 10_000;
const runTimeout = 30_000;
const killTries = 1_000; // about a millisecond each

const repo = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const init = fileURLToPath(new URL("init.sh", import.meta.url));

/** One of each place that must be visible inside, at the same path. */
const visible = [`${repo}/package.json`, `${repo}/node_modules/vitest/package.json`, process.execPath];

const environment = {
  PATH: `${repo}/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  HOME: "/root",
  LANG: "C.UTF-8",
};

const guard = 'read -r token </run/host.ready && [ "$token" = "$1" ] || exit 97; shift; exec "$@"';

export interface NamespaceOptions {
  /** The layer to stand on, as overlay's `lowerdir=` takes it. */
  readonly lower: string;
  /** Without a pid namespace of its own it can address other hosts' namespaces by the machine's pids. */
  readonly pids: "own" | "machine";
}

export async function openNamespace(name: string, { lower, pids }: NamespaceOptions): Promise<Namespace> {
  const token = randomBytes(16).toString("hex");
  const kinds = ["--mount", "--net", "--uts", "--ipc", ...(pids === "own" ? ["--pid"] : [])];
  const outer = spawn("unshare", [...kinds, "--fork", "--kill-child", "bash", init, lower, name, token, ...visible], {
    stdio: ["pipe", "pipe", "pipe"],
    detached: true, // a terminal's ^C is ours to answer, by closing what we opened
  });
  const stderr = text(outer.stderr);
  try {
    const pid = await readiness(outer);
    const space = new Namespace(name, pid, token, kinds, outer);
    space.verify();
    return space;
  } catch (cause) {
    outer.kill("SIGKILL");
    throw new Error(`start ${name}: ${(await stderr).trim() || "no word from its init"}`, { cause });
  }
}

export class Namespace implements AsyncDisposable {
  readonly name: string;
  /** Of its init, as the machine counts. */
  readonly pid: number;
  /** The words before a command that run it inside, once the root was seen to be ours; it keeps the terminal it is given. */
  readonly entry: readonly string[];
  readonly #token: string;
  readonly #pids: NamespaceOptions["pids"];
  readonly #outer: ChildProcess;

  constructor(name: string, pid: number, token: string, kinds: readonly string[], outer: ChildProcess) {
    this.name = name;
    this.pid = pid;
    this.#token = token;
    this.#pids = kinds.includes("--pid") ? "own" : "machine";
    this.entry = ["nsenter", "--target", String(pid), ...kinds, "--", "sh", "-c", guard, "sh", token];
    this.#outer = outer;
  }

  /** Its root, as seen from the machine. For reading; a symlink in there is followed out here. */
  get root(): string {
    return `/proc/${this.pid}/root`;
  }

  get isOn(): boolean {
    return isRunning(this.#outer);
  }

  /** Throws unless this is on, and its root the overlay that we made. */
  verify(): void {
    if (!this.isOn) throw new Error(`${this.name} is off`);
    if (!this.#isOurs()) throw new Error(`${this.name}: pid ${this.pid} is no test host of ours`);
  }

  /** Starts a process inside that may run for long; its output must be read, or it stops at a full pipe (64 kB). */
  spawn(command: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Inmate {
    this.verify();
    const [nsenter = "", ...entry] = this.entry;
    const session = this.#pids === "own" ? ["setsid"] : []; // a group of its own, apart from the entry's
    const child = spawn(nsenter, [...entry, ...session, command, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      env: { ...environment, ...env },
    });
    child.kill = (signal = "SIGTERM") => {
      const inner = this.#inner(child);
      return inner !== undefined && kill(inner, signal);
    };
    return child;
  }

  /** Runs a command inside to its end. */
  async run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Outcome> {
    const { input = "", timeout = runTimeout, env = {} } = options;
    const child = this.spawn(command, args, env);
    const limit = AbortSignal.timeout(timeout);
    const exhaust = () => this.#exhaust(child);
    limit.addEventListener("abort", exhaust, { once: true });
    child.stdin.on("error", () => undefined); // it need not read to the end
    child.stdin.end(input);
    try {
      const [closed, stdout, stderr] = await Promise.all([
        once(child, "close"),
        text(child.stdout),
        text(child.stderr),
      ]);
      limit.throwIfAborted();
      const [code, signal] = closed as [number | null, NodeJS.Signals | null];
      return { code: code ?? 128 + constants.signals[signal ?? "SIGKILL"], stdout, stderr };
    } catch (cause) {
      const what = limit.aborted ? `not done in ${timeout} ms` : "failed";
      throw new Error(`${this.name}: ${[command, ...args].join(" ")}: ${what}`, { cause });
    } finally {
      limit.removeEventListener("abort", exhaust);
    }
  }

  /** Kills every process in its pid namespace but init, each by its own id, until none is left. */
  killAll(): void {
    this.verify();
    const own = readlinkSync(`/proc/${this.pid}/ns/pid`);
    if (own === readlinkSync("/proc/self/ns/pid")) throw new Error(`${this.name} shares the machine's pids`);
    for (let tries = 0; this.#inmates(own).length > 0; tries++) {
      if (tries === killTries) throw new Error(`${this.name}: processes that SIGKILL does not end`);
      for (const pid of this.#inmates(own)) kill(pid, "SIGKILL");
      pause();
    }
  }

  #inmates(own: string): number[] {
    const pids = readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number);
    return pids.filter((pid) => pid !== this.pid && namespaceOf(pid) === own);
  }

  /** Power off: its pid 1 is killed, and the kernel ends every process, mount and link of it. Harmless when done twice. */
  async off(): Promise<void> {
    if (!this.isOn) return;
    const gone = once(this.#outer, "exit");
    kill(this.pid, "SIGKILL");
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.off();
  }

  #isOurs(): boolean {
    return seen(`${this.root}/run/host.ready`).trim() === this.#token && statfsSync(`${this.root}/`).type === overlayfs;
  }

  /**
   * The process inside, as the machine counts. nsenter stays outside as its parent, and ends as it ends; a signal to
   * nsenter would end nsenter only. Just after the start it may not be there yet: it is waited for, a moment.
   */
  #inner(child: ChildProcess): number | undefined {
    if (this.#pids === "machine") return child.pid;
    for (let tries = 0; tries < killTries && isRunning(child); tries++) {
      const entry = `/proc/${child.pid}`;
      if (!/ [SRD] /.test(seen(`${entry}/stat`))) return undefined; // it ended, and only we have not heard yet
      const inner = Number(seen(`${entry}/task/${child.pid}/children`));
      if (inner !== 0) return inner;
      pause();
    }
    return undefined;
  }

  /** Kills a command and its children, and takes the pipes from those of them that left its group. */
  #exhaust(child: Inmate): void {
    const close = () => {
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const inner = isRunning(child) ? this.#inner(child) : undefined;
    if (inner === undefined) return close();
    child.once("exit", close);
    if (!kill(-inner, "SIGKILL")) kill(inner, "SIGKILL");
  }
}

/** The pid that init says it has, once it stands. */
async function readiness(outer: Inmate): Promise<number> {
  const limit = setTimeout(() => outer.kill("SIGKILL"), bootTimeout);
  try {
    for await (const line of createInterface({ input: outer.stdout })) {
      const [, pid] = /^ready (\d+)$/.exec(line) ?? [];
      if (pid !== undefined) return Number(pid);
    }
  } finally {
    clearTimeout(limit);
  }
  throw new Error("its init ended");
}

/** The process may have ended by itself. */
function kill(pid: number, signal: NodeJS.Signals | number): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined; // it ended, or is a zombie
  }
}

/** A file of /proc; empty when its process ended meanwhile. */
function seen(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** A millisecond, for what the kernel does at once or almost so. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/**
 * A lab is a few test hosts on one switch: each a node of its own (root, /etc, network, pids; the clock is shared), up in a
 * fraction of a second. Everything is gone when the scope ends, and the machine is as it was.
 *
 *     await using lab = await openLab();
 *     await using host = await lab.host("login-1");
 *     const { stdout } = await host.run("getent", ["passwd", "ada"]);
 *
 * No daemon runs in a host until one is started; `files cache` is its nsswitch order; the checkout and its Node are there
 * at their usual paths, as they were when read first.
 */

import { randomBytes } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { buildLayer, type Layer } from "./layer.ts";
import { type Inmate, type Namespace, type Outcome, openNamespace, type RunOptions } from "./namespace.ts";
import { addressOf, openSwitch, type Switch } from "./switch.ts";

export type { Inmate, Outcome, RunOptions } from "./namespace.ts";

export interface LabOptions {
  /** For people who look at the process list. */
  readonly name?: string;
  /** Packages that its hosts need beside `nodePackages`. */
  readonly packages?: readonly string[];
}

/** @throws LabUnavailable where this machine can have no hosts. */
export async function openLab({ name = "lab", packages = [] }: LabOptions = {}): Promise<Lab> {
  const layer = await buildLayer(packages);
  if (layer.kind === "unavailable") throw new LabUnavailable(layer);
  const unique = `${name}-${process.pid}-${randomBytes(3).toString("hex")}`;
  return new Lab(unique, layer.lower, await openSwitch(unique, layer.lower));
}

export class LabUnavailable extends Error {
  readonly because: Extract<Layer, { kind: "unavailable" }>["because"];

  constructor({ because, detail }: Extract<Layer, { kind: "unavailable" }>) {
    super(`this machine can have no test hosts (${because}): ${detail}`);
    this.name = "LabUnavailable";
    this.because = because;
  }
}

export class Lab implements AsyncDisposable {
  readonly name: string;
  readonly #lower: string;
  readonly #switch: Switch;
  readonly #hosts: Host[] = [];
  readonly #starts: Promise<Host>[] = [];

  constructor(name: string, lower: string, hub: Switch) {
    this.name = name;
    this.#lower = lower;
    this.#switch = hub;
  }

  /** Starts a host; the others of the lab know it by name from then on. */
  host(name: string): Promise<Host> {
    const start = this.#start(name, this.#starts.length);
    this.#starts.push(start);
    return start;
  }

  /** Also waits for hosts that are still starting: of several started at once, one may have failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#starts);
    await Promise.all(this.#hosts.map((host) => host.off()));
    await this.#switch[Symbol.asyncDispose]();
  }

  async #start(name: string, port: number): Promise<Host> {
    if (!/^[a-z][a-z0-9-]{0,62}$/.test(name)) throw new Error(`${name} is no host name`);
    const space = await openNamespace(name, { lower: this.#lower, pids: "own" });
    const host = new Host(space, port, this.#switch);
    this.#hosts.push(host);
    await this.#switch.plug(port, space.pid);
    this.#introduce();
    return host;
  }

  /** Writes /etc/hosts everywhere; without a pause, so that hosts that start together all end with the whole list. */
  #introduce(): void {
    const running = this.#hosts.filter((host) => host.isOn);
    const lines = ["127.0.0.1 localhost", ...running.map(({ address, name }) => `${address} ${name}`), ""];
    for (const { root } of running) {
      writeFileSync(`${root}/etc/hosts.next`, lines.join("\n"), { flag: "wx" });
      renameSync(`${root}/etc/hosts.next`, `${root}/etc/hosts`);
    }
  }
}

export class Host implements AsyncDisposable {
  readonly name: string;
  /** On the lab's own network: reached from the lab's hosts only. */
  readonly address: string;
  readonly #space: Namespace;
  readonly #port: number;
  readonly #switch: Switch;

  constructor(space: Namespace, port: number, hub: Switch) {
    this.name = space.name;
    this.address = addressOf(port);
    this.#space = space;
    this.#port = port;
    this.#switch = hub;
  }

  get isOn(): boolean {
    return this.#space.isOn;
  }

  /** Its root as seen from the machine, for reading; an absolute symlink in there leads to the machine's files. */
  get root(): string {
    this.#space.verify();
    return this.#space.root;
  }

  /** The words before a command with which a shell of this machine runs it here. */
  get entry(): readonly string[] {
    return this.#space.entry;
  }

  /** Runs a command to its end. Throws if the host is off, and if the command takes too long; not for its exit code. */
  run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Outcome> {
    return this.#space.run(command, args, options);
  }

  /**
   * Starts what runs for long: an agent, a server. `kill` on it signals the process itself; it ends with the host at the
   * latest. Its output must be read (`resume()` at least), or it stops at a full pipe.
   */
  spawn(command: string, args: readonly string[] = [], options: Pick<RunOptions, "env"> = {}): Inmate {
    return this.#space.spawn(command, args, options.env);
  }

  /** Writes a file, and its folders; the mode is 0644 if not said. */
  async write(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"';
    const { code, stderr } = await this.run("sh", ["-c", script, "sh", path, mode.toString(8)], { input: content });
    if (code !== 0) throw new Error(`${this.name}: write ${path}: ${stderr.trim()}`);
  }

  /** Takes its cable out: nothing arrives, nothing leaves, nobody is told. */
  cut(): Promise<void> {
    return this.#switch.set(this.#port, "down");
  }

  heal(): Promise<void> {
    return this.#switch.set(this.#port, "up");
  }

  /** Ends every process but the host itself by SIGKILL; what they wrote stays as the kernel has it. */
  killAll(): void {
    this.#space.killAll();
  }

  /** Power off, for good: its processes end at once, and its disk (a tmpfs) is gone. See power.ts for one that stays. */
  off(): Promise<void> {
    return this.#space.off();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.off();
  }
}

/** A process full of light agents (load.c), and what it may be asked. */

import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** Debian's packages that have what the load is made with. */
const packages = ["gcc", "libc6-dev", "libssl-dev"];

/** Makes the program. @throws Error that says which packages are needed. */
export function makeLoad(folder: string): string {
  const program = join(folder, "load");
  const source = new URL("load.c", import.meta.url).pathname;
  try {
    execFileSync("cc", ["-O2", "-o", program, source, "-lssl", "-lcrypto"], { stdio: ["ignore", "ignore", "pipe"] });
  } catch (cause) {
    throw new Error(`the load is written in C: apt-get install ${packages.join(" ")}`, { cause });
  }
  return program;
}

export interface Counts {
  readonly live: number;
  readonly snapshots: number;
  /** Connections that ended, by why. */
  readonly closed: Readonly<Record<string, number>>;
}

export class Load implements Disposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;

  private constructor(program: string, folder: string) {
    this.#process = spawn(program, [folder], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#process.stdout);
    this.#process.once("exit", (code) => {
      if (code !== 0) throw new Error(`the load ended by itself: ${code}`);
    });
  }

  /** @param folder with what the agents are by: load.c. */
  static async start(program: string, folder: string): Promise<Load> {
    const load = new Load(program, folder);
    await once(load.#lines, "line");
    return load;
  }

  set niceness(niceness: number) {
    if (this.#process.pid !== undefined) setPriority(this.#process.pid, niceness);
  }

  /** All agents connect, and come back by themselves when they lose their connection; resolves once each was welcomed. */
  async connect(port: number, first: Uint8Array, later: Uint8Array): Promise<void> {
    await this.#ask(`connect ${port} ${Buffer.from(first).toString("hex")} ${Buffer.from(later).toString("hex")}`);
  }

  /** Bare TLS sockets connect, which answer so many bytes by so many. */
  async connectBare(port: number, message: number, answer: number): Promise<void> {
    await this.#ask(`floor ${port} ${message} ${answer}`);
  }

  async leave(): Promise<void> {
    await this.#ask("leave");
  }

  /** When each agent held a revision, milliseconds since 1970; once all do. */
  times(revision: number): Promise<number[]> {
    return this.#askTimes(`times ${revision}`);
  }

  /** When each bare socket answered, milliseconds since 1970; once all have. */
  answered(): Promise<number[]> {
    return this.#askTimes("answered");
  }

  async counts(): Promise<Counts> {
    const [figures = "", ...ends] = (await this.#ask("counts")).split("\t");
    const [live = 0, snapshots = 0] = figures.split(" ").slice(1).map(Number);
    const closed = Object.fromEntries(ends.map((end) => [end.replace(/^\d+ /, ""), Number.parseInt(end, 10)]));
    return { live, snapshots, closed };
  }

  [Symbol.dispose](): void {
    this.#process.stdin.end();
  }

  async #askTimes(order: string): Promise<number[]> {
    return (await this.#ask(order)).split(" ").slice(1).map(Number);
  }

  async #ask(order: string): Promise<string> {
    const answer = once(this.#lines, "line");
    this.#process.stdin.write(`${order}\n`);
    const [line] = (await answer) as [string];
    return line;
  }
}

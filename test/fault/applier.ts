/**
 * The agent's local half in a process of its own, applying the step when it is told to, for faults to be put under it; and strace, that
 * puts them there.
 *
 * The counting is exact: Node makes its calls on files in a pool of threads, which is given one thread here; strace joins
 * that thread when the apply is about to begin, and sees its calls on the state folder only. A run under a wider strace
 * tells how many these are, and that no other thread or process makes any.
 */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Failure } from "../../agent/agent.ts";
import type { Host, Inmate } from "../lab/host.ts";
import { Started } from "../processes/started.ts";

/** Calls that change files, or make what was changed durable. */
const calls =
  "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,fchmod,fchown,chmod,chown," +
  "fchownat,fchmodat,ftruncate,utimensat,mkdir,mkdirat,link,linkat,symlink,symlinkat,close";

const program = fileURLToPath(new URL("applier-main.ts", import.meta.url));
/** A file of the host with the content that appliers step to. */
export const content = "/tmp/content";

/** What an apply came to. */
export type Outcome = { readonly ok: true } | ({ readonly ok: false; readonly errno: string } & Failure);

export class Applier implements AsyncDisposable {
  readonly #agent: Started;
  readonly #host: Host;
  readonly #inmate: Inmate;
  readonly #pid: string;
  /** Of the thread that makes all calls on files. */
  readonly thread: string;
  readonly #died: Promise<NodeJS.Signals>;
  #heard = 0;

  private constructor(host: Host, inmate: Inmate, agent: Started, pid: string, thread: string) {
    this.#host = host;
    this.#inmate = inmate;
    this.#died = once(inmate, "exit").then(([, signal]) => signal as NodeJS.Signals);
    this.#agent = agent;
    this.#pid = pid;
    this.thread = thread;
  }

  static async start(host: Host): Promise<Applier> {
    const options = { env: { UV_THREADPOOL_SIZE: "1", NODE_COMPILE_CACHE: "/tmp/compiled" } };
    const inmate = host.spawn("node", ["--disable-warning=ExperimentalWarning", program, content], options);
    const agent = new Started(inmate);
    const [, pid = "", thread = ""] = await agent.says(/^ready (\d+) (\d+)$/m);
    return new Applier(host, inmate, agent, pid, thread);
  }

  /** Opens a state folder, as the agent's start does. */
  async open(state: string): Promise<void> {
    expect(await this.#ask(`open ${state}`)).toEqual({ ok: true });
  }

  /** Applies the step, or tries it again. */
  apply(): Promise<Outcome> {
    return this.#ask("apply");
  }

  /** Applies the step under strace, which it does not outlive if that kills it. */
  async applyUnder(strace: readonly string[]): Promise<Outcome | NodeJS.Signals> {
    await using tracer = new Started(this.#host.spawn("strace", strace));
    await tracer.says(/attached/);
    const outcome = await Promise.race([this.apply(), this.#died]);
    await tracer.end("SIGTERM");
    return outcome;
  }

  /** The calls with which it applies the step to a state folder that it has opened. */
  async trace(state: string): Promise<Trace> {
    const flags = ["-f", "-y", "-p", this.#pid, "-o", "/tmp/trace", "-e", `trace=${calls}`];
    expect(await this.applyUnder(flags)).toEqual({ ok: true });
    const lines = readFileSync(join(this.#host.root, "/tmp/trace"), "utf8").split("\n");
    const seen = lines.filter((line) => line.includes(`${state}/`) && !line.includes("resumed>"));
    const own = seen.filter((line) => line.startsWith(`${this.thread} `));
    expect(
      seen.filter((line) => !own.includes(line)),
      "calls of other threads",
    ).toEqual([]);
    const named = own.flatMap((line) => [...line.matchAll(/["<](\/[^">]+)[">]/g)].map(([, path = ""]) => path));
    const paths = [...new Set(named)].filter((path) => path.startsWith(`${state}/`));
    const counts = new Map<string, number>();
    const made = own.map((line): Call => {
      const [, name = ""] = /^\d+ +(\w+)\(/.exec(line) ?? [];
      const nth = (counts.get(name) ?? 0) + 1;
      counts.set(name, nth);
      return { name, nth, line };
    });
    return { made, paths: paths.map((path) => relative(state, path)) };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#agent[Symbol.asyncDispose]();
  }

  async #ask(line: string): Promise<Outcome> {
    this.#inmate.stdin.write(`${line}\n`);
    this.#heard++;
    const pattern = new RegExp(`^ready .*\\n(?:.*\\n){${this.#heard - 1}}(\\{.*\\})\\n`);
    const [, said = ""] = await this.#agent.says(pattern);
    return JSON.parse(said) as Outcome;
  }
}

/** One call on a file: strace counts those of each name apart. */
export interface Call {
  readonly name: string;
  readonly nth: number;
  /** As strace shows it. */
  readonly line: string;
}

/** An apply's calls on the state folder, and on which paths they are (relative to it). */
export interface Trace {
  readonly made: readonly Call[];
  readonly paths: readonly string[];
}

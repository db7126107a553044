/** A process of ours that a test started: its output, and its end. Only such processes are ever ended, by pid. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

export class Started implements AsyncDisposable {
  readonly process: ChildProcess;
  stdout = "";
  stderr = "";

  constructor(process: ChildProcess) {
    this.process = process;
    process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-200_000);
    });
  }

  /** Resolves once its output matches. @throws Error with its output if it ends, or takes too long. */
  async says(pattern: RegExp, timeout = 60_000): Promise<RegExpExecArray> {
    for (const end = Date.now() + timeout; Date.now() < end; await sleep(20)) {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (match) return match;
      if (this.process.exitCode !== null || this.process.signalCode !== null) break;
    }
    throw new Error(`${this.process.spawnfile} did not say ${pattern}:\n${this.stdout}\n${this.stderr}`);
  }

  /** Resolves once it is gone, whoever ended it. */
  async ended(): Promise<void> {
    const { process } = this;
    if (process.exitCode === null && process.signalCode === null) await once(process, "exit");
  }

  /** Ends it, and resolves with its exit code once it is gone; undefined if a signal ended it. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<number | undefined> {
    const { process } = this;
    if (process.exitCode !== null || process.signalCode !== null) return process.exitCode ?? undefined;
    process.kill(signal);
    if (signal !== "SIGKILL") process.kill("SIGCONT");
    const late = setTimeout(() => process.kill("SIGKILL"), 15_000);
    await once(process, "exit");
    clearTimeout(late);
    return process.exitCode ?? undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }
}

/** Starts a program of the repository's `bin/`. */
export function startBin(name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Started {
  const program = new URL(`../../bin/${name}`, import.meta.url).pathname;
  return new Started(spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } }));
}

/**
 * Runs Slurm's programs, and getent: no shell, words apart, a time within which they must end, the messages in English. They end with the
 * agent.
 */

import { execFile } from "node:child_process";
import { errnoOf } from "../disk.ts";

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one program to its end. @throws Away: it is missing, took too long, or was ended before it could say anything. */
export type Run = (program: string, args: readonly string[], timeout: number) => Promise<Outcome>;

/** Slurm, or a part of it, cannot be asked: nothing else would be answered either. */
export class Away extends Error {}

/** There is no Slurm on this machine at all. */
export class Absent extends Away {}

/** @param path where programs are looked for; a service manager's PATH may lack the folders of system programs. */
export function programs(path: string, signal: AbortSignal): Run {
  const env = { PATH: `${path}:/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin`, LC_ALL: "C" };
  return (program, args, timeout) => {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const options = { timeout, signal, killSignal: "SIGKILL", maxBuffer: 1 << 30, env } as const;
    execFile(program, [...args], options, (error, stdout, stderr) => {
      if (!error) return resolve({ code: 0, stdout, stderr });
      if (typeof error.code === "number") return resolve({ code: error.code, stdout, stderr });
      if (errnoOf(error) === "ENOENT") return reject(new Absent(`${program} is not installed`, { cause: error }));
      const why = error.killed ? `did not answer within ${timeout / 1000} s` : `was ended by ${error.signal}`;
      reject(new Away(`${program} ${error.signal ? why : error.message}`, { cause: error }));
    });
    return promise;
  };
}

/** What a program said, in one line. */
export function oneLine(text: string): string {
  return text
    .replaceAll(/[^!-~]+/g, " ")
    .trim()
    .slice(0, 300);
}

/** @throws Away if what a program said means that Slurm cannot be asked. */
export function refuseAway(program: string, { stdout, stderr }: Outcome): void {
  const said = oneLine(`${stderr} ${stdout}`);
  if (said === "") throw new Away(`${program} failed without a word`);
  if (away.test(said)) throw new Away(`${program}: ${said}`);
}

// No word here is one that a user or an account can be called: one name that fails must not look like all of Slurm.
const away =
  /persistent connection|Unable to contact|Unable to connect|Connection refused|Connection reset|Munge (en|de)code|Protocol authentication|DBD_[A-Z]|timed out/;

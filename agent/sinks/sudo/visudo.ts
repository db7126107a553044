/** Asks sudo's own checker. That it is missing or hangs may pass; what it refuses will be refused again. */

import { execFile } from "node:child_process";
import { errnoOf } from "../../disk.ts";

/** Resolves if the file at a path is good sudoers. @throws Error saying why not. */
export type Check = (path: string) => Promise<void>;

const patience = 10_000;

export const visudo: Check = (path) => visudoWithin(path, patience);

/** @internal For tests, which have less patience. */
export async function visudoWithin(path: string, timeout: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // A service manager's PATH may lack the folders of system programs.
  const env = { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/local/sbin`, LC_ALL: "C" };
  const options = { timeout, killSignal: "SIGKILL", maxBuffer: 1 << 20, env } as const;
  execFile("visudo", ["-cf", path], options, (error, stdout, stderr) => {
    if (!error) return resolve();
    if (errnoOf(error) !== undefined)
      return reject(new Error("visudo could not be run: is sudo installed?", { cause: error }));
    if (error.signal) {
      const why = error.killed ? `did not answer within ${timeout / 1000} s` : `was ended by ${error.signal}`;
      const cause = Object.assign(new Error(why), { code: "ETIMEDOUT", errno: -110 });
      return reject(new Error(`visudo ${why}`, { cause }));
    }
    reject(new Error(`visudo refuses the file: ${oneLine(`${stderr} ${stdout}`.replaceAll(path, "it"))}`));
  });
  return promise;
}

function oneLine(text: string): string {
  return text
    .replaceAll(/[^!-~]+/g, " ")
    .trim()
    .slice(0, 300);
}

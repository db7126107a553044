/** `rollcall` as a real process against a real server, with the environment that an operator has. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { OperatorServer } from "./operator-server.ts";

const program = fileURLToPath(new URL("../../bin/rollcall", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Starts the program. */
export function start(
  server: OperatorServer,
  words: readonly string[],
  environment: Record<string, string | undefined> = {},
) {
  const env = { ROLLCALL_SERVER: server.url, ROLLCALL_TOKEN: server.token, ROLLCALL_CA: server.caPath };
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  return spawn(program, words, { env: { PATH, NODE_COMPILE_CACHE, ...env, ...environment } });
}

export async function ended(child: ReturnType<typeof start>, input = ""): Promise<Ended> {
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: code as number | null, out, err };
}

/** Runs a command line: words with spaces between, or a list of words. */
export async function rollcall(
  server: OperatorServer,
  line: string | readonly string[],
  environment = {},
  input = "",
): Promise<Ended> {
  return ended(start(server, typeof line === "string" ? line.split(" ") : line, environment), input);
}

/** The output of a command line that must succeed. */
export async function prints(server: OperatorServer, line: string | readonly string[]): Promise<string> {
  const { code, out, err } = await rollcall(server, line);
  expect([code, err], String(line)).toEqual([0, ""]);
  return out;
}

export async function json(server: OperatorServer, line: string): Promise<Record<string, unknown>> {
  return JSON.parse(await prints(server, `${line} -o json`)) as Record<string, unknown>;
}

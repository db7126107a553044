/** `buf curl`, as an operator runs it. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { OperatorServer } from "./operator-server.ts";

const buf = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url));

/** How a call ended: status 0, or a gRPC code. */
export interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export type Json = Record<string, unknown>;

/** Calls without a token. */
export async function bufCurl(server: OperatorServer, path: string, ...args: string[]): Promise<Answer> {
  const child = spawn(buf, ["curl", "--cacert", server.caPath, ...args, `${server.url}/${path}`]);
  const [out, err, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  // buf says the gRPC code times 8; less is a failure of its own.
  const code = Number(status) / 8;
  if (!Number.isInteger(code)) throw new Error(`buf curl ended with ${status}: ${err}`);
  return { code, out, err };
}

/** Calls with the operator's token, for reflection too. */
export async function call(server: OperatorServer, path: string, body: Json = {}, ...args: string[]): Promise<Answer> {
  const token = ["-H", `authorization: Bearer ${server.token}`, "--reflect-header", "*"];
  return bufCurl(server, path, ...token, "-d", JSON.stringify(body), ...args);
}

/** The answer of a method of ours, which must succeed. */
export async function ask(server: OperatorServer, method: string, body: Json = {}): Promise<Json> {
  const { code, out, err } = await call(server, `rollcall.v1.${method}`, body);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as Json;
}

/** What a method of ours refuses with: the code's name and the message. */
export async function refusal(server: OperatorServer, method: string, body: Json): Promise<[string, string]> {
  const { code, err } = await call(server, `rollcall.v1.${method}`, body);
  expect(code).not.toBe(0);
  const said = JSON.parse(err) as { code: string; message: string };
  return [said.code, said.message];
}

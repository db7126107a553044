/** A real listening server with a real SQLite file, for tests that speak SCIM to it as an identity provider would. */

import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fastify } from "fastify";
import { expect } from "vitest";
import { print } from "../../identity/resource.ts";
import { roles } from "../../identity/scope.ts";
import { getCluster, orgId, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { createScimToken } from "../../server/directory/tokens.ts";
import { oauth } from "../../server/oauth/routes.ts";
import { scim } from "../../server/scim/routes.ts";
import { routing } from "../../server/scim/unroutable.ts";
import { isPostgres, openStore } from "../../server/store/engine.ts";
import { everything } from "../../server/store/search.ts";
import { type Table, tables } from "../../server/store/tables.ts";
import { newDatabase } from "../processes/postgres.ts";

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The body as text, and parsed; `{}` if there is none. */
  readonly text: string;
  readonly json: Json;
}

export interface ScimServer extends AsyncDisposable {
  readonly ctx: Context;
  /** Everything that is kept: rows as text, and of an embedded database its files. */
  atRest(): Promise<string>;
  readonly token: string;
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** What the server logged, one JSON line per entry. */
  readonly logged: readonly string[];
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Everything that a change could touch: users, groups, members, heads and resources of the log, as text. */
  state(): Promise<string>;
  /** Lines of every resource that nodes are sent. */
  resources(): Promise<string[]>;
}

/** What a server is limited to; without, to nothing. */
export interface Limits {
  /** SCIM requests per second of one connection. */
  readonly rate?: number;
  /** Failed token requests per minute of one address. */
  readonly failures?: number;
  /** Who goes first. */
  readonly way?: NonNullable<Parameters<typeof scim>[1]["way"]>;
}

export async function scimServer({ rate, failures, way }: Limits = {}): Promise<ScimServer> {
  const folder = await mkdtemp(join(tmpdir(), "rollcall-scim-"));
  const database = await newDatabase(folder);
  let time = 1_700_000_000_000;
  const now = () => time++;
  const store = await openStore(database, now);
  const newSecret = () => randomBytes(32).toString("base64url");
  const ctx: Context = { store, now, newId: randomUUID, newSecret };
  await seed(ctx);
  const { secret: token } = await createScimToken(ctx, { kind: "admin" }, "default", "okta");
  const logged: string[] = [];
  const app = fastify({
    ...routing,
    logger: { level: "info", stream: { write: (line: string) => void logged.push(line) } },
  });
  const listening = () => `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  await app.register(scim(ctx, { baseUrl: listening, rate, ...(way && { way }) }));
  await app.register(oauth(ctx, { failures }));
  await app.listen({ host: "127.0.0.1", port: 0 });
  const url = listening();
  const org = await orgId(ctx, "default");

  async function resources(): Promise<string[]> {
    const { cluster } = await getCluster(ctx, "default");
    const all = await store.read(async (tx) => {
      const lines: string[] = [];
      for (const role of roles) lines.push(...(await tx.log.snapshot(cluster.id, role)).map(print));
      return lines;
    });
    return [...new Set(all)].sort();
  }

  return {
    ctx,
    atRest: async () => {
      const rows = await store.read(async (tx) => {
        const all = await Promise.all(
          (Object.keys(tables) as Table[]).map((each) => tx.tables.after(each, undefined, 10_000)),
        );
        return JSON.stringify(all);
      });
      const files = isPostgres(database) ? [] : [database, `${database}-wal`];
      return rows + files.map((file) => readFileSync(file, "latin1")).join("");
    },
    token,
    url,
    logged,
    resources,
    async request(method, path, body, headers = {}) {
      const raw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
      const answer = await fetch(path.startsWith("/scim") ? url + path : `${url}/scim/default/v2${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { "content-type": "application/scim+json" }),
          ...headers,
        },
        ...(body !== undefined && { body: (raw ? body : JSON.stringify(body)) as NonNullable<RequestInit["body"]> }),
      });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, text, json: parsed(text) };
    },
    async state() {
      const { cluster } = await getCluster(ctx, "default");
      const page = { offset: 0, limit: 100_000 };
      const held = await store.read(async (tx) => {
        const { users } = await tx.users.list(org, undefined, everything, page);
        const { groups } = await tx.groups.list(org, undefined, everything, page);
        const members: unknown[] = [];
        for (const { id } of groups) members.push([id, await tx.groups.memberIds(id)]);
        return { users, groups, members, heads: cluster.head };
      });
      const text = JSON.stringify(held, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
      return `${text}\n${(await resources()).join("\n")}`;
    },
    async [Symbol.asyncDispose]() {
      await app.close();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return {};
  }
}

/** Makes something by SCIM, and gives back its id. */
export async function made(server: ScimServer, path: string, body: Json): Promise<string> {
  const { status, json, text } = await server.request("POST", path, body);
  expect(status, text).toBe(201);
  return json.id as string;
}

/** Expects an answer in SCIM's error form (RFC 7644, section 3.12). */
export function expectError(answer: Answer, status: number, scimType?: string): void {
  expect(answer.status, answer.text).toBe(status);
  expect(answer.headers.get("content-type")).toContain("application/scim+json");
  expect(answer.json).toMatchObject({
    schemas: ["urn:ietf:params:scim:api:messages:2.0:Error"],
    status: String(status),
    detail: expect.stringMatching(/./),
  });
  expect(answer.json.scimType).toBe(scimType);
}

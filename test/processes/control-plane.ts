/** A real rollcall-server on free ports of loopback, with clients for its API and its SCIM endpoint. */

import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Role } from "../../identity/scope.ts";
import { type Node_State, NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { TokenService } from "../../proto/gen/rollcall/v1/token_pb.ts";
import { printRole } from "../../proto/wire.ts";
import type { Standing } from "../../server/authority-command.ts";
import { newDatabase } from "./postgres.ts";
import { type Started, startBin } from "./started.ts";

export interface Urls {
  readonly public: string;
  readonly nodes: string;
}

export interface ScimAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  /** When to ask again, if it says. */
  readonly retryAfter?: string;
}

export class ControlPlane implements AsyncDisposable {
  readonly data: string;
  readonly #owned: boolean;
  readonly #flags: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  #process: Started | undefined;
  #urls: Urls | undefined;
  #scim: { token: string; base: string } | undefined;

  private constructor(data: string, owned: boolean, flags: readonly string[], env: NodeJS.ProcessEnv) {
    this.data = data;
    this.#env = env;
    this.#owned = owned;
    this.#flags = flags;
  }

  /** Starts one on a folder of its own, or on a given one, which is then kept; with more flags, if they are given. */
  static async start(data?: string, flags: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<ControlPlane> {
    const folder = data ?? (await mkdtemp(join(tmpdir(), "rollcall-server-")));
    const all = flags.includes("--database") ? flags : [...flags, "--database", await newDatabase(folder)];
    const plane = new ControlPlane(folder, data === undefined, all, env);
    await plane.up();
    return plane;
  }

  /** Starts another server on the same database, with the same authority. */
  async beside(): Promise<ControlPlane> {
    const folder = await mkdtemp(join(tmpdir(), "rollcall-server-"));
    for (const file of ["ca.pem", "ca-key.pem"]) await copyFile(join(this.data, file), join(folder, file));
    const plane = new ControlPlane(folder, true, this.#flags, this.#env);
    await plane.up();
    const { token, base } = (this.#scim ??= await this.#scimToken());
    plane.#scim = { token, base: base.replace(this.urls.public, plane.urls.public) };
    return plane;
  }

  get process(): Started {
    if (!this.#process) throw new Error("the server is down");
    return this.#process;
  }

  get urls(): Urls {
    if (!this.#urls) throw new Error("the server was never up");
    return this.#urls;
  }

  get caFile(): string {
    return join(this.data, "ca.pem");
  }

  /** What it keeps everything in. */
  get database(): string {
    return this.#flags[this.#flags.indexOf("--database") + 1] ?? "";
  }

  /** Starts it again on the same folder and the same ports, with other flags if they are given. */
  async up(flags: readonly string[] = this.#flags): Promise<void> {
    const [listen, nodeListen] = this.#urls
      ? [new URL(this.#urls.public).host, this.#urls.nodes]
      : ["127.0.0.1:0", "127.0.0.1:0"];
    // Tests ask faster than any identity provider may.
    const all = ["--listen", listen, "--node-listen", nodeListen, "--scim-rate", "0", ...flags];
    this.#process = startBin("rollcall-server", ["--data", this.data, ...all], this.#env);
    await this.#process.says(/^ready$/m);
    const [, address = ""] = await this.#process.says(/^public +(\S+)$/m);
    const [, nodes = ""] = await this.#process.says(/^nodes +(\S+)$/m);
    this.#urls = { public: address, nodes };
  }

  async down(signal: NodeJS.Signals = "SIGTERM"): Promise<number | undefined> {
    return this.process.end(signal);
  }

  /** Keeps a copy of the database; the server must be down. */
  async backup(): Promise<void> {
    await copyFile(this.database, `${this.database}.backup`);
  }

  /** Puts the copy in the database's place; the server must be down. */
  async putBack(): Promise<void> {
    await copyFile(`${this.database}.backup`, this.database);
    for (const suffix of ["-wal", "-shm"]) await rm(`${this.database}${suffix}`, { force: true });
  }

  /** `rollcall-server restore`: what it says. @throws Error with its output, if it refuses. */
  async restore(...args: string[]): Promise<string> {
    const restoring = startBin("rollcall-server", ["restore", "--data", this.data, ...args]);
    await once(restoring.process, "close");
    if (restoring.process.exitCode !== 0) throw new Error(restoring.stderr);
    return restoring.stdout.trimEnd();
  }

  /** `rollcall-server authority STEP`: what it says. @throws Error with its output, if it refuses. */
  async authority(step: string, ...args: string[]): Promise<Standing> {
    const flags = ["--data", this.data, "--database", this.database, "-o", "json", ...args];
    const changing = startBin("rollcall-server", ["authority", step, ...flags]);
    await once(changing.process, "close");
    if (changing.process.exitCode !== 0) throw new Error(`${changing.process.exitCode}: ${changing.stderr}`);
    return JSON.parse(changing.stdout) as Standing;
  }

  async adminToken(): Promise<string> {
    return (await readFile(join(this.data, "admin-token"), "utf8")).trim();
  }

  /** A client of one of the operator's services. */
  async client<S extends DescService>(service: S): Promise<Client<S>> {
    const token = await this.adminToken();
    const transport = createGrpcTransport({
      baseUrl: this.urls.public,
      nodeOptions: { ca: await readFile(this.caFile) },
      interceptors: [
        (next) => (call) => {
          call.header.set("authorization", `Bearer ${token}`);
          return next(call);
        },
      ],
    });
    return createClient(service, transport);
  }

  /** How many nodes hold the newest revision. */
  async acked(): Promise<number> {
    return (await (await this.client(RolloutService)).getRollout({})).rollout?.acked ?? 0;
  }

  /** How each node stands, by name. */
  async states(): Promise<(Node_State | undefined)[]> {
    const { nodes } = await (await this.client(NodeService)).listNodes({});
    return nodes.map(({ state }) => state);
  }

  async joinToken(role: Role): Promise<string> {
    const tokens = await this.client(TokenService);
    return (await tokens.createJoinToken({ role: printRole(role) })).token;
  }

  /** Sends one SCIM request, as the connection `okta`. */
  async scim(method: string, path: string, body?: unknown): Promise<ScimAnswer> {
    this.#scim ??= await this.#scimToken();
    const { token, base } = this.#scim;
    return send(method, `${base}${path}`, await readFile(this.caFile), token, body);
  }

  async #scimToken(): Promise<{ token: string; base: string }> {
    const tokens = await this.client(TokenService);
    const { token, baseUrl } = await tokens.createScimToken({ name: "okta" });
    return { token, base: baseUrl };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
    if (this.#owned) await rm(this.data, { recursive: true, force: true });
  }
}

/** One HTTPS request with a JSON body, and its JSON answer. */
export async function send(method: string, url: string, ca: Buffer, token: string, body: unknown): Promise<ScimAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const agent = new Agent({ ca, keepAlive: false });
    const headers = { authorization: `Bearer ${token}`, ...(text ? { "content-type": "application/scim+json" } : {}) };
    const call = request(url, { method, agent, headers }, (response) => {
      let answer = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        answer += chunk;
      });
      response.on("error", reject);
      response.on("end", () => {
        const parsed = answer === "" ? {} : (JSON.parse(answer) as Record<string, unknown>);
        const { "retry-after": retryAfter } = response.headers;
        resolve({ status: response.statusCode ?? 0, body: parsed, ...(retryAfter !== undefined && { retryAfter }) });
      });
    });
    call.on("error", reject);
    call.end(text);
  });
}

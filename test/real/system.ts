/**
 * Rollcall on test hosts: a control plane on one, an agent on each of the others, and the tests' own way to the control
 * plane's port. Both are the programs that people start.
 *
 *     await using lab = await openLab();
 *     await using plane = await HostedPlane.start(lab);
 *     await using node = await HostedNode.join(plane, await lab.host("login-1"), "login");
 */

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Role } from "../../identity/scope.ts";
import { type Node, NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { TokenService } from "../../proto/gen/rollcall/v1/token_pb.ts";
import { printRole } from "../../proto/wire.ts";
import type { Host, Lab, Outcome } from "../lab/host.ts";
import { type ScimAnswer, send } from "../processes/control-plane.ts";
import { Started } from "../processes/started.ts";

const bin = (name: string) => fileURLToPath(new URL(`../../bin/${name}`, import.meta.url));
const relay = fileURLToPath(new URL("relay.ts", import.meta.url));
const socket = "/run/door";

export class HostedPlane implements AsyncDisposable {
  /** The server's own. */
  readonly host: Host;
  /** A machine of the office: where people and the identity provider are. */
  readonly office: Host;
  readonly data = "/var/lib/rollcall-server";
  readonly #door: Server;
  #server: Started | undefined;
  #transport: Transport | undefined;
  #ca: Buffer = Buffer.alloc(0);
  #scimToken = "";

  private constructor(host: Host, office: Host, door: Server) {
    this.host = host;
    this.office = office;
    this.#door = door;
  }

  /** @param prepare is run before the server's first start: what its host needs besides. */
  static async start(lab: Lab, prepare?: (plane: HostedPlane) => Promise<void>): Promise<HostedPlane> {
    const [host, office] = await Promise.all([lab.host("control"), lab.host("office")]);
    const relaying = new Started(office.spawn("node", [relay, socket, host.name, "8443"]));
    const door = createServer((near) => {
      const far = connect(join(office.root, socket));
      near.pipe(far).pipe(near);
      near.on("error", () => undefined).on("close", () => far.destroy());
      far.on("error", () => undefined).on("close", () => near.destroy());
    });
    door.listen(0, "127.0.0.1");
    await Promise.all([relaying.says(/relaying/), once(door, "listening")]);
    const plane = new HostedPlane(host, office, door);
    await prepare?.(plane);
    await plane.up();
    await plane.#authenticate();
    return plane;
  }

  get process(): Started {
    if (!this.#server) throw new Error("the server was never started");
    return this.#server;
  }

  /** The server's authority, PEM. */
  get ca(): string {
    return this.#ca.toString();
  }

  /** Starts the server, again or for the first time, on its folder. */
  async up(): Promise<void> {
    const listen = ["--listen", "0.0.0.0:8443", "--node-listen", "0.0.0.0:8444", "--name", this.host.name];
    this.#server = new Started(this.host.spawn(bin("rollcall-server"), ["--data", this.data, ...listen]));
    await this.#server.says(/^ready$/m, 60_000);
  }

  async down(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.process.end(signal);
  }

  client<S extends DescService>(service: S): Client<S> {
    if (!this.#transport) throw new Error("the server was never up");
    return createClient(service, this.#transport);
  }

  /** Sends one SCIM request. @throws Error if no answer came. */
  scim(method: string, path: string, body?: unknown): Promise<ScimAnswer> {
    return send(method, `${this.#url}/scim/default/v2${path}`, this.#ca, this.#scimToken, body);
  }

  /** Creates a user or a group, and gives its id. */
  async create(type: "Users" | "Groups", body: object): Promise<string> {
    const { status, body: answer } = await this.scim("POST", `/${type}`, body);
    if (status !== 201) throw new Error(`POST /${type}: ${status} ${JSON.stringify(answer)}`);
    return String(answer["id"]);
  }

  async patch(type: "Users" | "Groups", id: string, operation: object): Promise<void> {
    const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
    const { status, body } = await this.scim("PATCH", `/${type}/${id}`, { schemas, Operations: [operation] });
    if (status !== 200 && status !== 204) throw new Error(`PATCH /${type}/${id}: ${status} ${JSON.stringify(body)}`);
  }

  addMember(group: string, user: string): Promise<void> {
    return this.patch("Groups", group, { op: "add", path: "members", value: [{ value: user }] });
  }

  async head(): Promise<bigint> {
    return (await this.client(RolloutService).getRollout({})).rollout?.head ?? 0n;
  }

  /** Resolves once every node proved that it holds the newest revision. */
  async rolledOut(): Promise<void> {
    for await (const { rollout } of this.client(RolloutService).watchRollout({})) {
      if (rollout && rollout.nodes > 0 && rollout.acked === rollout.nodes) return;
    }
    throw new Error("the watch ended before the rollout");
  }

  async node(name: string): Promise<Node> {
    const { node } = await this.client(NodeService).getNode({ node: name });
    if (!node) throw new Error(`no node ${name}`);
    return node;
  }

  /** Runs `rollcall` as an operator on the server's host. */
  operate(...words: readonly string[]): Promise<Outcome> {
    const files = ["--token-file", join(this.data, "admin-token"), "--ca", join(this.data, "ca.pem")];
    return this.host.run(bin("rollcall"), [...words, "--server", "https://127.0.0.1:8443", ...files]);
  }

  async joinToken(role: Role): Promise<string> {
    return (await this.client(TokenService).createJoinToken({ role: printRole(role) })).token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#door.close();
    await this.#server?.[Symbol.asyncDispose]();
  }

  get #url(): string {
    return `https://127.0.0.1:${(this.#door.address() as AddressInfo).port}`;
  }

  async #authenticate(): Promise<void> {
    const data = join(this.host.root, this.data);
    this.#ca = await readFile(join(data, "ca.pem"));
    const token = (await readFile(join(data, "admin-token"), "utf8")).trim();
    this.#transport = createGrpcTransport({
      baseUrl: this.#url,
      nodeOptions: { ca: this.#ca },
      interceptors: [
        (next) => (call) => {
          call.header.set("authorization", `Bearer ${token}`);
          return next(call);
        },
      ],
    });
    this.#scimToken = (await this.client(TokenService).createScimToken({ name: "okta" })).token;
  }
}

export class HostedNode implements AsyncDisposable {
  readonly host: Host;
  readonly state = "/var/lib/rollcall";
  readonly #plane: HostedPlane;
  #agent: Started | undefined;

  private constructor(host: Host, plane: HostedPlane) {
    this.host = host;
    this.#plane = plane;
  }

  /** Enrols a host with a join token of its own, and starts its agent. */
  static async join(
    plane: HostedPlane,
    host: Host,
    role: Role,
    through: readonly string[] = [],
    flags: readonly string[] = [],
  ): Promise<HostedNode> {
    const node = new HostedNode(host, plane);
    await host.write("/etc/rollcall/ca.pem", plane.ca);
    await host.write("/etc/rollcall/join-token", await plane.joinToken(role), 0o600);
    await node.start(through, flags);
    return node;
  }

  get process(): Started {
    if (!this.#agent) throw new Error(`${this.host.name} has no agent yet`);
    return this.#agent;
  }

  /**
   * Starts the agent, and gives the mode in which the server continued with it.
   * @param through the words before its command, if something is to run it. @param flags those behind its own.
   */
  async start(
    through: readonly string[] = [],
    flags: readonly string[] = [],
  ): Promise<"up-to-date" | "delta" | "snapshot" | "wait"> {
    this.begin(through, flags);
    return this.connected();
  }

  /** Starts the agent. */
  begin(through: readonly string[] = [], flags: readonly string[] = []): void {
    const server = ["--server", `${this.#plane.host.name}:8444`, "--ca", "/etc/rollcall/ca.pem"];
    const own = ["--join-token-file", "/etc/rollcall/join-token", "--state", this.state];
    const [command = "", ...words] = [...through, bin("rollcall-agent"), ...server, ...own, ...flags];
    this.#agent = new Started(this.host.spawn(command, words));
  }

  /** Resolves once the agent that was started last has connected, with the mode in which the server continued. */
  async connected(): Promise<"up-to-date" | "delta" | "snapshot" | "wait"> {
    const [, mode = ""] = await this.process.says(/"mode":(\d)[^\n]*"msg":"connected"/);
    const found = (["up-to-date", "delta", "snapshot", "wait"] as const)[Number(mode) - 1];
    if (!found) throw new Error(`the server continued in mode ${mode}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
  }
}

/** A real rollcall-agent process on this machine, with its own state and etc folders, behind a wire that can be cut. */

import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newRequest } from "../../agent/credentials.ts";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn } from "../../agent/folders.ts";
import type { Role } from "../../identity/scope.ts";
import { openAuthority } from "../../server/authority/authority.ts";
import type { ControlPlane } from "./control-plane.ts";
import { Link } from "./link.ts";
import { type Started, startBin } from "./started.ts";

export class AgentNode implements AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  readonly link: Link;
  readonly #env: NodeJS.ProcessEnv;
  readonly #flags: readonly string[];
  #process: Started | undefined;

  private constructor(name: string, folder: string, link: Link, env: NodeJS.ProcessEnv, flags: readonly string[]) {
    this.#env = env;
    this.name = name;
    this.folder = folder;
    this.link = link;
    this.#flags = flags;
  }

  /**
   * Makes a node, enrols it with a join token of its own, and starts it; `env` is its agent's at each start, and so are `flags`,
   * behind its own.
   */
  static async join(
    plane: ControlPlane,
    name: string,
    role: Role,
    env: NodeJS.ProcessEnv = {},
    flags: readonly string[] = [],
  ): Promise<AgentNode> {
    const folder = await mkdtemp(join(tmpdir(), `rollcall-${name}-`));
    const target = () => {
      const { hostname, port } = new URL(`https://${plane.urls.nodes}`);
      return { host: hostname, port: Number(port) };
    };
    const node = new AgentNode(name, folder, await Link.open(target), env, flags);
    await mkdir(join(folder, "etc/rollcall"), { recursive: true });
    // It is not alone on this machine: a leaver's number may be somebody else's, or a test host's.
    await writeFile(join(folder, "etc/rollcall/policy.yaml"), "sessions: leave\nslurm: {enabled: false}\n");
    // Its own: what becomes of the control plane's file, no node sees.
    await copyFile(plane.caFile, join(folder, "ca.pem"));
    await node.giveToken(await plane.joinToken(role));
    node.start();
    await node.process.says(/"msg":"connected"/);
    return node;
  }

  get process(): Started {
    if (!this.#process) throw new Error(`${this.name} was never started`);
    return this.#process;
  }

  get etc(): string {
    return join(this.folder, "etc");
  }

  get state(): string {
    return join(this.folder, "state");
  }

  start(env: NodeJS.ProcessEnv = {}): void {
    const PATH = `${join(this.folder, "bin")}:${process.env["PATH"]}`;
    this.#process = startBin("rollcall-agent", this.args(), { PATH, ...this.#env, ...env });
  }

  /** Lays a join token where its agent looks for one. */
  async giveToken(token: string): Promise<void> {
    await writeFile(join(this.folder, "join-token"), token, { mode: 0o600 });
  }

  /** Makes of its certificate one that ended yesterday, and takes its token away. */
  async expire(plane: ControlPlane, role: Role): Promise<void> {
    const certificates = join(this.state, "private");
    const day = 86_400_000;
    const authority = await openAuthority(plane.data, { now: () => Date.now() - 2 * day });
    const request = await newRequest(realDisk, foldersIn(this.state));
    const subject = { cluster: "default", role, node: this.name } as const;
    const { chainPem } = await authority.issueNode(subject, request, day);
    await writeFile(join(certificates, "cert.pem"), chainPem);
    await rm(join(this.folder, "join-token"));
  }

  args(): string[] {
    const { folder, name, link } = this;
    const options = {
      server: link.address,
      ca: join(folder, "ca.pem"),
      "join-token-file": join(folder, "join-token"),
      state: this.state,
      etc: this.etc,
      node: name,
    };
    return [...Object.entries(options).flatMap(([option, value]) => [`--${option}`, value]), ...this.#flags];
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | undefined> {
    return this.process.end(signal);
  }

  /** Puts a program before the real one of that name, for this node alone; undefined gives the real one back. */
  async shadowProgram(name: string, script: string | undefined): Promise<void> {
    const path = join(this.folder, "bin", name);
    await mkdir(join(this.folder, "bin"), { recursive: true });
    if (script === undefined) await rm(path);
    else await writeFile(path, script, { mode: 0o755 });
  }

  /** The uid that the node's passwd cache gives a name; "none" if it has no such name. */
  async uid(name: string): Promise<string> {
    const lines = (await readFile(join(this.etc, "passwd.cache"), "utf8")).split("\n");
    return lines.find((line) => line.startsWith(`${name}:`))?.split(":")[2] ?? "none";
  }

  /** Names of the people that its passwd.cache holds, through the link that readers use. */
  async people(): Promise<string[]> {
    const text = await readFile(join(this.etc, "passwd.cache"), "utf8").catch(() => "");
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return lines
      .map((line) => line.split(":", 1)[0] ?? "")
      .filter((name) => name !== "rollcall.end")
      .sort();
  }

  /** How many keys let somebody in. */
  async keyLines(who: string): Promise<number> {
    const text = await readFile(join(this.etc, "ssh/authorized_keys.d", who), "utf8").catch(() => "");
    return text.split("\n").length - 1;
  }

  /** Groups that its sudoers file has a rule for. */
  async sudoers(): Promise<string[]> {
    const text = await readFile(join(this.etc, "sudoers.d/rollcall"), "utf8").catch(() => "");
    return [...text.matchAll(/^%(\S+) /gm)].map(([, group = ""]) => group);
  }

  /** What `rollcall-agent status` says of it, as `fresh`, or `degraded: why`, with its exit code if that is not the state's. */
  async status(): Promise<string> {
    const asked = startBin("rollcall-agent", ["status", "-o", "json", "--state", this.state]);
    const code = await asked.end("SIGCONT");
    const { state, because } = JSON.parse(asked.stdout) as { state: string; because: string[] };
    const usual = { fresh: 0, degraded: 6, stale: 5, "not running": 8 }[state];
    return [`${state}${code === usual ? "" : ` (exit code ${code})`}`, ...because].join(": ");
  }

  /** Names of the people who have keys on it. */
  async keys(): Promise<string[]> {
    const names = await readdir(join(this.etc, "ssh/authorized_keys.d")).catch((): string[] => []);
    return names.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
    await this.link[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/**
 * A story is a text file: commands, and behind `# ->` what each must come to show. It is played by a real server and real
 * agents over loopback. An expectation waits: it must become true within 30 seconds, and the last thing seen is shown
 * if it does not. Lines that start with `#` are for the reader.
 */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { Role } from "../../identity/scope.ts";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { type Node, Node_State, NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { AgentNode } from "../processes/node.ts";

const patience = 30_000;

export async function play(text: string): Promise<void> {
  await using story = new Story(await ControlPlane.start());
  const trace: string[] = [];
  for (const line of text.split("\n")) {
    const [command = "", expected] = line.split(/\s+# -> /);
    if (command.trim() === "" || command.startsWith("#")) continue;
    trace.push(line);
    const seen = await story.until(command.trim(), expected?.trim()).catch((cause: unknown) => {
      throw new Error(`${trace.join("\n")}\n\n${story.logs()}`, { cause });
    });
    if (expected !== undefined && seen !== expected.trim()) {
      throw new Error(`${trace.join("\n")}\n  came to: ${seen}\n\n${story.logs()}`);
    }
  }
}

class Story implements AsyncDisposable {
  readonly #plane: ControlPlane;
  readonly #nodes = new Map<string, AgentNode>();
  readonly #ids = new Map<string, string>();

  constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  /** Runs a command; one that only looks is run again until it shows what is expected. */
  async until(command: string, expected: string | undefined): Promise<string> {
    const [verb = "", ...words] = command.split(/\s+/);
    const looks: Record<string, (words: string[]) => Promise<string>> = {
      rollout: () => this.#rollout(),
      node: ([name = ""]) => this.#describe(name),
      people: ([name = ""]) =>
        this.#node(name)
          .people()
          .then((found) => found.join(" ") || "nobody"),
      uid: ([name = "", who = ""]) => this.#node(name).uid(who),
      refusals: async ([name = ""]) => String(this.#node(name).process.stderr.split('"msg":"refused"').length - 1),
      status: ([name = ""]) => this.#node(name).status(),
      keylines: async ([name = "", who = ""]) => String(await this.#node(name).keyLines(who)),
      sudoers: ([name = ""]) =>
        this.#node(name)
          .sudoers()
          .then((found) => found.join(" ") || "nobody"),
      keys: ([name = ""]) =>
        this.#node(name)
          .keys()
          .then((found) => found.join(" ") || "nobody"),
    };
    const look = looks[verb];
    if (!look) return this.#act(verb, words);
    let seen = await look(words);
    for (const end = Date.now() + patience; seen !== expected && Date.now() < end; await sleep(50))
      seen = await look(words);
    return seen;
  }

  logs(): string {
    const logs = [...this.#nodes.values()].map((node) => `${node.name}:\n${node.process.stderr.slice(-2000)}`);
    return [`server:\n${this.#plane.process.stderr.slice(-3000)}`, ...logs].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.values()) await node[Symbol.asyncDispose]();
    await this.#plane[Symbol.asyncDispose]();
  }

  #node(name: string): AgentNode {
    const node = this.#nodes.get(name);
    if (!node) throw new Error(`the story has no node ${name}`);
    return node;
  }

  async #act(verb: string, words: string[]): Promise<string> {
    const [a = "", b = ""] = words;
    switch (verb) {
      case "join":
        this.#nodes.set(a, await AgentNode.join(this.#plane, a, b.replace("role=", "") as Role, {}, words.slice(2)));
        return "joined";
      case "user":
        return this.#scim("POST", "/Users", { userName: a, active: true, name: { formatted: a } }, a);
      case "group":
        return this.#scim("POST", "/Groups", { displayName: a, members: [] }, a);
      case "member":
        return this.#patch("Groups", a, { op: "add", path: "members", value: [{ value: this.#ids.get(b) }] });
      case "unmember":
        return this.#patch("Groups", a, { op: "remove", path: `members[value eq "${this.#ids.get(b)}"]` });
      case "deactivate":
        return this.#patch("Users", a, { op: "Replace", path: "active", value: "False" });
      case "activate":
        return this.#patch("Users", a, { op: "replace", value: { active: true } });
      case "remove":
        return this.#scim("DELETE", `/Users/${this.#ids.get(a)}`);
      case "ungroup":
        return this.#scim("DELETE", `/Groups/${this.#ids.get(a)}`);
      case "key": {
        const directory = await this.#plane.client(DirectoryService);
        await directory.addSshKey({ user: a, publicKey: ed25519Line(b || a) });
        return "added";
      }
      case "unkey": {
        const directory = await this.#plane.client(DirectoryService);
        await directory.removeSshKey({ user: a, fingerprint: fingerprint(parseSshKey(ed25519Line(b || a))) });
        return "removed";
      }
      case "cut":
        this.#node(a).link.cut();
        return "cut";
      case "hang":
        this.#node(a).link.hang();
        return "hung";
      case "revive":
        this.#node(a).link.revive();
        return "revived";
      case "heal":
        this.#node(a).link.heal();
        return "healed";
      case "stop":
      case "kill":
        return String(await this.#node(a).stop(verb === "stop" ? "SIGTERM" : "SIGKILL"));
      case "start":
        this.#node(a).start();
        return "started";
      case "server":
        if (a === "up") return this.#plane.up().then(() => "up");
        if (a === "backup") return this.#plane.backup().then(() => "kept");
        if (a === "back") return this.#plane.putBack().then(() => "as it was");
        if (a === "restore") return this.#plane.restore();
        return String(await this.#plane.down(a === "kill" ? "SIGKILL" : "SIGTERM"));
      case "resync":
        await (await this.#plane.client(NodeService)).resyncNode({ node: a });
        return "asked";
      case "ban":
        await (await this.#plane.client(NodeService)).banNode({ node: a });
        return "banned";
      case "program":
        return this.#program(a, b, words[2] ?? "");
      case "limit":
        return this.#limit(a, b);
      case "break":
        await this.#node(a).shadowProgram("ssh-keygen", "#!/bin/sh\nexit 1\n");
        return "broken";
      case "mend":
        await this.#node(a).shadowProgram("ssh-keygen", undefined);
        return "mended";
      case "expire":
        await this.#node(a).expire(this.#plane, b.replace("role=", "") as Role);
        return "expired";
      case "token":
        await this.#node(a).giveToken(await this.#plane.joinToken(b.replace("role=", "") as Role));
        return "given";
      case "newer": {
        const body = "rollcall memory 9\nof another shape altogether\n";
        const sum = createHash("sha256").update(body).digest("hex");
        await writeFile(join(this.#node(a).state, "private/base"), `${body}sum ${sum}\n`);
        return "newer";
      }
      case "forget":
        await rm(join(this.#node(a).state, "private/base"));
        await rm(join(this.#node(a).state, "private/journal"));
        return "forgotten";
      case "edit": {
        const path = join(this.#node(a).etc, "passwd.cache");
        await writeFile(path, `evil:x:0:0::/root:/bin/bash\n${await readFile(path, "utf8")}`);
        return "edited";
      }
      case "spoil":
        await writeFile(join(this.#node(a).folder, b), "from somebody else\n");
        return "spoilt";
      case "take":
        await rm(join(this.#node(a).folder, b), { recursive: true });
        return "taken";
      case "says":
        await this.#node(a).process.says(new RegExp(words.slice(1).join(" ")), patience);
        return "said";
      default:
        throw new Error(`no story knows the command ${verb}`);
    }
  }

  /** A program that the agent asks, as it shall be on one node from now on. */
  async #program(name: string, program: string, how: string): Promise<string> {
    const scripts: Record<string, string | undefined> = {
      works: "#!/bin/sh\nexit 0\n",
      fails: "#!/bin/sh\nexit 1\n",
      hangs: "#!/bin/sh\nexec sleep 600\n",
      real: undefined,
    };
    if (!(how in scripts)) throw new Error(`a program works, fails, hangs or is real, not ${how}`);
    await this.#node(name).shadowProgram(program, scripts[how]);
    return how;
  }

  /** How many files the node's agent may have open, from now on: `files=3`. */
  async #limit(name: string, limit: string): Promise<string> {
    const files = Number(limit.replace("files=", ""));
    const { pid } = this.#node(name).process.process;
    await promisify(execFile)("prlimit", ["--pid", String(pid), `--nofile=${files}:`]);
    return String(files);
  }

  async #scim(method: string, path: string, body?: object, name?: string): Promise<string> {
    const { status, body: answer } = await this.#plane.scim(method, path, body);
    if (name && typeof answer["id"] === "string") this.#ids.set(name, answer["id"]);
    return String(status);
  }

  async #patch(type: "Users" | "Groups", name: string, operation: object): Promise<string> {
    const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
    return this.#scim("PATCH", `/${type}/${this.#ids.get(name)}`, { schemas, Operations: [operation] });
  }

  async #rollout(): Promise<string> {
    const { rollout } = await (await this.#plane.client(RolloutService)).getRollout({});
    return rollout?.summary ?? "no rollout";
  }

  /** `n1 current r4 delta`, `n1 refused r3 ssh`: name, state, what it holds, how it got there or who refuses. */
  async #describe(name: string): Promise<string> {
    const { node } = await (await this.#plane.client(NodeService)).getNode({ node: name });
    return node ? describeNode(node) : "no node";
  }
}

function describeNode({ name, state, acked, deliveredBy, refused }: Node): string {
  const how = refused ? refused.sink : deliveredBy;
  const stateName = Object.entries(Node_State).find(([, number]) => number === state)?.[0] ?? "";
  return [name, stateName.toLowerCase(), acked ? `r${acked.revision}` : "nothing", how].filter(Boolean).join(" ");
}

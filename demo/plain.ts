/**
 * The stage for any machine: a place is a folder, in which processes of this machine run, on its loopback. Its
 * cable is a proxy.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Outcome } from "../test/lab/namespace.ts";
import { Link } from "../test/processes/link.ts";
import { Started } from "../test/processes/started.ts";
import type { Place, Stage } from "./stage.ts";

const repo = fileURLToPath(new URL("..", import.meta.url));

/** @param why there are no test hosts: a sentence for the reader. */
export async function openPlain(why: string): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), "rollcall-demo-"));
  const places: PlainPlace[] = [];
  return {
    kind: "plain",
    words: [
      why,
      "So the same programs run as plain processes on 127.0.0.1, each in a folder that stands for its machine,",
      "and in place of getent, id and ssh you see the files that they would read.",
    ].join("\n"),
    place: async (name) => {
      const place = new PlainPlace(name, join(folder, name));
      places.push(place);
      await mkdir(join(place.folder, "etc/rollcall"), { recursive: true });
      // What this machine itself runs is none of the story's business.
      await writeFile(join(place.folder, "etc/rollcall/policy.yaml"), "sessions: leave\nslurm: {enabled: false}\n");
      return place;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(places.map((place) => place.off()));
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

class PlainPlace implements Place {
  readonly name: string;
  readonly address = "127.0.0.1";
  readonly folder: string;
  readonly #started: Started[] = [];
  readonly #links: Link[] = [];
  #isOff = false;
  #env: Record<string, string> = { PATH: `${repo}bin:${repo}node_modules/.bin:${process.env["PATH"]}` };

  constructor(name: string, folder: string) {
    this.name = name;
    this.folder = folder;
  }

  get entry(): readonly string[] {
    return ["env", "-C", this.folder, ...Object.entries(this.#env).map(([name, value]) => `${name}=${value}`)];
  }

  port(): number {
    return 0;
  }

  async reach(address: string): Promise<string> {
    const { hostname: host, port } = new URL(`tcp://${address}`);
    const link = await Link.open(() => ({ host, port: Number(port) }));
    this.#links.push(link);
    return link.address;
  }

  path(absolute: string): string {
    return absolute.replace(/^\//, "");
  }

  export(variables: Readonly<Record<string, string>>): void {
    this.#env = { ...this.#env, ...variables };
  }

  async run(line: string, input = ""): Promise<Outcome> {
    const child = this.#spawn(line);
    child.stdin.on("error", () => undefined); // it need not read to the end
    child.stdin.end(input);
    const [[code], stdout, stderr] = await Promise.all([once(child, "close"), text(child.stdout), text(child.stderr)]);
    return { code: Number(code ?? 128), stdout, stderr };
  }

  start(line: string): Started {
    if (this.#isOff) throw new Error(`${this.name} is off`);
    const started = new Started(this.#spawn(`exec ${line}`));
    this.#started.push(started);
    return started;
  }

  async write(path: string, content: string, mode: number): Promise<void> {
    const file = join(this.folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { mode });
  }

  async openSsh(): Promise<void> {
    // The machine's own sshd is not ours to set up.
  }

  async cut(): Promise<void> {
    for (const link of this.#links) link.cut();
  }

  async heal(): Promise<void> {
    for (const link of this.#links) link.heal();
  }

  /** Ends what was started, and lets nothing more start: the story may not know yet that it is over. */
  async off(): Promise<void> {
    this.#isOff = true;
    await Promise.all([...this.#started, ...this.#links].map((opened) => opened[Symbol.asyncDispose]()));
  }

  #spawn(line: string) {
    const env = { ...process.env, ...this.#env };
    return spawn("sh", ["-c", line], { cwd: this.folder, env, stdio: ["pipe", "pipe", "pipe"] });
  }
}

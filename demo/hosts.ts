/** The stage on test hosts. */

import { fileURLToPath } from "node:url";
import { type Host, type Lab, openLab } from "../test/lab/host.ts";
import type { Outcome } from "../test/lab/namespace.ts";
import { startSshd } from "../test/lab/sshd.ts";
import { Started } from "../test/processes/started.ts";
import type { Place, Stage } from "./stage.ts";

const repo = fileURLToPath(new URL("..", import.meta.url));
const path = `${repo}bin:${repo}node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;

/** How often it is said that the layer is still being built, in milliseconds. */
const patience = 3_000;

/** @throws LabUnavailable where this machine can have no hosts. */
export async function openHosts(): Promise<Stage> {
  const lab = await withProgress(openLab({ name: "demo" }));
  return {
    kind: "hosts",
    words: "Every machine below is a test host on this one: its own root, /etc, glibc, processes and network.",
    place: async (name) => new HostPlace(await lab.host(name)),
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  };
}

class HostPlace implements Place {
  readonly #host: Host;
  #env: Record<string, string> = { PATH: path };

  constructor(host: Host) {
    this.#host = host;
  }

  get name(): string {
    return this.#host.name;
  }

  get address(): string {
    return this.#host.name;
  }

  get entry(): readonly string[] {
    const variables = Object.entries({ HOME: "/root", LANG: "C.UTF-8", ...this.#env });
    return [...this.#host.entry, "env", "-i", ...variables.map(([name, value]) => `${name}=${value}`)];
  }

  port(wanted: number): number {
    return wanted;
  }

  async reach(address: string): Promise<string> {
    return address;
  }

  path(absolute: string): string {
    return absolute;
  }

  export(variables: Readonly<Record<string, string>>): void {
    this.#env = { ...this.#env, ...variables };
  }

  run(line: string, input = ""): Promise<Outcome> {
    return this.#host.run("sh", ["-c", line], { env: this.#env, input });
  }

  start(line: string): Started {
    return new Started(this.#host.spawn("sh", ["-c", `exec ${line}`], { env: this.#env }));
  }

  write(file: string, content: string, mode: number): Promise<void> {
    return this.#host.write(file, content, mode);
  }

  async openSsh(): Promise<void> {
    await startSshd(this.#host);
  }

  cut(): Promise<void> {
    return this.#host.cut();
  }

  heal(): Promise<void> {
    return this.#host.heal();
  }
}

/** On stderr: it is no part of the story, and the next time there is nothing to wait for. */
async function withProgress(opening: Promise<Lab>): Promise<Lab> {
  const from = Date.now();
  const ticking = setInterval(() => {
    const seconds = Math.round((Date.now() - from) / 1000);
    process.stderr.write(`building the test hosts' layer of Debian packages, once per boot: ${seconds} s\n`);
  }, patience);
  try {
    return await opening;
  } finally {
    clearInterval(ticking);
  }
}

/** The other end of node.ts: starts it on a host, and tells it what to apply. */

import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Host } from "../../lab/host.ts";
import { Started } from "../../processes/started.ts";
import type { Kind } from "./content.ts";

export interface Cost {
  /** Milliseconds. */
  readonly wall: number;
  /** Milliseconds of processor time. */
  readonly cpu: number;
  /** Fetched. */
  readonly bytes: number;
}

export class AgentNode implements AsyncDisposable {
  /** What taking everything from nothing cost. */
  readonly ready: Cost;
  readonly #process: Started;
  readonly #answers: AsyncIterator<string>;

  private constructor(process: Started, answers: AsyncIterator<string>, ready: Cost) {
    this.#process = process;
    this.#answers = answers;
    this.ready = ready;
  }

  static async start(host: Host, state: string, users: number): Promise<AgentNode> {
    const program = fileURLToPath(new URL("node.ts", import.meta.url));
    const inmate = host.spawn("node", ["--disable-warning=ExperimentalWarning", program, state, String(users)]);
    const answers = createInterface({ input: inmate.stdout })[Symbol.asyncIterator]();
    const process = new Started(inmate);
    const ready = await next(process, answers);
    return new AgentNode(process, answers, ready);
  }

  change(kind: Kind, round: number): Promise<Cost> {
    return this.ask(`change ${kind} ${round}`);
  }

  async ask(line: string): Promise<Cost> {
    this.tell(line);
    return next(this.#process, this.#answers);
  }

  tell(line: string): void {
    this.#process.process.stdin?.write(`${line}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

async function next(process: Started, answers: AsyncIterator<string>): Promise<Cost> {
  const { value, done } = await answers.next();
  if (done) throw new Error(`the node ended: ${process.stderr}`);
  return JSON.parse(value) as Cost;
}

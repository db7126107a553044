/** The node's own copy, in memory and in files, as the protocol sees it: where it is, and a way to the next position. */

import type { Copy, Step } from "../identity/copy.ts";
import type { Position } from "../identity/position.ts";
import type { Resource } from "../identity/resource.ts";
import type { Failure, SinkReport } from "./agent.ts";
import { type Applied, ApplyError, apply, type Ground, repair } from "./apply.ts";
import type { Highest } from "./memory.ts";
import type { Policy } from "./policy/policy.ts";

export class Replica {
  readonly #ground: Ground;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** The position that may be claimed. */
  get at(): Position {
    return this.#ground.memory.at;
  }

  get copy(): Copy {
    return this.#ground.memory.copy;
  }

  /** What the node's policy lets it serve of that. */
  get served(): Iterable<Resource> {
    return this.#ground.gate.copy(this.copy).copy.resources.values();
  }

  get policy(): Policy {
    return this.#ground.gate.policy;
  }

  get highest(): Highest {
    return this.#ground.memory.highest;
  }

  /** Makes a step true, or finishes the one that was begun (the same one, tried again). @throws ApplyError. */
  async apply(step: Step): Promise<readonly SinkReport[]> {
    const { memory } = this.#ground;
    return reports(memory.unfinished ? await repair(this.#ground) : await apply(this.#ground, step));
  }

  /** Makes the files agree with the copy. @throws ApplyError. */
  async repair(): Promise<void> {
    await repair(this.#ground);
  }

  /** How a failed apply is told to the server; undefined for an error that nobody foresaw. */
  failureOf(err: unknown): Failure | undefined {
    if (!(err instanceof ApplyError)) return undefined;
    const begun = this.#ground.memory.unfinished !== undefined;
    return { sink: err.sink, reason: err.message, retrying: err.retryable || begun, begun, diverged: false };
  }
}

function reports(applied: Applied | undefined): SinkReport[] {
  return [...(applied?.isolated ?? [])].map(([sink, isolated]) => ({ sink, isolated }));
}

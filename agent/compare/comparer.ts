/**
 * Compares what the agent holds with what its node answers, when it holds something new and every ten minutes: the other side changes
 * too. What it finds is for the status, the log and the server; nothing on the node is written for it.
 */

import type { Logger } from "pino";
import type { Copy } from "../../identity/copy.ts";
import { origin, samePosition } from "../../identity/position.ts";
import type { Clock } from "../clock.ts";
import type { MachineClock } from "../lease.ts";
import type { Gate } from "../policy/gate.ts";
import type { Replica } from "../replica.ts";
import type { Answers, Present } from "./answers.ts";
import { type Differences, differencesOf } from "./differences.ts";
import { expectedOf } from "./expected.ts";

/** What a comparison found; of the differences, the first. */
export interface Comparison extends Differences {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly revision: string;
  /** Why it could not be made, or empty. */
  readonly fault: string;
}

/** How many differences are named. */
export const mostDifferences = 50;

export interface ComparerOptions {
  readonly replica: Pick<Replica, "at" | "copy">;
  readonly gate: Pick<Gate, "copy">;
  readonly present: (expected: Answers) => Promise<Present>;
  readonly clock: Clock & MachineClock;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly told: (comparison: Comparison) => void;
}

/** Between two comparisons when nothing new came, in milliseconds. */
const every = 600_000;

/** Whether anything new came is looked at so often. */
const tick = 2_000;

/** A comparison takes at most this share of the time, however often something new comes. */
const share = 1 / 20;

export class Comparer {
  readonly #options: ComparerOptions;
  #compared = origin;
  #due = 0;
  #notBefore = 0;

  constructor(options: ComparerOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.turn();
      await this.#options.clock.sleep(tick, signal);
    }
  }

  /** Compares, if it is time to. Never throws: what fails is told. */
  async turn(): Promise<void> {
    const { clock, replica } = this.#options;
    const { at } = replica;
    const now = clock.uptime();
    const isNew = !samePosition(at, this.#compared);
    if (samePosition(at, origin) || now < this.#notBefore || (!isNew && now < this.#due)) return;
    const found = await this.#compare(replica.copy);
    const took = clock.uptime() - now;
    this.#compared = at;
    this.#due = clock.uptime() + every * (0.75 + clock.random() / 2);
    this.#notBefore = clock.uptime() + took / share;
    this.#tell({ ...found, at: clock.now(), revision: String(at.revision) });
  }

  async #compare(copy: Copy): Promise<Differences & { readonly fault: string }> {
    try {
      // Of the copy as it is now: a step that comes in between changes it, and is compared next.
      const expected = await expectedOf(this.#options.gate.copy(copy).copy);
      const found = differencesOf(expected, await this.#options.present(expected));
      return { ...found, differences: found.differences.slice(0, mostDifferences), fault: "" };
    } catch (err) {
      this.#options.log.warn({ err }, "the node could not be compared");
      return { ...nothing, fault: err instanceof Error ? err.message : String(err) };
    }
  }

  #tell(found: Comparison): void {
    const { usersDiffering, groupsDiffering, keysDiffering, revision } = found;
    const counts = { revision, users: usersDiffering, groups: groupsDiffering, keys: keysDiffering };
    if (found.fault === "") this.#options.log.info(counts, "compared with the node");
    this.#options.told(found);
  }
}

const nothing: Differences = {
  users: 0,
  usersDiffering: 0,
  groups: 0,
  groupsDiffering: 0,
  keys: 0,
  keysDiffering: 0,
  differences: [],
};

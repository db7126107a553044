/**
 * The node's own copy, in memory and in files, as the protocol sees it: where it is, and a way to the next position.
 *
 * Whatever writes files has its turn alone: a repair after a foreign edit never runs beside an apply.
 */

import type { Copy, Step } from "../identity/copy.ts";
import { origin, type Position, samePosition } from "../identity/position.ts";
import type { Resource } from "../identity/resource.ts";
import type { Failure, SinkReport } from "./agent.ts";
import { type Applied, ApplyError, apply, type Ground, repair } from "./apply.ts";
import { type Differing, Marks } from "./marks.ts";
import type { Highest } from "./memory.ts";
import type { Policy } from "./policy/policy.ts";

export class Replica {
  readonly #ground: Ground;
  readonly #marks: Marks;
  /** Grants were left out, and are to be made as soon as they can be verified. */
  #isOwed = false;
  readonly #warn: (warning: ApplyError) => void;
  #turn: Promise<unknown> = Promise.resolve();
  #reports: readonly SinkReport[] = [];
  #onReports: () => void = () => undefined;

  /**
   * @param start what the start already found of the files.
   * @param warn told what was not done, and is tried again after the next step: the files are right.
   */
  constructor(ground: Ground, start?: Applied, warn: (warning: ApplyError) => void = () => undefined) {
    this.#ground = ground;
    this.#marks = new Marks(ground.disk, ground.folders.served);
    this.#warn = warn;
    this.#settle(start);
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

  /** What each sink could not serve, as far as it is known. */
  get reports(): readonly SinkReport[] {
    return this.#reports;
  }

  /** Calls back whenever {@link reports} were found anew: by a step, a repair, another policy. */
  onReports(listener: () => void): void {
    this.#onReports = listener;
  }

  /** Makes a step true, or finishes the one that was begun (the same one, tried again). @throws ApplyError. */
  apply(step: Step): Promise<readonly SinkReport[]> {
    const { memory } = this.#ground;
    return this.#alone(async () => {
      const applied = memory.unfinished ? await repair(this.#ground) : await apply(this.#ground, step);
      await this.#marks.take(applied?.changed ?? []);
      return this.#settle(applied);
    });
  }

  /** Makes the files agree with the copy, finishing what was begun. @throws ApplyError. */
  async repair(): Promise<void> {
    await this.#alone(async () => this.#repair());
  }

  /** Takes the files as they lie for the agent's own: for the start, which has just compared them. */
  async trust(): Promise<void> {
    await this.#alone(() => this.#marks.takeAll());
  }

  /**
   * What somebody else did to the files since the agent left them, relative to the served folder; none while a step is unfinished,
   * whose own retries repair them, and at `origin`, where nothing is known. Files are looked at while others may write them; what an
   * apply did meanwhile is no foreign edit, and only to tell the two apart has this its turn.
   */
  async foreign(): Promise<Differing> {
    const { memory } = this.#ground;
    if (memory.unfinished || samePosition(this.at, origin)) return nothing;
    const look = await this.#marks.look();
    return this.#alone(async () => (memory.unfinished ? nothing : this.#marks.differing(look)));
  }

  /**
   * Reads every file, and repairs after a foreign edit; gives the files that were really mended. Undefined if a step is unfinished.
   * @throws ApplyError.
   */
  async mend(): Promise<readonly string[] | undefined> {
    return this.#alone(async () => (this.#ground.memory.unfinished ? undefined : this.#repair()));
  }

  /** Repairs if what the node's own policy says is not what the files were written under, or a repair is owed. @throws ApplyError. */
  async comply(): Promise<boolean> {
    const { gate, memory } = this.#ground;
    return this.#alone(async () => {
      await gate.refresh();
      if ((!gate.isStale && !this.#isOwed) || memory.unfinished) return false;
      await this.#repair();
      return true;
    });
  }

  /** How a failed apply is told to the server; undefined for an error that nobody foresaw. */
  failureOf(err: unknown): Failure | undefined {
    if (!(err instanceof ApplyError)) return undefined;
    const begun = this.#ground.memory.unfinished !== undefined;
    return { sink: err.sink, reason: err.message, retrying: err.retryable || begun, begun, diverged: false };
  }

  async #repair(): Promise<readonly string[]> {
    const applied = await repair(this.#ground);
    await this.#marks.takeAll();
    this.#settle(applied);
    return applied?.changed ?? [];
  }

  #settle(applied: Applied | undefined): readonly SinkReport[] {
    this.#isOwed = applied?.isOwed ?? false;
    if (applied?.warning) this.#warn(applied.warning);
    this.#reports = reports(applied);
    this.#onReports();
    return this.#reports;
  }

  #alone<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(act);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

const nothing: Differing = { came: [], left: [], changed: [] };

function reports(applied: Applied | undefined): SinkReport[] {
  return [...(applied?.isolated ?? [])].map(([sink, isolated]) => ({ sink, isolated }));
}

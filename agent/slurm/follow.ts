/**
 * The controller's sink: Slurm's accounts and associations follow what the node holds, at Slurm's pace. Files never wait for it: it is no part
 * of a step, and how far it is goes beside the position in each heartbeat.
 *
 * 1. It looks after each step that touched people, accounts or associations, at start, and on a timer: somebody else may have changed
 *    what is Rollcall's, which is put back and reported.
 * 2. `revision` moves to r only when everything of r is true in Slurm, read back, removals too. Who left and has jobs that may finish is
 *    named apart (`lingering`): nobody else waits for those.
 * 3. Without Slurm, or a part of it, only this waits: later each time.
 */

import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { Step } from "../../identity/copy.ts";
import { origin, samePosition } from "../../identity/position.ts";
import { type SlurmWanted, wantedOf } from "../../identity/slurm-state.ts";
import { wait } from "../attempts.ts";
import type { Clock } from "../clock.ts";
import type { Disk } from "../disk.ts";
import type { Folders } from "../folders.ts";
import type { Replica } from "../replica.ts";
import type { Health, TrailingSink } from "../sink.ts";
import { Absent, Away, programs, type Run } from "./program.ts";
import { readCluster } from "./read.ts";
import { type Reconciled, reconcile } from "./reconcile.ts";
import { Record } from "./record.ts";

/** The sink of this machine's own Slurm, with the record of what it made. */
export async function openSlurm(
  options: Omit<SlurmOptions, "record" | "run"> & { readonly disk: Disk; readonly folders: Folders },
): Promise<SlurmSink> {
  const { disk, folders, log, signal } = options;
  const { record, warning } = await Record.open(disk, folders);
  if (warning !== undefined) log.error({ reason: warning }, "what exists in Slurm counts as made by others");
  return new SlurmSink({ ...options, record, run: programs(process.env["PATH"] ?? "", signal) });
}

export interface SlurmOptions {
  readonly replica: Pick<Replica, "at" | "served" | "policy">;
  readonly record: Record;
  readonly run: Run;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Jobs that were cancelled are over in a moment, in milliseconds. */
const moment = 1_000;

/** Whoever left goes so soon after the last of their jobs, in milliseconds. */
const linger = 10_000;

/** Slurm that does not answer is asked again at least so often, in milliseconds: to ask costs little, and leavers wait. */
const longestAway = 5_000;

export class SlurmSink implements TrailingSink {
  readonly #options: SlurmOptions;
  readonly #listeners: (() => void)[] = [];
  #health: Health = {
    sink: "slurm",
    revision: 0n,
    reason: "Slurm was not looked at yet",
    lingering: [],
  };
  #wake = Promise.withResolvers<void>();
  #cluster: string | undefined;
  #isLooking = false;
  #failures = 0;
  /** What was wholly true when it was looked at last. */
  #verified: string | undefined;

  constructor(options: SlurmOptions) {
    this.#options = options;
  }

  /** Undefined: the node's policy has it off. */
  get health(): Health | undefined {
    return this.#options.replica.policy.slurm.enabled ? this.#health : undefined;
  }

  /** Calls back whenever the health is another. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  applied({ from, to, edits }: Step): void {
    const isOurs = edits.some(({ key }) => /^(user|account|association)\//.test(key));
    const wasTrue = this.#verified !== undefined && this.#health.revision === from.revision;
    if (isOurs || this.#isLooking || !wasTrue) this.#wake.resolve();
    // This changes nothing of it.
    else this.#say({ ...this.#health, revision: to.revision });
  }

  /** Until the signal. */
  async keep(): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      this.#isLooking = true;
      const pause = await this.#pass();
      this.#isLooking = false;
      const woken = new AbortController();
      await Promise.race([this.#wake.promise, clock.sleep(pause, AbortSignal.any([signal, woken.signal]))]);
      woken.abort();
    }
  }

  /** Looks once; gives how long to wait, in milliseconds. */
  async #pass(): Promise<number> {
    const { replica, clock, log, signal } = this.#options;
    const { slurm } = replica.policy;
    const usual = slurm.every * 1000 * (0.9 + 0.2 * clock.random());
    // Nothing is known yet: nothing is touched.
    if (!slurm.enabled || samePosition(replica.at, origin)) return usual;
    const { revision } = replica.at;
    const wanted = wantedOf(replica.served);
    try {
      const result = await this.#reconcile(wanted);
      this.#failures = result.behind.length === 0 || result.soon ? 0 : this.#failures + 1;
      const drift = this.#drift(wanted, result);
      const isTrue = result.behind.length === 0;
      this.#say({
        sink: "slurm",
        revision: isTrue ? revision : this.#health.revision,
        reason: isTrue
          ? [drift, shown(result.lingering.map(({ what }) => what)), left(result.foreign)].filter(Boolean).join("; ")
          : shown(result.behind),
        lingering: [...new Set(result.lingering.map(({ uid }) => uid))],
      });
      if (isTrue) return result.lingering.length > 0 ? Math.min(usual, linger) : usual;
      return result.soon ? moment : Math.min(usual, wait(this.#failures, clock.random()));
    } catch (error) {
      if (signal.aborted) return 0;
      // Where there is no Slurm, nothing is as true as can be.
      if (error instanceof Absent && this.#isIdle(wanted)) {
        this.#say({ ...this.#health, revision, reason: "", lingering: [] });
        return usual;
      }
      if (!(error instanceof Away)) log.error({ err: error }, "following in Slurm failed");
      this.#failures++;
      this.#say({ ...this.#health, reason: error instanceof Away ? error.message : "internal" });
      return Math.min(longestAway, wait(this.#failures, clock.random()));
    }
  }

  /** Nothing is wanted, and nothing was made. */
  #isIdle({ accounts, associations }: SlurmWanted): boolean {
    const { owned } = this.#options.record;
    return accounts.size + associations.size + owned.users.size + owned.associations.size === 0;
  }

  async #reconcile(wanted: SlurmWanted): Promise<Reconciled> {
    const { run, record, replica, log } = this.#options;
    this.#cluster ??= await readCluster(run);
    const { adopt } = replica.policy.slurm;
    return reconcile(
      {
        run,
        cluster: this.#cluster,
        record,
        adopts: adopt,
        tell: ({ what, names }) => log.info({ what, count: names.length }, "changing Slurm"),
      },
      wanted,
    );
  }

  /** What somebody else changed since all was true, in words; it is put back by now, or as far as it goes. */
  #drift(wanted: SlurmWanted, { found, behind, lingering }: Reconciled): string {
    const sum = sumOf(wanted);
    const isDrift = sum === this.#verified && found.length > 0;
    if (isDrift) this.#options.log.warn({ found }, "somebody changed what Rollcall keeps in Slurm: it is put back");
    // What is still to do when jobs have ended is nobody's doing.
    this.#verified = behind.length + lingering.length === 0 ? sum : undefined;
    return isDrift ? `put back what somebody changed: ${shown(found)}` : "";
  }

  #say(health: Health): void {
    const before = this.#health;
    const isNews = before.revision !== health.revision || before.reason !== health.reason;
    if (!isNews && before.lingering.join() === health.lingering.join()) return;
    this.#health = health;
    const facts = { sink: health.sink, revision: String(health.revision), reason: health.reason };
    if (health.reason !== before.reason && health.reason !== "") this.#options.log.warn(facts, "Slurm");
    else this.#options.log.info(facts, "Slurm");
    for (const listener of this.#listeners) listener();
  }
}

function left(foreign: readonly string[]): string {
  if (foreign.length === 0) return "";
  return `${foreign.length} not made by Rollcall, left as they are: ${shown(foreign)}`;
}

/** The first few of them. */
function shown(things: readonly string[]): string {
  const more = things.length > 5 ? `, and ${things.length - 5} more` : "";
  return `${things.slice(0, 5).join(", ")}${more}`.slice(0, 1_000);
}

function sumOf({ accounts, associations }: SlurmWanted): string {
  const hash = createHash("sha256");
  for (const each of [...accounts.values(), ...associations.values()]) hash.update(JSON.stringify(each));
  return hash.digest("hex");
}

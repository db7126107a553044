/**
 * Watches over what the agent made: its files and links, whoever else writes to them; and over how long the server has been
 * silent. What differs is repaired and told; what cannot be is told and tried again, later each time.
 *
 * 1. A look costs little (sizes, times, owners), and keeps no apply waiting. Every so often all files are read, as part of a repair,
 *    which has its turn alone.
 * 2. Between two looks passes at least two hundred times what a look took: however many files, it is half a percent of a processor.
 * 3. What lies in the agent's folders and is not its work is left alone and named, but for key files, which would open a login:
 *    the ssh sink takes those away. What stands in the place of a link is left alone and named.
 * 4. Sudo is withdrawn if the node's policy says so and the server has been silent for so long; nothing else ever is. It is back
 *    when the server is heard.
 */

import type { Logger } from "pino";
import { wait } from "./attempts.ts";
import type { Clock } from "./clock.ts";
import type { Lease, MachineClock } from "./lease.ts";
import type { Tended } from "./links.ts";
import type { Differing } from "./marks.ts";
import type { Gate } from "./policy/gate.ts";
import type { Replica } from "./replica.ts";

/** What others did to the agent's files and links. */
export interface Drift {
  /** How often something was found and mended. */
  readonly count: number;
  /** When that was last, milliseconds since 1970. */
  readonly lastAt: number | undefined;
  /** What was mended then, at most {@link mostNamed}: relative to the served folder, links by their whole path. */
  readonly files: readonly string[];
  /** Foreign files in the agent's folders, left alone. */
  readonly strays: readonly string[];
  /** What cannot be mended, in words; it is tried again. */
  readonly faults: readonly string[];
}

export const noDrift: Drift = { count: 0, lastAt: undefined, files: [], strays: [], faults: [] };

export const mostNamed = 20;

/** What is known once more files were mended; the same if there were none. */
export function drifted(drift: Drift, files: readonly string[], now: number): Drift {
  if (files.length === 0) return drift;
  return { ...drift, count: drift.count + 1, lastAt: now, files: files.slice(0, mostNamed) };
}

export interface WatchOptions {
  readonly replica: Pick<Replica, "trust" | "foreign" | "mend" | "comply">;
  readonly gate: Pick<Gate, "policy" | "isWithdrawn" | "withdrawSudo">;
  readonly lease: Lease;
  /** Places the links that are missing. */
  readonly links: () => Promise<Tended>;
  readonly clock: Clock & MachineClock;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Between two looks, and between two readings of all files, in milliseconds. */
  readonly every: { readonly look: number; readonly reading: number };
  /** What earlier runs saw, and the start of this one. */
  readonly drift?: Drift;
  /** Called when what is known of drift changed. */
  readonly told?: (drift: Drift) => void;
}

/** How often the watch looks whether anything is due, in milliseconds. */
const tick = 5_000;

/** A look takes at most this share of the time. */
const share = 1 / 200;

export class Watch {
  readonly #options: WatchOptions;
  #drift: Drift;
  /** By uptime, when the next look and the next reading are due. */
  #due: { look: number; reading: number };
  #failures = 0;
  /** No repair is tried before this, by uptime. */
  #notBefore = 0;
  #linkFaults: readonly string[] = [];
  #repairFault: string | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#drift = options.drift ?? noDrift;
    const { clock, every } = options;
    this.#due = {
      look: clock.uptime() + jittered(every.look, clock),
      reading: clock.uptime() + jittered(every.reading, clock),
    };
  }

  get drift(): Drift {
    return this.#drift;
  }

  /** Watches until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { replica, clock, every } = this.#options;
    await replica.trust();
    while (!signal.aborted) {
      await this.turn();
      await clock.sleep(Math.min(tick, every.look), signal);
    }
  }

  /** Does what is due now. Never throws: what fails is told. */
  async turn(): Promise<void> {
    const { clock } = this.#options;
    this.#tendSudo();
    if (clock.uptime() < this.#notBefore) return;
    try {
      if (await this.#options.replica.comply())
        this.#options.log.info("files follow the node's policy anew, or were owed a grant");
      if (clock.uptime() >= this.#due.look || this.#failures > 0) await this.#look();
      this.#failures = 0;
      this.#repairFault = undefined;
    } catch (err) {
      this.#options.log.error({ err }, "repairing files failed");
      this.#failures++;
      this.#notBefore = clock.uptime() + wait(this.#failures, clock.random());
      this.#repairFault = err instanceof Error ? err.message : String(err);
    }
    this.#tell({});
  }

  #tendSudo(): void {
    const { gate, lease, log } = this.#options;
    const after = gate.policy.withdrawSudoAfter;
    const isDue = after !== undefined && lease.silence > after;
    if (isDue === gate.isWithdrawn) return;
    gate.withdrawSudo(isDue);
    // The repair that makes it so follows at once, by `comply`, and is tried again until it is.
    this.#notBefore = 0;
    if (isDue)
      log.warn({ silent: Math.round(lease.silence / 1000) }, "sudo is withdrawn: the server has been silent too long");
    else log.info("sudo is given back: the server was heard");
  }

  async #look(): Promise<void> {
    const { clock, every, links, replica } = this.#options;
    const from = clock.uptime();
    const reading = from >= this.#due.reading;
    const placed = await this.#tendLinks(links);
    const found = await replica.foreign();
    const looked = clock.uptime() - from;
    const isClean =
      [found.came, found.left, found.changed].every((paths) => paths.length === 0) && this.#failures === 0;
    const mended = isClean && !reading ? [] : await replica.mend();
    // A step is unfinished: its own retries repair whatever else there is, and the next look sees.
    if (mended === undefined) return;
    this.#note(placed, mended, found);
    // What was mended was not for nothing, and is no reason to look later.
    const next = (least: number, took: number) => clock.uptime() + Math.max(jittered(least, clock), took / share);
    if (reading) this.#due.reading = next(every.reading, clock.uptime() - from);
    this.#due.look = next(every.look, looked);
  }

  async #tendLinks(links: WatchOptions["links"]): Promise<readonly string[]> {
    try {
      const { placed, inTheWay } = await links();
      this.#linkFaults = inTheWay;
      return placed;
    } catch (err) {
      this.#linkFaults = [err instanceof Error ? err.message : String(err)];
      return [];
    }
  }

  #note(placed: readonly string[], mended: readonly string[], { came, left, changed }: Differing): void {
    const { clock, log } = this.#options;
    const folders = changed.filter((path) => path.endsWith("/"));
    const files = [...placed, ...folders, ...mended];
    // What came and was not taken away is nobody's that the agent knows of.
    const isMended = new Set(mended);
    const gone = new Set(left);
    const strange = came.filter((path) => !path.endsWith("/") && !isMended.has(path));
    const strays = [...this.#drift.strays.filter((path) => !gone.has(path)), ...strange].slice(0, mostNamed);
    if (strange.length > 0)
      log.warn({ files: strange.slice(0, mostNamed) }, "foreign files lie in the served folder: left alone");
    if (files.length === 0) return this.#tell({ strays });
    log.warn({ files: files.slice(0, mostNamed), count: files.length }, "somebody else changed what is ours: repaired");
    this.#tell({ ...drifted(this.#drift, files, clock.now()), strays });
  }

  #tell(news: Partial<Drift>): void {
    const faults = [...(this.#repairFault === undefined ? [] : [this.#repairFault]), ...this.#linkFaults].slice(
      0,
      mostNamed,
    );
    const next: Drift = { ...this.#drift, ...news, faults };
    if (JSON.stringify(next) === JSON.stringify(this.#drift)) return;
    const { log, told } = this.#options;
    const isNews = faults.length > 0 && faults.join() !== this.#drift.faults.join();
    if (isNews) log.warn({ faults }, "what is ours cannot all be mended");
    this.#drift = next;
    told?.(next);
  }
}

function jittered(ms: number, clock: Clock): number {
  return ms * (0.75 + clock.random() / 2);
}

/**
 * How long the server has been silent. Measured on the clock that only runs on (time since the machine started, sleep
 * included), never on the wall's: whoever sets that one makes no node stale, and none fresh.
 *
 * Over a restart of the agent the same clock goes on. Over one of the machine it does not: then the silence is at least the
 * time since it started, and what the wall clock says if that is more. A clock that jumped ahead while the machine was off
 * so makes it too old, never too young, until the server is heard again.
 */

/** What time it is, and on which run of the machine. */
export interface MachineClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds since the machine started. */
  uptime(): number;
  /** Another one at each start of the machine. */
  readonly boot: string;
}

/** Where it cannot be told which run of the machine it is: only an uptime that went back shows that it was another one. */
export const unknownBoot = "unknown";

/** A moment, as it is written down for later. */
export interface Moment {
  readonly boot: string;
  readonly uptime: number;
  /** Milliseconds since 1970, for people, and for after a restart of the machine. */
  readonly at: number;
}

export function momentOf(clock: MachineClock): Moment {
  return { boot: clock.boot, uptime: clock.uptime(), at: clock.now() };
}

/** How long ago a moment was, in milliseconds, or longer. */
export function since({ boot, uptime, at }: Moment, clock: MachineClock): number {
  const passed = clock.uptime() - uptime;
  // A container may count its own time: if that is less than it was, it was another run.
  const isSame = boot === clock.boot || [boot, clock.boot].includes(unknownBoot);
  if (isSame && passed >= 0) return passed;
  return Math.max(clock.uptime(), clock.now() - at);
}

/** The server's word, and its age. */
export class Lease {
  readonly #clock: MachineClock;
  #heard: Moment;
  #isKnown: boolean;

  /** @param heard when it was last heard, as an earlier run wrote it down; else the silence counts from now. */
  constructor(clock: MachineClock, heard?: Moment) {
    this.#clock = clock;
    this.#heard = heard ?? momentOf(clock);
    this.#isKnown = heard !== undefined;
  }

  /** The server was heard now. */
  renew(): void {
    this.#heard = momentOf(this.#clock);
    this.#isKnown = true;
  }

  /** When that was last; undefined if it never was, as far as anybody knows. */
  get heard(): Moment | undefined {
    return this.#isKnown ? this.#heard : undefined;
  }

  /** When the silence began, for the next run. */
  get from(): Moment {
    return this.#heard;
  }

  /** Milliseconds. */
  get silence(): number {
    return since(this.#heard, this.#clock);
  }
}

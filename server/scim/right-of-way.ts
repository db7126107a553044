/**
 * A fleet that is told that access ends goes first. Where it shares the processors with who writes, a bulk load of people would keep it
 * from them for seconds: identity providers wait a moment. Then they go first for as long, or a row of leavers would stop all else.
 */

/** How long the fleet has the processors to itself, in milliseconds for each node; two of them tell 10,000 nodes in less than a second. */
const each = 0.1;

/** The longest that anybody waits, in milliseconds. */
const longest = 1_000;

export class RightOfWay {
  readonly #now: () => number;
  readonly #sleep: (ms: number) => Promise<unknown>;
  #until = Number.NEGATIVE_INFINITY;
  #again = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds from any beginning. */
  constructor(now: () => number, sleep: (ms: number) => Promise<unknown>) {
    this.#now = now;
    this.#sleep = sleep;
  }

  /** Access ends, and a fleet of so many nodes is being told. */
  give(nodes: number): void {
    const now = this.#now();
    if (now < this.#again) return;
    const length = Math.min(longest, nodes * each);
    this.#until = now + length;
    this.#again = this.#until + length;
  }

  /** Resolves once the way is free. */
  async clear(): Promise<void> {
    const wait = this.#until - this.#now();
    if (wait > 0) await this.#sleep(wait);
  }
}

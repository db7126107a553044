/**
 * A fleet that is told that access ends goes first. Where it shares the processors with who writes, a bulk load of people would keep it
 * from them for seconds: identity providers wait a moment. Then they go first for as long, or a row of leavers would stop all else.
 */

/**
 * The longest that anybody waits, in milliseconds: for each node, and in all. Two processors tell 10,000 nodes in less than a second, and
 * may have to end what they told them before.
 */
const each = 0.2;
const longest = 2_000;

/** How often it is looked whether everybody was told, in milliseconds. */
const lookEvery = 25;

export class RightOfWay {
  readonly #now: () => number;
  readonly #sleep: (ms: number) => Promise<unknown>;
  #telling: Promise<void> | undefined;
  #isTold = (): boolean => true;
  #again = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds from any beginning. */
  constructor(now: () => number, sleep: (ms: number) => Promise<unknown>) {
    this.#now = now;
    this.#sleep = sleep;
  }

  /** Access ends, and a fleet of so many nodes is being told. What ends meanwhile is told in the same time. */
  give(nodes: number, isTold: () => boolean): void {
    if (this.#now() < this.#again) return;
    this.#isTold = isTold;
    this.#telling ??= this.#tell(Math.min(longest, nodes * each)).finally(() => {
      this.#telling = undefined;
    });
  }

  /** Resolves once the way is free. */
  async clear(): Promise<void> {
    await this.#telling;
  }

  async #tell(most: number): Promise<void> {
    const from = this.#now();
    let now = from;
    for (; now - from < most && !this.#isTold(); now = this.#now()) {
      await this.#sleep(Math.min(lookEvery, most - (now - from)));
    }
    this.#again = now + (now - from);
  }
}

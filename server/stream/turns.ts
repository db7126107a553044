/** A few may do something at once; the others wait, first come, first served. */

export class Turns {
  #free: number;
  readonly #waiting: ((turn: Disposable) => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Resolves once it is the caller's turn, which it gives back by disposing of it; twice is once. */
  take(): Promise<Disposable> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve(this.#turn());
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #turn(): Disposable {
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        const next = this.#waiting.shift();
        if (next) next(this.#turn());
        else this.#free += 1;
      },
    };
  }
}

/** The newest few of what is made once for many. What is made already is given at once. */
export class Kept<T> {
  readonly #most: number;
  readonly #kept = new Map<string, T | Promise<T>>();

  constructor(most: number) {
    this.#most = most;
  }

  /** What failed to be made is made anew for the next who asks. */
  once(key: string, make: () => Promise<T>): T | Promise<T> {
    if (this.#kept.has(key)) return this.#kept.get(key) as T | Promise<T>;
    const made = make();
    this.#kept.set(key, made);
    made.then(
      (done) => this.#kept.has(key) && this.#kept.set(key, done),
      () => this.#kept.delete(key),
    );
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#most) break;
      this.#kept.delete(oldest);
    }
    return made;
  }
}

/** Who wants to know at once of what was written. A ring may be lost or doubled: the database is the truth. */

import type { News } from "./commits.ts";

export class Doorbells {
  readonly #append = new Set<(cluster: string) => void>();
  readonly #nodes = new Set<() => void>();

  onAppend(listener: (cluster: string) => void): Disposable {
    return added(this.#append, listener);
  }

  onNodes(listener: () => void): Disposable {
    return added(this.#nodes, listener);
  }

  ring({ appended, nodes }: News): void {
    for (const cluster of appended) for (const listener of this.#append) listener(cluster);
    if (nodes) for (const listener of this.#nodes) listener();
  }
}

function added<T>(set: Set<T>, one: T): Disposable {
  set.add(one);
  return { [Symbol.dispose]: () => set.delete(one) };
}

/** Which of a view's resources a question is about; remembered, since a walk asks the same question page after page. */

import type { View } from "./cluster-view.ts";
import type { Doc } from "./json.ts";
import { slices } from "./slices.ts";

/** What can be listed: where a view has it, what one looks like, and how much work that is. */
export interface Listing<T> {
  readonly items: (view: View) => Iterable<T>;
  readonly render: (item: T, base: string) => Doc;
  /** 1 is a person. */
  readonly weigh: (item: T) => number;
}

export interface Question<T> {
  /** Names everything below. */
  readonly id: string;
  /** Asked before anything is rendered. */
  readonly concerns: (item: T) => boolean;
  readonly matches: ((doc: Doc) => boolean) | undefined;
}

const mostRemembered = 16;

export class Finder<T> {
  readonly #listing: Listing<T>;
  readonly #found = new WeakMap<View, Map<string, Promise<readonly T[]>>>();

  constructor(listing: Listing<T>) {
    this.#listing = listing;
  }

  find(view: View, question: Question<T>, base: string): Promise<readonly T[]> {
    const known = this.#found.get(view) ?? new Map<string, Promise<readonly T[]>>();
    this.#found.set(view, known);
    const found = known.get(question.id) ?? this.#search(view, question, base);
    known.set(question.id, found);
    const [oldest] = known.keys();
    if (known.size > mostRemembered && oldest !== undefined) known.delete(oldest);
    return found;
  }

  async #search(view: View, { concerns, matches }: Question<T>, base: string): Promise<readonly T[]> {
    const { items, render, weigh } = this.#listing;
    const candidates = [...items(view)].filter(concerns);
    if (!matches) return candidates;
    const found: T[] = [];
    for await (const slice of slices(candidates, weigh)) {
      for (const item of slice) if (matches(render(item, base))) found.push(item);
    }
    return found;
  }
}

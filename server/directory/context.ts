/** What every directory command is given beside its arguments: the store, the time and chance. */

import type { Store } from "../store/store.ts";

/** What must be true of a thing as it is now, or the command on it is refused: it throws. Asked inside the transaction. */
export type Precondition = (current: { readonly modifiedAt: number }) => void;

export interface Context {
  readonly store: Store;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** A fresh opaque id. */
  readonly newId: () => string;
  /** A fresh secret of 256 random bits, URL-safe. */
  readonly newSecret: () => string;
}

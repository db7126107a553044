/** What every directory command is given beside its arguments: the store, the time and chance. */

import type { Reader, Store } from "../store/store.ts";

export interface Context {
  readonly store: Store;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** A fresh opaque id. */
  readonly newId: () => string;
  /** A fresh secret of 256 random bits, URL-safe. */
  readonly newSecret: () => string;
}

/** Something that reads one state: the store as it stands, or a snapshot of it. */
export interface Reading {
  readonly store: Reader;
}

/** Throws unless what is there now is what the caller took it for. Asked inside the transaction that changes it. */
export type Precondition = (current: { readonly modifiedAt: number }) => void;

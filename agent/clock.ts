/** Time and chance, as arguments: tests own them. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds on a clock that nobody sets, from any beginning: for how long something takes. */
  elapsed(): number;
  /** Resolves after so many milliseconds; at once, without throwing, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** From 0 up to 1. */
  random(): number;
}

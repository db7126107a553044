/** Numbers as people type them. */

import { UsageError } from "./exit.ts";

/** A UID or GID; whether it may be given is the server's to say. @throws UsageError */
export function parseId(option: string, text: string): number {
  const number = /^(0|[1-9][0-9]{0,9})$/.test(text) ? Number(text) : Number.NaN;
  if (!(number <= 4_294_967_295)) throw new UsageError(`${option} ${JSON.stringify(text)} is not a number of 32 bits`);
  return number;
}

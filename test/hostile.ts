/** The hostile inputs that every door must withstand, with what each must get (test/data/hostile-inputs.json). */

import { readFileSync } from "node:fs";

export interface HostileInput {
  readonly id: string;
  readonly field: string;
  readonly value: unknown;
  readonly why: string;
  readonly expected: string;
}

// Read, not imported: it holds lone surrogates, which bundlers' JSON readers refuse.
const { entries } = JSON.parse(readFileSync(new URL("data/hostile-inputs.json", import.meta.url), "utf8")) as {
  entries: HostileInput[];
};

/** The inputs for a field that must get one of these answers; each with a title for a test. */
export function hostileInputs(field: string, ...expected: string[]): (readonly [title: string, value: unknown])[] {
  return entries
    .filter((entry) => entry.field === field && expected.includes(entry.expected))
    .map(({ id, why, value }) => [`${id}: ${why}`, value] as const);
}

/**
 * Where a walk is (RFC 9865): a revision, how many resources are behind it, and of which question. All of it is in the text,
 * so the server remembers no walk. It is not secret and not signed: whoever makes one up reads what they may read.
 *
 * Good for an hour after its revision was superseded: a walk that long is none, and nobody shall see who left for longer.
 */

import { createHash } from "node:crypto";
import type { Revision } from "../../identity/position.ts";
import { refuseAs } from "./errors.ts";

export const cursorLife = 3_600_000;

export interface Cursor {
  readonly revision: Revision;
  readonly offset: number;
  /** Of everything that decides which resources are walked, and in which cluster and life of its log. */
  readonly question: string;
}

export function printCursor({ revision, offset, question }: Cursor): string {
  return `${revision}.${offset}.${question}`;
}

/** @throws ScimRefusal `invalidCursor`: none of ours, or of another question. */
export function parseCursor(text: string, question: string, head: Revision): Cursor {
  const [, revision, offset, of] = /^([1-9][0-9]{0,14})\.([1-9][0-9]{0,14})\.([0-9a-f]{16})$/.exec(text) ?? [];
  if (revision === undefined || BigInt(revision) > head)
    refuseAs("invalidCursor", "the cursor is none of this server's");
  if (of !== question)
    refuseAs("invalidCursor", "the cursor is of another question: repeat the parameters it came from");
  return { revision: BigInt(revision), offset: Number(offset), question };
}

/** @throws ScimRefusal `expiredCursor`; `supersededAt` is when its revision ceased to be the head. */
export function checkLife(supersededAt: number | undefined, now: number): void {
  if (supersededAt === undefined || now - supersededAt < cursorLife) return;
  refuseAs("expiredCursor", "the cursor is more than an hour behind: start again with an empty one");
}

export function questionOf(...parts: readonly (string | undefined)[]): string {
  const text = JSON.stringify(parts.map((part) => part ?? null));
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/**
 * The index files of libnss-cache: entries of one width, `key NUL offset NUL padding LF`, sorted by the key's bytes (ids
 * too are sorted as text). The width is what the longest key and the longest offset need, and is read off the first LF; a longer one
 * makes the index be written anew, wider, which happens a few dozen times in its life.
 *
 * An index is a plain Buffer, never changed while anybody may look at it.
 */

import { type Allocate, allocateNew } from "./buffers.ts";

export type IndexName = "ixname" | "ixuid" | "ixgid";

/** Makes an index of keys, each at its byte offset. @param least the width that its entries have at least. */
export function buildIndex(offsets: ReadonlyMap<string, number>, least = 0): Buffer {
  return merge(Buffer.alloc(0), Math.max(least, widthFor(offsets)), offsets, allocateNew);
}

/** The offset of a key's record. */
export function findInIndex(index: Buffer, key: string): number | undefined {
  const width = widthOf(index);
  const at = lowerBound(index, width, key, 0) * width;
  return at < index.length && keyAt(index, at) === key ? offsetAt(index, at, key) : undefined;
}

/** The index with some keys put, moved or (undefined) gone. Runs of entries between them are copied whole. */
export function reviseIndex(
  index: Buffer,
  changes: ReadonlyMap<string, number | undefined>,
  allocate: Allocate = allocateNew,
): Buffer {
  const width = Math.max(widthOf(index), widthFor(changes));
  return merge(width === widthOf(index) ? index : widened(index, width), width, changes, allocate);
}

function merge(
  old: Buffer,
  width: number,
  changes: ReadonlyMap<string, number | undefined>,
  allocate: Allocate,
): Buffer {
  const next = allocate(old.length + changes.size * width);
  let from = 0;
  let to = 0;
  for (const key of [...changes.keys()].sort()) {
    const at = lowerBound(old, width, key, from);
    to += old.copy(next, to, from * width, at * width);
    const offset = changes.get(key);
    if (offset !== undefined) to += writeEntry(next, to, width, key, offset);
    const held = at * width < old.length && keyAt(old, at * width) === key;
    from = held ? at + 1 : at;
  }
  to += old.copy(next, to, from * width);
  return next.subarray(0, to);
}

/** The width that the widest of some entries needs: key NUL offset NUL LF. */
function widthFor(changes: ReadonlyMap<string, number | undefined>): number {
  let width = 0;
  for (const [key, offset] of changes) {
    if (offset !== undefined) width = Math.max(width, key.length + String(offset).length + 3);
  }
  return width;
}

function widened(index: Buffer, width: number): Buffer {
  if (index.length === 0) return index;
  const before = widthOf(index);
  const wide = Buffer.allocUnsafe((index.length / before) * width);
  for (let at = 0, to = 0; at < index.length; at += before) {
    const key = keyAt(index, at);
    to += writeEntry(wide, to, width, key, offsetAt(index, at, key));
  }
  return wide;
}

function writeEntry(index: Buffer, at: number, width: number, key: string, offset: number): number {
  const keyEnd = at + index.write(key, at, "latin1");
  index[keyEnd] = 0;
  const end = keyEnd + 1 + index.write(String(offset), keyEnd + 1, "latin1");
  index.fill(0, end, at + width - 1);
  index[at + width - 1] = newline;
  return width;
}

/** The place of the first entry, at or behind `from`, whose key is not less. */
function lowerBound(index: Buffer, width: number, key: string, from: number): number {
  let low = from;
  let high = index.length === 0 ? 0 : index.length / width;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keyAt(index, middle * width) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function keyAt(index: Buffer, start: number): string {
  return index.toString("latin1", start, index.indexOf(0, start));
}

function offsetAt(index: Buffer, start: number, { length }: string): number {
  const at = start + length + 1;
  return Number(index.toString("latin1", at, index.indexOf(0, at)));
}

/** How long each entry is, line break included; 0 if there is none. */
export function widthOf(index: Buffer): number {
  return index.indexOf(newline) + 1;
}

const newline = 10;

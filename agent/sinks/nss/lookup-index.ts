/**
 * The index files of libnss-cache: entries of one width, `key NUL offset NUL padding LF`, sorted by the key's bytes (ids
 * too are sorted as text). The width is the same for ever, wide enough for any key and any offset, so that
 * a longer name never makes an index be built anew.
 *
 * An index is a plain Buffer, never changed once it is made.
 */

const offsetDigits = 10;

/** Longest keys: names have at most 31 bytes, ids at most 10 digits. */
export const keyWidth = { ixname: 31, ixuid: 10, ixgid: 10 } as const;

export type IndexName = keyof typeof keyWidth;

/** Key NUL offset NUL LF. */
export function entryWidth(name: IndexName): number {
  return keyWidth[name] + offsetDigits + 3;
}

/** Makes an index of keys, each at its byte offset. */
export function buildIndex(name: IndexName, offsets: ReadonlyMap<string, number>): Buffer {
  return reviseIndex(name, Buffer.alloc(0), offsets);
}

/** The offset of a key's record. */
export function findInIndex(name: IndexName, index: Buffer, key: string): number | undefined {
  const width = entryWidth(name);
  const at = lowerBound(name, index, key, 0);
  if (at * width >= index.length || keyAt(index, at * width) !== key) return undefined;
  const start = at * width + key.length + 1;
  return Number(index.toString("latin1", start, index.indexOf(0, start)));
}

/** The index with some keys put, moved or (undefined) gone. Runs of entries between them are copied whole. */
export function reviseIndex(name: IndexName, index: Buffer, changes: ReadonlyMap<string, number | undefined>): Buffer {
  const width = entryWidth(name);
  const parts: Buffer[] = [];
  let from = 0;
  for (const [key, offset] of [...changes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const at = lowerBound(name, index, key, from);
    parts.push(index.subarray(from * width, at * width));
    if (offset !== undefined) parts.push(entry(name, key, offset));
    const held = at * width < index.length && keyAt(index, at * width) === key;
    from = held ? at + 1 : at;
  }
  parts.push(index.subarray(from * width));
  return Buffer.concat(parts);
}

function entry(name: IndexName, key: string, offset: number): Buffer {
  const text = String(offset);
  if (key.length > keyWidth[name] || text.length > offsetDigits)
    throw new Error(`${name} cannot hold ${key} at ${text}`);
  const bytes = Buffer.alloc(entryWidth(name));
  bytes.write(key, 0, "latin1");
  bytes.write(text, key.length + 1, "latin1");
  bytes[bytes.length - 1] = 10;
  return bytes;
}

/** The place of the first entry, at or behind `from`, whose key is not less. */
function lowerBound(name: IndexName, index: Buffer, key: string, from: number): number {
  const width = entryWidth(name);
  let low = from;
  let high = index.length / width;
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

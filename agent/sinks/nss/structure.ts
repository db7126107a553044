/**
 * What must be true of a data file and its indexes, whoever wrote them: every line a record or a comment, every record at a
 * multiple of 64, one sentinel, last; every entry of an index in order, and hitting its key's record; as many of these as of those.
 *
 * Of a file that was checked before, only what differs from then is checked again: where its bytes differ is found
 * here, by comparing, and not taken from whoever changed it. An entry that stayed can only be wrong if what it hits changed: so what
 * every place that changed held before, and holds now, is looked up. Shares no code with what writes.
 */

import { enumerate, type MapName, offsetIn } from "./reader.ts";

/** An index of one version, and the field that it is over: 0 for the name, 2 for the id. */
export interface Indexed {
  readonly index: Buffer;
  readonly field: 0 | 2;
}

/** One version of a map's files. */
export interface Version {
  readonly data: Buffer;
  readonly indexes: readonly Indexed[];
}

/** Checks whole files. @throws Error saying which line or entry is wrong. */
export function checkStructure(map: MapName, { data, indexes }: Version): void {
  const records = recordsIn(map, data, 0, data.length).length;
  checkSentinel(map, data);
  for (const { index, field } of indexes) {
    checkEntries(data, index, field, 0, index.length);
    const count = entriesOf(index);
    if (count !== records) throw new Error(`an index of ${map} has ${count} entries for ${records} records`);
  }
}

/**
 * Checks that readers who list a data file get these lines and no others. With {@link checkStructure}, by which each entry of an index
 * hits its record and none is missing, it is as good as looking every record up.
 * @throws Error naming a line that is missing or too many.
 */
export function checkRecords(map: MapName, data: Buffer, lines: Iterable<string | undefined>): void {
  const missing = new Set(lines);
  missing.delete(undefined);
  for (const line of enumerate(map, data)) {
    if (!missing.delete(line) && !line.startsWith(sentinel)) {
      throw new Error(`${map}: the record ${line.slice(0, longestShown)} is not one of those that are wanted`);
    }
  }
  for (const line of missing) throw new Error(`${map}: the record ${line?.slice(0, longestShown)} is missing`);
}

const longestShown = 200;

/** Checks files against a version that was checked already. @throws Error saying which line or entry is wrong. */
export function checkChange(map: MapName, before: Version, { data, indexes }: Version): void {
  const places = differences(before.data, data);
  const was = places.flatMap(([from, to]) => recordsIn(map, before.data, from, Math.min(to, before.data.length)));
  const is = places.flatMap(([from, to]) => recordsIn(map, data, from, to));
  checkSentinel(map, data);
  for (const [n, { index, field }] of indexes.entries()) {
    const old = before.indexes[n]?.index ?? Buffer.alloc(0);
    checkEntries(data, index, field, ...changedEntries(old, index));
    const count = entriesOf(index) - entriesOf(old);
    if (count !== is.length - was.length) {
      throw new Error(`an index of ${map} has ${count} entries more, for ${is.length - was.length} records more`);
    }
    for (const { line } of was) {
      const key = keyIn(line, field);
      const at = offsetIn(index, key);
      if (at !== undefined) checkHit(data, at, key, field);
    }
    for (const { at, line } of is) {
      const key = keyIn(line, field);
      const found = offsetIn(index, key);
      if (found !== at) throw new Error(`an index of ${map} has ${key} at ${found}, not at ${at}`);
    }
  }
}

const unit = 64;
// Compared at a time, before the units in it are.
const stride = 65_536;
const newline = 0x0a;

/** Where two versions differ: ranges of the new one, in order, that start and end between lines of both. */
function differences(before: Buffer, data: Buffer): [number, number][] {
  const ranges: [number, number][] = [];
  const mark = (at: number): void => {
    const last = ranges.at(-1);
    if (last && at < last[1]) return;
    const from = edge(before, data, at, -unit);
    const to = edge(before, data, at + unit, unit);
    if (last && from <= last[1]) last[1] = to;
    else ranges.push([from, to]);
  };
  const common = Math.min(before.length, data.length);
  for (let block = 0; block < common; block += stride) {
    const end = Math.min(block + stride, common);
    if (data.compare(before, block, end, block, end) === 0) continue;
    for (let at = block; at < end; at += unit) {
      const stop = Math.min(at + unit, end);
      if (data.compare(before, at, stop, at, stop) !== 0) mark(at);
    }
  }
  if (before.length !== data.length) {
    // The old sentinel must be gone from its place, and whatever follows be sound.
    mark(Math.max(0, common - unit));
    const last = ranges.at(-1);
    if (last) last[1] = data.length;
  }
  return ranges;
}

/** The nearest place, from a multiple of 64 on, that a line starts at in both versions. */
function edge(before: Buffer, data: Buffer, from: number, by: number): number {
  const starts = (bytes: Buffer, at: number) => at <= 0 || at >= bytes.length || bytes[at - 1] === newline;
  let at = from;
  while (!starts(before, at) || !starts(data, at)) at += by;
  return Math.max(0, Math.min(at, data.length));
}

/** The records, less the sentinel, of a part in which each line must be a record or a comment. */
function recordsIn(map: MapName, data: Buffer, from: number, to: number): { at: number; line: string }[] {
  const records: { at: number; line: string }[] = [];
  for (let at = from; at < to; ) {
    const end = data.indexOf(newline, at);
    if (end < 0) throw new Error(`${map}: the last line has no end`);
    if (end > at && data[at] !== 0x23) {
      // Bytes as characters: what is UTF-8 was parsed at the door, here only the fields' bounds matter.
      const line = data.toString("latin1", at, end);
      if (at % unit !== 0) throw new Error(`${map}: the record at ${at} is not at a multiple of ${unit}`);
      if (line.startsWith(sentinel)) {
        if (at !== data.length - unit) throw new Error(`${map}: the sentinel at ${at} is not the last record`);
      } else if (strict[map].test(line)) records.push({ at, line });
      else throw new Error(`${map}: the line at ${at} is no record of ours`);
    }
    at = end + 1;
  }
  return records;
}

function checkSentinel(map: MapName, data: Buffer): void {
  const at = data.length - unit;
  const stands = at >= 0 && data.toString("latin1", at, at + sentinel.length) === sentinel;
  const follows = data.subarray(data.indexOf(newline, at) + 1);
  if (!stands || data.at(-1) !== newline || !/^#*\n?$/.test(follows.toString("latin1"))) {
    throw new Error(`${map}: the sentinel is missing`);
  }
}

/** Checks a range of an index, and that it continues what is before it and is continued by what follows. */
function checkEntries(data: Buffer, index: Buffer, field: 0 | 2, from: number, to: number): void {
  const width = widthOf(index);
  if (index.length === 0) return;
  if (index.length % width !== 0) throw new Error("an index is not made of entries of one width");
  let last = from === 0 ? "" : keyAt(index, from - width);
  for (let at = from; at < to; at += width) {
    const key = keyAt(index, at);
    if (!(key > last)) throw new Error(`an index has ${key} behind ${last}`);
    const start = Number.parseInt(index.toString("latin1", at + key.length + 1, at + width - 1), 10);
    checkHit(data, start, key, field);
    last = key;
  }
  if (to < index.length && !(keyAt(index, to) > last))
    throw new Error(`an index has ${keyAt(index, to)} behind ${last}`);
}

function checkHit(data: Buffer, start: number, key: string, field: 0 | 2): void {
  if (start % unit !== 0 || (start > 0 && data[start - 1] !== newline))
    throw new Error(`${key} is not at a line's start`);
  let from = start;
  for (let colons = 0; colons < field; colons++) from = data.indexOf(0x3a, from) + 1;
  if (from >= start + unit || data.toString("latin1", from, from + key.length + 1) !== `${key}:`) {
    throw new Error(`the index entry of ${key} hits another record`);
  }
}

/** The range of an index's entries that are not those of the old one, less what both have at their ends. */
function changedEntries(before: Buffer, index: Buffer): [number, number] {
  const width = widthOf(index);
  if (before === index || index.length === 0) return [index.length, index.length];
  if (widthOf(before) !== width) return [0, index.length];
  const most = Math.min(before.length, index.length);
  let head = 0;
  for (
    let step = stride - (stride % width);
    step >= width;
    step = step === width ? 0 : Math.max(width, half(step, width))
  ) {
    while (head + step <= most && index.compare(before, head, head + step, head, head + step) === 0) head += step;
  }
  let tail = 0;
  const same = (length: number): boolean => {
    const [a, b] = [before.length - tail, index.length - tail];
    return index.compare(before, a - length, a, b - length, b) === 0;
  };
  for (
    let step = stride - (stride % width);
    step >= width;
    step = step === width ? 0 : Math.max(width, half(step, width))
  ) {
    while (head + tail + step <= most && same(step)) tail += step;
  }
  return [head, index.length - tail];
}

/** About half of a length, in whole entries. */
function half(length: number, width: number): number {
  return Math.floor(length / width / 2) * width;
}

function widthOf(index: Buffer): number {
  return index.indexOf(newline) + 1;
}

function entriesOf(index: Buffer): number {
  return index.length === 0 ? 0 : index.length / widthOf(index);
}

function keyAt(index: Buffer, at: number): string {
  return index.toString("latin1", at, index.indexOf(0, at));
}

function keyIn(line: string, field: 0 | 2): string {
  return line.split(":", 3)[field] ?? "";
}

const sentinel = "rollcall.end:*:";
const name = "[a-z_][a-z0-9_-]{0,30}";
const id = "[1-9][0-9]{3,9}";
const strict: Record<MapName, RegExp> = {
  passwd: new RegExp(`^${name}:x:${id}:${id}:[^:\\x00-\\x1f\\x7f]{0,128}:/[!-9;-~]{1,199}:/[!-9;-~]{1,63}$`),
  shadow: new RegExp(`^${name}:\\*:[0-9]{5}:0:99999:7::1?:$`),
  group: new RegExp(`^${name}:x:${id}:(${name}(,${name})*)?$`),
};

/**
 * The content of a data file (passwd.cache and its like), made so that a reader may hold any mix of neighbouring versions.
 *
 * libnss-cache opens an index, closes it, and opens the data by name: no order of renames keeps it from reading an
 * old offset in new data. An offset past the end aborts its caller (sshd, sudo, slurmd); one inside a record can
 * return somebody else. So the file itself is safe at every offset that any index of ours ever held:
 *
 * 1. Every record starts a slot, at a multiple of 64 bytes; slots are multiples of 64 long, and their places never change.
 * 2. What a record leaves of its slot is comment. A record that goes, or outgrows its slot, leaves comment behind (`#free`),
 *    which a later record may take.
 * 3. The file never gets shorter, and its last record is a sentinel: from every slot something parses.
 * 4. New records take the free space before the sentinel (the tail). The file grows ahead of need, so that the
 *    offsets of a new index, too, lie inside the data before it; only a burst is larger, and for that the order of
 *    renames stands (data, folder synced, index).
 *
 * A reader thus finds its record (old or new), or another one, which makes libnss-cache scan the new file.
 */

import { type Allocate, allocateNew } from "./buffers.ts";

const unit = 64;
// A comment line must fit the smallest buffer that readers start with (1 kB), or they fail with ERANGE and try again.
const longestComment = 512;
// The file grows by an eighth at a time, and by no less than this.
const leastReserve = 4096;
const hash = 35;
const newline = 10;
const free = Buffer.from("#free");

/** A data file. Never changed once it is made. */
export interface Slots {
  readonly bytes: Buffer;
  /** Places that records may take, less the tail. */
  readonly free: readonly Slot[];
  /** Where the free space before the sentinel starts. */
  readonly tail: number;
}

export interface Slot {
  readonly at: number;
  readonly size: number;
}

/** A record in its slot. */
export interface Placed extends Slot {
  readonly line: string;
}

/** The bytes that a slot for a line of this length should have. */
export type Room = (bytes: number) => number;

/** Just what it takes. */
export const tight: Room = (bytes) => roundUp(bytes);

/** Space for a quarter more and 64 bytes, for lines that grow one member at a time. */
export const roomy: Room = (bytes) => roundUp(bytes + (bytes >> 2) + unit);

/** A file of nothing but free space and a sentinel, at least so long. */
export function emptySlots(sentinel: string, least: number): Slots {
  const size = tight(Buffer.byteLength(sentinel) + 1);
  const bytes = Buffer.alloc(Math.max(leastReserve + size, roundUp(least)));
  const tail = { at: 0, size: bytes.length - size };
  release(bytes, tail);
  write(bytes, { at: tail.size, size, line: sentinel });
  return { bytes, free: [], tail: 0 };
}

/**
 * Reads a file back into its slots; strict: undefined for anything that this file could not have written.
 * @param isRecord whether a line is one of ours, sentinel apart.
 */
export function readSlots(
  bytes: Buffer,
  sentinel: string,
  isRecord: (line: string) => boolean,
): { readonly slots: Slots; readonly records: readonly Placed[] } | undefined {
  const records: Placed[] = [];
  const places: Slot[] = [];
  let last: Placed | undefined;
  for (let at = 0; at < bytes.length; ) {
    if (last?.line === sentinel || bytes.length % unit !== 0) return undefined;
    const size = slotSize(bytes, at);
    const isFree = startsFree(bytes, at);
    const line = isFree ? "" : lineAt(bytes, at);
    if (!isFree && line !== sentinel && !isRecord(line)) return undefined;
    if (!bytes.subarray(at, at + size).equals(image({ at, size, line }))) return undefined;
    last = { at, size, line };
    (isFree ? places : records).push(last);
    at += size;
  }
  if (last?.line !== sentinel) return undefined;
  records.pop();
  const before = places.at(-1);
  const tail = before && before.at + before.size === last.at ? before.at : last.at;
  return { slots: { bytes, free: places.filter(({ at }) => at < tail), tail }, records };
}

/** One record that changes: what leaves its slot, what wants one. */
export interface Change {
  /** Where the record is now; undefined for a new one. */
  readonly at: number | undefined;
  readonly line: string | undefined;
}

/**
 * The file with some records changed, and where each of them is now.
 * Those that fit stay in their slot; the others take free slots, and then the tail.
 */
export function changeSlots(
  slots: Slots,
  changes: readonly Change[],
  room: Room,
  sentinel: string,
  allocate: Allocate = allocateNew,
): { readonly slots: Slots; readonly placed: readonly (number | undefined)[] } {
  const stays = ({ at, line }: Change): Slot | undefined => {
    const size = at === undefined ? 0 : slotSize(slots.bytes, at);
    return at !== undefined && line !== undefined && Buffer.byteLength(line) < size ? { at, size } : undefined;
  };
  const homes = changes.map(stays);
  const left = changes.flatMap(({ at }, i) =>
    at === undefined || homes[i] ? [] : { at, size: slotSize(slots.bytes, at) },
  );
  const market = new Market([...slots.free, ...left], slots.tail);
  const takes = changes.map(({ line }, i) =>
    line === undefined ? undefined : (homes[i] ?? market.take(room(Buffer.byteLength(line) + 1))),
  );
  const bytes = stretched(slots, market.tail, sentinel, allocate);
  const places = [...market.left()];
  for (const place of left) release(bytes, place);
  changes.forEach(({ line }, i) => {
    const slot = takes[i];
    if (slot && line !== undefined) write(bytes, { ...slot, line });
  });
  return { slots: { bytes, free: places, tail: market.tail }, placed: takes.map((slot) => slot?.at) };
}

/** The record at a slot's start, without its line break. */
export function lineAt(bytes: Buffer, at: number): string {
  return bytes.toString("utf8", at, lineEnd(bytes, at));
}

/** Hands out free slots: those of the wanted size first, then larger ones up to double, then the tail. */
class Market {
  /** Where the free space before the sentinel starts now. */
  tail: number;
  readonly #bySize = new Map<number, number[]>();

  constructor(places: readonly Slot[], tail: number) {
    this.tail = tail;
    for (const { at, size } of places) {
      const same = this.#bySize.get(size);
      if (same) same.push(at);
      else this.#bySize.set(size, [at]);
    }
  }

  take(wanted: number): Slot {
    for (let size = wanted; size <= 2 * wanted; size += unit) {
      const at = this.#bySize.get(size)?.pop();
      if (at !== undefined) return { at, size };
    }
    const at = this.tail;
    this.tail += wanted;
    return { at, size: wanted };
  }

  *left(): Generator<Slot> {
    for (const [size, places] of this.#bySize) for (const at of places) yield { at, size };
  }
}

/** A copy of the file whose free tail starts at `tail`, longer if little of it is left. */
function stretched({ bytes, tail: before }: Slots, tail: number, sentinel: string, allocate: Allocate): Buffer {
  const size = tight(Buffer.byteLength(sentinel) + 1);
  const end = bytes.length - size;
  const reserve = roundUp(Math.max(leastReserve, tail >> 3));
  const grown = tail + reserve / 4 > end ? tail + reserve : end;
  const next = allocate(grown + size);
  bytes.copy(next);
  if (grown === end && tail === before) return next;
  release(next, { at: tail, size: grown - tail });
  write(next, { at: grown, size, line: sentinel });
  return next;
}

/** From a slot's start to the next line that starts a slot. */
function slotSize(bytes: Buffer, start: number): number {
  let at = lineEnd(bytes, start) + 1;
  while (at < bytes.length && (at % unit !== 0 || startsGap(bytes, at))) at = lineEnd(bytes, at) + 1;
  return at - start;
}

function startsGap(bytes: Buffer, at: number): boolean {
  return bytes[at] === newline || (bytes[at] === hash && !startsFree(bytes, at));
}

function startsFree(bytes: Buffer, at: number): boolean {
  return bytes[at] === free[0] && bytes[at + 1] === free[1];
}

function lineEnd(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(newline, at);
  return end < 0 ? bytes.length : end;
}

function write(bytes: Buffer, placed: Placed): void {
  const length = bytes.write(placed.line, placed.at);
  bytes[placed.at + length] = newline;
  comment(bytes, placed.at + length + 1, placed.at + placed.size);
}

function release(bytes: Buffer, { at, size }: Slot): void {
  if (size === 0) return;
  comment(bytes, at, at + size);
  free.copy(bytes, at);
}

/** Fills with comment lines that end at every multiple of 512, and at the end. A single byte is an empty line. */
function comment(bytes: Buffer, from: number, to: number): void {
  bytes.fill(hash, from, to);
  for (let at = from - (from % longestComment) + longestComment; at <= to; at += longestComment)
    bytes[at - 1] = newline;
  if (to > from) bytes[to - 1] = newline;
}

/** What a slot holds when we wrote it; an empty line is a free slot. */
function image({ at, size, line }: Placed): Buffer {
  // Comments break at multiples of 512 of the file: keep the slot's place within them.
  const lead = at % longestComment;
  const bytes = Buffer.allocUnsafe(lead + size);
  if (line === "") release(bytes, { at: lead, size });
  else if (Buffer.byteLength(line) < size) write(bytes, { at: lead, size, line });
  return bytes.subarray(lead);
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / unit) * unit;
}

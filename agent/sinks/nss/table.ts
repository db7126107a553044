/**
 * One data file with its indexes, as libnss-cache wants them. A table is a value: changing it gives another one that
 * shares nothing that changes, so that what is live stays true until the new one is.
 */

import type { Phase, Write } from "../../sink.ts";
import { type Allocate, allocateNew } from "./buffers.ts";
import { buildIndex, findInIndex, type IndexName, reviseIndex } from "./lookup-index.ts";
import type { MapName } from "./reader.ts";
import { idIn, isRecordOf, nameIn, sentinels } from "./record.ts";
import {
  type Change,
  changeSlots,
  emptySlots,
  lineAt,
  type Placed,
  type Room,
  readSlots,
  roomy,
  type Slots,
  tight,
} from "./slots.ts";

export interface Table {
  readonly slots: Slots;
  /** By the suffix of their file. */
  readonly indexes: Readonly<Partial<Record<IndexName, Buffer>>>;
}

/** What tells the three files apart. */
export interface Shape {
  readonly map: MapName;
  readonly phase: Phase;
  readonly mode: number;
  readonly group?: string;
  readonly room: Room;
  /** The first one is over the key by which a table's records are known. */
  readonly indexes: readonly [Indexed, ...Indexed[]];
}

export interface Indexed {
  readonly name: IndexName;
  readonly field: 0 | 2;
  readonly keyOf: (line: string) => string;
}

const byName: Indexed = { name: "ixname", field: 0, keyOf: nameIn };
const byUid: Indexed = { name: "ixuid", field: 2, keyOf: idIn };
const byGid: Indexed = { name: "ixgid", field: 2, keyOf: idIn };

export const shapes: Readonly<Record<MapName, Shape>> = {
  shadow: { map: "shadow", phase: "shadow", mode: 0o640, group: "shadow", room: tight, indexes: [byName] },
  passwd: { map: "passwd", phase: "passwd", mode: 0o644, room: tight, indexes: [byUid, byName] },
  group: {
    map: "group",
    phase: "group",
    mode: 0o644,
    // A private group never gets members; any other may get one with every step.
    room: (bytes) => (bytes <= 64 ? tight(bytes) : roomy(bytes)),
    indexes: [byGid, byName],
  },
};

/** Lines by the key of a table's first index; undefined: no such record. */
export type Lines = ReadonlyMap<string, string | undefined>;

/** A table of these lines and no others, its data at least so long. */
export function layTable(shape: Shape, lines: Lines, least: number): Table {
  const indexes = Object.fromEntries(shape.indexes.map(({ name }) => [name, Buffer.alloc(0)]));
  return changeTable(shape, { slots: emptySlots(sentinels[shape.map], least), indexes }, lines);
}

/**
 * The table with some records changed; the same table if none of them does change.
 * @param allocate where the bytes of a new file go, by its path; they may be anywhere but in this table's.
 */
export function changeTable(
  shape: Shape,
  table: Table,
  lines: Lines,
  allocate: (path: string) => Allocate = () => allocateNew,
): Table {
  const changes = changesOf(shape, table, lines);
  if (changes.length === 0) return table;
  const { slots, placed } = changeSlots(
    table.slots,
    changes,
    shape.room,
    sentinels[shape.map],
    allocate(pathOf(shape)),
  );
  const indexes = shape.indexes.map(({ name, keyOf }) => {
    const moves = new Map<string, number | undefined>();
    for (const { at } of changes) if (at !== undefined) moves.set(keyOf(lineAt(table.slots.bytes, at)), undefined);
    changes.forEach(({ line }, i) => {
      if (line !== undefined) moves.set(keyOf(line), placed[i]);
    });
    const index = indexOf(table, name);
    // A record that only changes inside its slot leaves the index as it is.
    for (const [key, at] of moves) if (findInIndex(index, key) === at) moves.delete(key);
    return [name, moves.size === 0 ? index : reviseIndex(index, moves, allocate(pathOf(shape, name)))];
  });
  return { slots, indexes: Object.fromEntries(indexes) };
}

/**
 * Reads a data file back; its indexes are made from it, not read. Undefined if it is not one that we wrote.
 * @param widths the least that entries of an index have: those of the one that is live, which may have held longer ones.
 */
export function readTable(
  shape: Shape,
  bytes: Buffer,
  widths: (name: IndexName) => number = () => 0,
): { readonly table: Table; readonly records: readonly Placed[] } | undefined {
  const isRecord = (line: string) => isRecordOf(shape.map, line);
  const read = readSlots(bytes, sentinels[shape.map], isRecord);
  if (!read) return undefined;
  const offsets = shape.indexes.map(({ keyOf }) => new Map(read.records.map(({ line, at }) => [keyOf(line), at])));
  // Two records of one name or id: we never write that.
  if (offsets.some(({ size }) => size !== read.records.length)) return undefined;
  const indexes = shape.indexes.map(({ name }, i) => [name, buildIndex(offsets[i] ?? new Map(), widths(name))]);
  return { table: { slots: read.slots, indexes: Object.fromEntries(indexes) }, records: read.records };
}

/** A table's file, then its indexes: never the other way. */
export function writesOf(shape: Shape, table: Table): Write[] {
  const { phase, mode, group } = shape;
  const held = { mode, ...(group === undefined ? {} : { group }) };
  return [
    { ...held, phase, path: pathOf(shape), bytes: table.slots.bytes },
    ...shape.indexes.map(
      ({ name }): Write => ({ ...held, phase: "index", path: pathOf(shape, name), bytes: indexOf(table, name) }),
    ),
  ];
}

/**
 * What makes one live table another: the files that differ; and the live indexes, which must not be older than the data that comes
 * before their successors: readers would pass over them, and scan.
 */
export function writesBetween(
  shape: Shape,
  live: Table,
  table: Table,
): { readonly writes: readonly Write[]; readonly touches: readonly string[] } {
  if (table === live) return { writes: [], touches: [] };
  const isKept = ({ name }: Indexed) => table.indexes[name] === live.indexes[name];
  const kept = new Set(shape.indexes.filter(isKept).map(({ name }) => pathOf(shape, name)));
  const touches = shape.indexes.map(({ name }) => pathOf(shape, name));
  return { writes: writesOf(shape, table).filter(({ path }) => !kept.has(path)), touches };
}

/** Relative to the served folder: `nss/passwd.cache`, `nss/passwd.cache.ixuid`. */
export function pathOf({ map }: Shape, index?: IndexName): string {
  return `nss/${map}.cache${index === undefined ? "" : `.${index}`}`;
}

export function indexOf(table: Table, name: IndexName): Buffer {
  return table.indexes[name] ?? Buffer.alloc(0);
}

function changesOf(shape: Shape, table: Table, lines: Lines): Change[] {
  const [{ name }] = shape.indexes;
  const index = indexOf(table, name);
  const changes: Change[] = [];
  for (const [key, line] of lines) {
    const at = findInIndex(index, key);
    const before = at === undefined ? undefined : lineAt(table.slots.bytes, at);
    if (before !== line) changes.push({ at, line });
  }
  return changes;
}

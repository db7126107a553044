/**
 * Mirrors people and groups into passwd, shadow and group files for libnss-cache. A step patches what is live (kept in
 * memory, copied before it is changed); at start, after a crash and after a foreign edit the live files are read back and
 * compared with the copy. `slots.ts` says why any mix of two neighbouring versions is safe to read.
 *
 * Invariants: a user has exactly one passwd and one shadow record, and a private group if its gid is its uid; a group
 * lists members that exist; what cannot be served so is isolated, by name, and keeps nobody else back.
 */

import { join } from "node:path";
import type { Step } from "../../../identity/copy.ts";
import type { Gid, Uid } from "../../../identity/id.ts";
import type { Name } from "../../../identity/name.ts";
import { type Position, samePosition } from "../../../identity/position.ts";
import { type Group, keyOf, type Resource, type ResourceKey, type User } from "../../../identity/resource.ts";
import { type Disk, type Found, isHeld } from "../../disk.ts";
import { overlay } from "../../overlay.ts";
import type { Isolated, Rendering, Shown, Sink, Write } from "../../sink.ts";
import { type Allocate, Buffers } from "./buffers.ts";
import { type IndexName, widthOf } from "./lookup-index.ts";
import { Membership } from "./membership.ts";
import { lookUp, type MapName } from "./reader.ts";
import { groupLine, longestLine, passwdLine, shadowLine } from "./record.ts";
import { checkChange, checkRecords, checkStructure, type Version } from "./structure.ts";
import {
  changeTable,
  indexOf,
  type Lines,
  layTable,
  pathOf,
  readTable,
  type Shape,
  shapes,
  type Table,
  writesBetween,
  writesOf,
} from "./table.ts";

/**
 * @param served the agent's served folder; this sink's files are in `nss/` below it.
 * @param gids group ids by name, to see whether a file still is its group's; nobody looks if they are not given.
 */
export function nssSink(disk: Disk, served: string, gids?: ReadonlyMap<string, number>): Sink {
  return new NssSink(disk, served, gids);
}

/** What is live, and for which position. */
interface State {
  readonly at: Position;
  readonly tables: Readonly<Record<MapName, Table>>;
  readonly membership: Membership;
  readonly isolated: ReadonlyMap<Gid, readonly Isolated[]>;
}

/** What a rendering means: what to check of it, and what to remember once it is live. */
interface Plan {
  readonly lines: Readonly<Record<MapName, Lines>>;
  readonly tables: Readonly<Record<MapName, Table>>;
  /** What is live, every byte of it checked; undefined if it is only being compared. */
  readonly live: State["tables"] | undefined;
  readonly settle: () => State;
}

// Of an index that we wrote: a name of 31 bytes, an offset of 10, two NULs and a line break.
const widest = 44;

const maps: readonly MapName[] = ["shadow", "passwd", "group"];

class NssSink implements Sink {
  readonly name = "nss";
  readonly #disk: Disk;
  readonly #served: string;
  readonly #gids: ReadonlyMap<string, number> | undefined;
  #live: State | undefined;
  readonly #plans = new WeakMap<Rendering, Plan>();
  /** By path. */
  readonly #buffers = new Map<string, Buffers>();

  constructor(disk: Disk, served: string, gids: ReadonlyMap<string, number> | undefined) {
    this.#disk = disk;
    this.#served = served;
    this.#gids = gids;
  }

  async render(copy: Shown, step: Step): Promise<Rendering> {
    const live = this.#live;
    // Nothing live is known at the first step of a node, or it belongs to another position: compare, do not assume.
    const held = overlay(copy.resources, new Map(step.edits.map(({ key, after }) => [key, after])));
    if (!live || !samePosition(live.at, copy.at)) return this.#reconcile(held, step.to);
    const { lines, isolated } = linesOfStep(held, live, step);
    const tables = eachMap((map) => changeTable(shapes[map], live.tables[map], lines[map], this.#allocate));
    const changes = maps.map((map) => writesBetween(shapes[map], live.tables[map], tables[map]));
    const settle = () => {
      live.membership.take(step);
      return { at: step.to, tables, membership: live.membership, isolated };
    };
    const rendering = {
      writes: changes.flatMap(({ writes }) => writes),
      touches: changes.flatMap(({ touches }) => touches),
    };
    return this.#planned(rendering, isolated, { lines, tables, live: live.tables, settle });
  }

  async verify(rendering: Rendering, staged: ReadonlyMap<Write, string>): Promise<void> {
    const plan = this.#planOf(rendering);
    for (const write of rendering.writes) {
      const { path, bytes } = write;
      if (!bytes || (await this.#disk.holds(staged.get(write) ?? "", bytes))) continue;
      throw new Error(`the staged ${path} is not what was rendered`);
    }
    for (const map of maps) {
      const shape = shapes[map];
      if (!rendering.writes.some(({ path }) => path.startsWith(pathOf(shape)))) continue;
      // An index that is repaired alone is read against the live data, which the plan holds.
      const version = versionOf(shape, plan.tables[map]);
      const lines = plan.lines[map];
      if (plan.live) {
        checkChange(map, versionOf(shape, plan.live[map]), version);
        checkLines(shape, lines, version);
      } else {
        checkStructure(map, version);
        checkRecords(map, version.data, lines.values());
        checkLines(shape, some(lines), version);
      }
    }
  }

  settled(rendering: Rendering): void {
    this.#live = this.#planOf(rendering).settle();
    for (const { path, bytes } of rendering.writes) if (bytes) this.#buffers.get(path)?.use(bytes);
  }

  readonly #allocate = (path: string): Allocate => {
    const held = this.#buffers.get(path) ?? new Buffers();
    this.#buffers.set(path, held);
    return held.allocate;
  };

  async repair(copy: Shown): Promise<Rendering> {
    return this.#reconcile(copy.resources, copy.at);
  }

  /** Renders what makes the live files, whatever they are, serve what is held. */
  async #reconcile(held: Held, at: Position): Promise<Rendering> {
    const membership = new Membership(held.values());
    const { lines, isolated } = linesOfAll(held, membership);
    const writes: Write[] = [];
    const tables: Partial<Record<MapName, Table>> = {};
    for (const map of maps) {
      const mended = await this.#mend(shapes[map], lines[map]);
      tables[map] = mended.table;
      writes.push(...mended.writes);
    }
    const done = eachMap((map) => tables[map] ?? layTable(shapes[map], lines[map], 0));
    const settle = () => ({ at, tables: done, membership, isolated });
    return this.#planned({ writes }, isolated, { lines, tables: done, live: undefined, settle });
  }

  async #mend(shape: Shape, wanted: Lines): Promise<{ table: Table; writes: Write[] }> {
    const live = await this.#disk.read(join(this.#served, pathOf(shape)));
    const indexes = new Map<string, Found | undefined>();
    for (const { name } of shape.indexes) {
      const path = pathOf(shape, name);
      indexes.set(path, await this.#disk.read(join(this.#served, path)));
    }
    const widthHere = (name: IndexName) => widthOf(indexes.get(pathOf(shape, name))?.bytes ?? Buffer.alloc(0));
    const read = live && readTable(shape, live.bytes, (name) => Math.min(widthHere(name), widest));
    if (!read) {
      // Not ours, so no mix with it is safe: without an index every reader scans, and any order is right. The old length is
      // kept (within reason) for readers that hold an old index now.
      const needed = layTable(shape, wanted, 0).slots.bytes.length;
      const table = layTable(shape, wanted, Math.min(live?.bytes.length ?? 0, 4 * needed + 1_048_576));
      const writes = writesOf(shape, table);
      const removals = writes.slice(1).map((write) => ({ ...write, phase: shape.phase, bytes: undefined }));
      return { table, writes: live && live.bytes.length > 0 ? [...removals, ...writes] : writes };
    }
    const changes = new Map<string, string | undefined>(wanted);
    for (const { line } of read.records) {
      const key = shape.indexes[0].keyOf(line);
      if (!wanted.has(key)) changes.set(key, undefined);
    }
    const table = changeTable(shape, read.table, changes);
    const writes = writesOf(shape, table);
    const gid = shape.group === undefined ? undefined : this.#gids && (this.#gids.get(shape.group) ?? 0);
    if (table !== read.table || !isHeld(live, shape.mode, gid)) return { table, writes };
    const stale: Write[] = [];
    for (const write of writes.slice(1)) {
      const found = indexes.get(write.path);
      const good =
        found &&
        isHeld(found, write.mode, gid) &&
        found.mtime >= live.mtime &&
        write.bytes &&
        found.bytes.equals(write.bytes);
      if (!good) stale.push(write);
    }
    return { table, writes: stale };
  }

  #planned(files: Omit<Rendering, "isolated">, isolated: State["isolated"], plan: Plan): Rendering {
    const rendering = { ...files, isolated: [...isolated.values()].flat() };
    this.#plans.set(rendering, plan);
    return rendering;
  }

  #planOf(rendering: Rendering): Plan {
    const plan = this.#plans.get(rendering);
    if (!plan) throw new Error("the rendering is not this sink's");
    return plan;
  }
}

/** What the node is to serve. */
type Held = ReadonlyMap<ResourceKey, Resource>;

function userIn(held: Held, uid: number): User | undefined {
  const found = held.get(`user/${uid}` as ResourceKey);
  return found?.kind === "user" ? found : undefined;
}

function groupIn(held: Held, gid: number): Group | undefined {
  const found = held.get(`group/${gid}` as ResourceKey);
  return found?.kind === "group" ? found : undefined;
}

interface Served {
  readonly lines: Readonly<Record<MapName, Lines>>;
  readonly isolated: ReadonlyMap<Gid, readonly Isolated[]>;
}

/** The records that a step can change, as they will be. */
function linesOfStep(held: Held, { membership, isolated }: State, step: Step): Served {
  const passwd = new Map<string, string | undefined>();
  const shadow = new Map<string, string | undefined>();
  const gids = new Set<Gid>();
  for (const { before, after } of step.edits) {
    for (const resource of [before, after]) {
      if (resource?.kind === "group" || resource?.kind === "member") gids.add(resource.gid);
    }
    if (before?.kind === "user") {
      passwd.set(String(before.uid), undefined);
      if (!shadow.has(before.name)) shadow.set(before.name, undefined);
    }
    if (after?.kind === "user") {
      passwd.set(String(after.uid), passwdLine(after));
      shadow.set(after.name, shadowLine(after));
    }
    for (const uid of renamed(before, after)) for (const gid of membership.groupsOf(uid)) gids.add(gid);
    const person = after ?? before;
    // The private group, which stands and falls with gid = uid and has the name.
    if (person?.kind === "user") gids.add(person.uid as number as Gid);
  }
  const group = new Map<string, string | undefined>();
  const apart = new Map(isolated);
  const membersOf = membership.after(step);
  for (const gid of gids) {
    const served = serveGroup(held, gid, membersOf(gid));
    group.set(String(gid), served.line);
    apart.delete(gid);
    if (served.isolated.length > 0) apart.set(gid, served.isolated);
  }
  return { lines: { passwd, shadow, group }, isolated: apart };
}

/** The uid of a user whose name comes, goes or changes. */
function renamed(before: Resource | undefined, after: Resource | undefined): Uid[] {
  const [was, is] = [before, after].map((resource) => (resource?.kind === "user" ? resource : undefined));
  return was?.name === is?.name ? [] : [was ?? is].flatMap((person) => person?.uid ?? []);
}

/** Every record. */
function linesOfAll(held: Held, membership: Membership): Served {
  const passwd = new Map<string, string>();
  const shadow = new Map<string, string>();
  const group = new Map<string, string>();
  const isolated = new Map<Gid, readonly Isolated[]>();
  const gids = new Set<Gid>();
  for (const resource of held.values()) {
    if (resource.kind === "user") {
      passwd.set(String(resource.uid), passwdLine(resource));
      shadow.set(resource.name, shadowLine(resource));
      if (resource.gid === (resource.uid as number)) gids.add(resource.gid);
    }
    if (resource.kind === "group" || resource.kind === "member") gids.add(resource.gid);
  }
  const membersOf = membership.after({ edits: [] });
  for (const gid of [...gids].sort((a, b) => a - b)) {
    const served = serveGroup(held, gid, membersOf(gid));
    if (served.line !== undefined) group.set(String(gid), served.line);
    if (served.isolated.length > 0) isolated.set(gid, served.isolated);
  }
  return { lines: { passwd, shadow, group }, isolated };
}

/** The record of a gid, if there is one, and what of it cannot be served. */
function serveGroup(
  held: Held,
  gid: Gid,
  members: ReadonlySet<Uid>,
): { readonly line: string | undefined; readonly isolated: readonly Isolated[] } {
  const isolated: Isolated[] = [];
  const member = (uid: Uid) => keyOf({ kind: "member", gid, uid });
  const person = userIn(held, gid);
  const group = groupIn(held, gid);
  if (person && (person.gid as number) === gid) {
    // A private group has no members, and nobody may get into it by a group of the same number.
    const reason = `gid ${gid} is the private group of ${person.name}`;
    if (group) isolated.push({ key: keyOf(group), reason });
    for (const uid of members) isolated.push({ key: member(uid), reason });
    return { line: groupLine(person.name, gid, []), isolated };
  }
  if (!group) {
    for (const uid of members) isolated.push({ key: member(uid), reason: `group ${gid} is not known here` });
    return { line: undefined, isolated };
  }
  const names: Name[] = [];
  for (const uid of members) {
    const found = userIn(held, uid);
    if (found) names.push(found.name);
    else isolated.push({ key: member(uid), reason: `user ${uid} is not known here` });
  }
  const line = groupLine(group.name, gid, names.sort());
  if (line.length <= longestLine) return { line, isolated };
  const reason = `its ${names.length} members make a line of ${line.length} bytes; readers take ${longestLine}`;
  return { line: undefined, isolated: [...isolated, { key: keyOf(group), reason }] };
}

const manyLookUps = 1_000;

/** At most so many of some lines, from all over them. */
function some(lines: Lines): Lines {
  const step = Math.ceil(lines.size / manyLookUps);
  return step <= 1 ? lines : new Map([...lines].filter((_, n) => n % step === 0));
}

/** Looks every changed record up by each of its keys, and every one that goes. @throws Error naming the first that is wrong. */
function checkLines(shape: Shape, lines: Lines, { data, indexes: buffers }: Version): void {
  const indexes = shape.indexes.map((indexed, n) => ({ ...indexed, index: buffers[n]?.index ?? Buffer.alloc(0) }));
  for (const [primary, line] of lines) {
    for (const { name, index, field, keyOf: keyIn } of line === undefined ? indexes.slice(0, 1) : indexes) {
      const key = line === undefined ? primary : keyIn(line);
      // An empty index was checked already: it stands for a file without records, and is not worth a scan per key.
      if (line === undefined && index.length === 0) continue;
      const answer = lookUp(shape.map, data, index, key, field);
      const right = line === undefined ? answer.kind === "not-found" : answer.kind === "found" && answer.line === line;
      if (!right) throw new Error(`${shape.map}: looking up ${key} in ${name} gives ${JSON.stringify(answer)}`);
    }
  }
}

function versionOf({ indexes }: Shape, table: Table): Version {
  return {
    data: table.slots.bytes,
    indexes: indexes.map(({ name, field }) => ({ index: indexOf(table, name), field })),
  };
}

function eachMap<T>(make: (map: MapName) => T): Record<MapName, T> {
  return { shadow: make("shadow"), passwd: make("passwd"), group: make("group") };
}

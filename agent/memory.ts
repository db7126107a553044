/**
 * What the agent remembers across restarts: the resources that it applied last, and their position. On disk it is a base
 * (the whole copy at one position) and a journal of what came after it.
 *
 * A step is two frames in the journal: `begin`, with all its edits, once everything is staged and verified, and
 * `done`, once every file is live. `begin` is the point of no return:
 *
 * 1. Before it is durable nothing has changed. After it, the step is finished: at once, by a retry, or at the next start.
 * 2. Between the two, `at` is still the old position: nothing is acked that is not wholly true.
 * 3. Base and frames carry SHA-256 sums, each frame's over the one before it too. A torn last frame was never begun and is
 *    cut off; any other damage is not guessed at: the memory starts at `origin`, says so, and a snapshot follows.
 * 4. A new base replaces the old one before its journal does; a journal names the base that it continues, so that
 *    the old journal beside the new base is recognised as spent.
 * 5. In every format the base's first line names it, and the last one is the sum over all of it. A memory of a newer agent is left
 *    as it is, and this agent does not start. One in a format that is not read any more is as good as damaged.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { type Copy, commit, type Edit, emptyCopy, type Step } from "../identity/copy.ts";
import { parseDigest, shift } from "../identity/digest.ts";
import { origin, type Position, samePosition } from "../identity/position.ts";
import { keyOf, parse, parseKey, print, type Resource } from "../identity/resource.ts";
import type { Disk } from "./disk.ts";
import type { Folders } from "./folders.ts";

/** The highest ids that this node was ever told; a server restored from a backup must not hand them out again. */
export interface Highest {
  readonly uid: number;
  readonly gid: number;
}

export interface Recalled {
  readonly memory: Memory;
  /** Why the memory could not be trusted and starts at `origin`; for the log and the operator. */
  readonly warning: string | undefined;
}

const format = 1;
const formatLine = /^rollcall memory ([0-9]{1,9})\n/;
const leastJournal = 1_048_576;

/**
 * Reads the memory back, cutting off what was never begun. A step that was begun is in the copy, and `unfinished`.
 * @throws Error if a newer agent wrote it: nothing is changed then.
 */
export async function recall(disk: Disk, folders: Folders): Promise<Recalled> {
  const path = { base: join(folders.private, "base"), journal: join(folders.private, "journal") };
  const base = await disk.read(path.base);
  const journal = await disk.read(path.journal);
  try {
    const past = readPast(base?.bytes, journal?.bytes);
    const memory = new Memory(disk, folders, past);
    await memory.settle();
    return { memory, warning: undefined };
  } catch (error) {
    if (error instanceof Newer) {
      const advice = `run that agent again, or remove ${path.base} and ${path.journal} to start anew by a snapshot`;
      throw new Error(`${path.base} is of a newer agent (${error.message}): ${advice}`, { cause: error });
    }
    if (!(error instanceof Damage)) throw error;
    // Kept for whoever wants to know what happened; the next damage replaces it.
    if (base) await disk.rename(path.base, `${path.base}.damaged`);
    const memory = new Memory(disk, folders, fresh());
    await memory.settle();
    return { memory, warning: `the memory cannot be used (${error.message}): a snapshot is needed` };
  }
}

/** A copy that outlives the process. */
export class Memory {
  readonly copy: Copy;
  readonly #disk: Disk;
  readonly #folders: Folders;
  #highest: Highest;
  #unfinished: Step | undefined;
  #base: Base | undefined;
  #journal: Journal | undefined;

  /** @internal Made by {@link recall}. */
  constructor(disk: Disk, folders: Folders, past: Past) {
    this.#disk = disk;
    this.#folders = folders;
    this.copy = past.copy;
    this.#highest = past.highest;
    this.#unfinished = past.unfinished;
    this.#base = past.base;
    this.#journal = past.journal;
  }

  /** The position that may be claimed: where the copy is, or where it was before a step that is not finished. */
  get at(): Position {
    return this.#unfinished?.from ?? this.copy.at;
  }

  get highest(): Highest {
    return this.#highest;
  }

  /** A step that was begun, is in the copy, and is not live in every file yet. */
  get unfinished(): Step | undefined {
    return this.#unfinished;
  }

  /** Whether the journal has outgrown its base: time to {@link compact}. */
  get bulky(): boolean {
    return (this.#journal?.length ?? 0) > Math.max(this.#base?.size ?? 0, leastJournal);
  }

  /** Records that a step begins, and takes it into the copy. If this fails, nothing has changed. */
  async begin(step: Step): Promise<void> {
    if (this.#unfinished) throw new Error("a step is begun while another is unfinished");
    if (!samePosition(step.from, this.copy.at)) throw new Error("a step is begun that was not prepared for this copy");
    await this.#append(printBegin(step));
    commit(this.copy, step);
    this.#highest = raised(this.#highest, step.edits);
    this.#unfinished = step;
  }

  /** Records that the begun step is live. If this fails it stays unfinished, and may be tried again. */
  async done(): Promise<void> {
    if (!this.#unfinished) throw new Error("no step is begun");
    await this.#append(`done\nat ${printPosition(this.copy.at)}\n`);
    this.#unfinished = undefined;
  }

  /** Writes the copy as a new base and starts a new journal. A failure loses nothing; what is left over is done later. */
  async compact(): Promise<void> {
    if (this.#unfinished) throw new Error("the memory is compacted while a step is unfinished");
    const bytes = printBase(this.copy, this.#highest);
    await this.#replace("base", bytes);
    this.#base = { sum: sumAtEnd(bytes), size: bytes.length };
    // From here the journal on the disk continues a base that is gone: nothing may be appended to it.
    this.#journal = undefined;
    await this.settle();
  }

  /** Makes base and journal fit to be appended to: makes those that are missing, cuts off a torn end. */
  async settle(): Promise<void> {
    if (!this.#base) await this.compact();
    if (!this.#journal && this.#base) {
      await this.#disk.sync(this.#folders.private);
      const { sum } = this.#base;
      const frame = printFrame(sum, `journal\nof ${sum}\n`);
      await this.#replace("journal", frame);
      await this.#disk.sync(this.#folders.private);
      this.#journal = { length: frame.length, sum: sumAtEnd(frame), torn: false };
    }
    if (this.#journal?.torn) {
      await this.#disk.cut(join(this.#folders.private, "journal"), this.#journal.length);
      this.#journal = { ...this.#journal, torn: false };
    }
  }

  async #append(body: string): Promise<void> {
    await this.settle();
    if (!this.#journal) throw new Error("there is no journal");
    const { length, sum } = this.#journal;
    const frame = printFrame(sum, body);
    try {
      await this.#disk.append(join(this.#folders.private, "journal"), frame);
    } catch (error) {
      // Some of the frame may lie there. It must be gone before the next one, and best before the next start.
      this.#journal = { length, sum, torn: true };
      await this.settle().catch(() => undefined);
      throw error;
    }
    this.#journal = { length: length + frame.length, sum: sumAtEnd(frame), torn: false };
  }

  async #replace(name: "base" | "journal", bytes: Uint8Array): Promise<void> {
    const staged = join(this.#folders.stage, name);
    await this.#disk.create(staged, bytes, { mode: 0o600 });
    await this.#disk.rename(staged, join(this.#folders.private, name));
  }
}

interface Base {
  readonly sum: string;
  readonly size: number;
}

interface Journal {
  /** Up to here every frame is whole. */
  readonly length: number;
  /** Of the last frame. */
  readonly sum: string;
  /** Something that is not a frame may lie behind `length`. */
  readonly torn: boolean;
}

interface Past {
  readonly copy: Copy;
  readonly highest: Highest;
  readonly unfinished: Step | undefined;
  readonly base: Base | undefined;
  readonly journal: Journal | undefined;
}

/** What was read is not what was written. */
class Damage extends Error {}

/** What was read is whole, and beyond this agent. */
class Newer extends Error {}

function damage(why: string): never {
  throw new Damage(why);
}

function fresh(): Past {
  const highest = { uid: 0, gid: 0 };
  return { copy: emptyCopy(), highest, unfinished: undefined, base: undefined, journal: undefined };
}

function readPast(base: Buffer | undefined, journal: Buffer | undefined): Past {
  if (!base) return journal ? damage("the base is missing beside its journal") : fresh();
  const { copy, highest } = readBase(base);
  const past: Past = {
    copy,
    highest,
    unfinished: undefined,
    base: { sum: sumAtEnd(base), size: base.length },
    journal: undefined,
  };
  if (journal) return replay(past, journal);
  // The very first start can end between its base and its journal; later a journal is only ever replaced.
  return samePosition(copy.at, origin) ? past : damage("the journal is missing beside its base");
}

function printBase(copy: Copy, { uid, gid }: Highest): Buffer {
  const lines = [`rollcall memory ${format}`, `at ${printPosition(copy.at)}`, `highest ${uid} ${gid}`];
  for (const resource of copy.resources.values()) lines.push(print(resource));
  return printFrame("", `${lines.join("\n")}\n`);
}

/** Which format a base says that it has; undefined if it says none. */
function formatOf(body: string): number | undefined {
  const [, found] = formatLine.exec(body) ?? [];
  return found === undefined ? undefined : Number(found);
}

function readBase(bytes: Buffer): { copy: Copy; highest: Highest } {
  const body = bodyOf("", bytes) ?? damage("the base's sum is wrong");
  const found = formatOf(body) ?? damage("the base does not begin with its format");
  if (found > format) throw new Newer(`format ${found}; this one reads ${format}`);
  if (found < format) damage(`format ${found} is of an older agent, and not read any more`);
  const [, at, highest, ...lines] = body.split("\n").slice(0, -1);
  const ids = /^highest ([0-9]+) ([0-9]+)$/.exec(highest ?? "") ?? damage("the base lacks the highest ids");
  const copy = emptyCopy();
  const edits = lines.map((line) => edited(copy, `+ ${line}`));
  const to = parsePosition(at, "at");
  if (endOf(origin, edits) !== to.digest) damage("the base's content is not its digest's");
  commit(copy, { from: origin, to, edits });
  return { copy, highest: { uid: Number(ids[1]), gid: Number(ids[2]) } };
}

function replay(past: Past, journal: Buffer): Past {
  const { copy, base } = past;
  let { highest } = past;
  let unfinished: Step | undefined;
  let sum = base?.sum ?? "";
  let length = 0;
  for (const { frame, last } of framesOf(journal)) {
    const body = bodyOf(sum, frame);
    if (body === undefined) {
      if (length === 0 && isSpent(frame, sum)) return past;
      // A tear ends in nothing: another frame inside what looks like the last one means that a sum line was hurt.
      if (!last || /\n(begin|done)\n/.test(frame.toString("latin1"))) damage("a frame in the journal has a wrong sum");
      break;
    }
    if (body.startsWith("begin\n")) {
      if (unfinished) damage("a step begins in the journal before the last one is done");
      unfinished = readBegin(copy, body);
      highest = raised(highest, unfinished.edits);
      commit(copy, unfinished);
    } else if (body.startsWith("done\n")) {
      if (!unfinished || body !== `done\nat ${printPosition(copy.at)}\n`) damage("a step is done that was not begun");
      unfinished = undefined;
    } else if (length !== 0) damage("the journal holds an unknown frame");
    sum = sumAtEnd(frame);
    length += frame.length;
  }
  if (length === 0) damage("the journal's first frame is torn");
  return { ...past, highest, unfinished, journal: { length, sum, torn: length < journal.length } };
}

/** Whether a journal's first frame is whole, and continues another base: the one before the last compaction. */
function isSpent(frame: Buffer, base: string): boolean {
  const of = /^journal\nof ([0-9a-f]{64})\n/.exec(frame.toString("latin1", 0, 80))?.[1];
  return of !== undefined && of !== base && bodyOf(of, frame) !== undefined;
}

function printBegin({ from, to, edits }: Step): string {
  const lines = edits.map(({ key, after }) => (after ? `+ ${print(after)}\n` : `- ${key}\n`));
  return `begin\nfrom ${printPosition(from)}\nto ${printPosition(to)}\n${lines.join("")}`;
}

function readBegin(copy: Copy, body: string): Step {
  const [, first, second, ...lines] = body.split("\n").slice(0, -1);
  const from = parsePosition(first, "from");
  const to = parsePosition(second, "to");
  if (!samePosition(from, copy.at)) damage("a step in the journal starts elsewhere than the last one ends");
  const edits = lines.map((line) => edited(copy, line));
  if (endOf(from, edits) !== to.digest) damage("a step in the journal does not end at its digest");
  return { from, to, edits };
}

function edited(copy: Copy, line: string): Edit {
  const text = line.slice(2);
  try {
    const after: Resource | undefined = line.startsWith("+ ") ? parse(text) : undefined;
    const key = after ? keyOf(after) : parseKey(text);
    return { key, before: copy.resources.get(key), after };
  } catch (cause) {
    throw new Damage(`a line is no resource: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

function endOf(from: Position, edits: readonly Edit[]): string {
  const came = edits.flatMap(({ after }) => after ?? []);
  const went = edits.flatMap(({ before }) => before ?? []);
  return shift(from.digest, came, went);
}

function raised({ uid, gid }: Highest, edits: readonly Edit[]): Highest {
  for (const { after } of edits) {
    if (after?.kind === "user") uid = Math.max(uid, after.uid);
    if (after?.kind === "user" || after?.kind === "group") gid = Math.max(gid, after.gid);
  }
  return { uid, gid };
}

function printPosition({ epoch, revision, digest }: Position): string {
  return `${epoch.seq} ${epoch.id} ${revision} ${digest}`;
}

function parsePosition(line: string | undefined, word: string): Position {
  const match = /^([a-z]+) ([0-9]+) ([0-9a-f]{32}) ([0-9]+) ([0-9a-f]{64})$/.exec(line ?? "");
  const [, what, seq = "", id = "", revision = "", digest = ""] = match ?? damage(`"${word}" is not a position`);
  if (what !== word) damage(`"${word}" is missing`);
  return { epoch: { seq: BigInt(seq), id }, revision: BigInt(revision), digest: parseDigest(digest) };
}

const sumLine = "sum ".length + 64 + 1;

/** A body and the sum over it and the sum before it. No line of a body starts with `sum `. */
function printFrame(before: string, body: string): Buffer {
  return Buffer.from(`${body}sum ${sumOf(before, body)}\n`);
}

/** The body of a frame; undefined if its sum is wrong. */
function bodyOf(before: string, frame: Buffer): string | undefined {
  const body = frame.toString("utf8", 0, Math.max(0, frame.length - sumLine));
  return frame.length > sumLine && frame.equals(printFrame(before, body)) ? body : undefined;
}

function sumOf(before: string, body: string): string {
  return createHash("sha256").update(before).update(body).digest("hex");
}

function sumAtEnd(frame: Buffer): string {
  return frame.toString("latin1", frame.length - 65, frame.length - 1);
}

/** Splits a journal behind each sum line. `last` says that nothing follows: only there a tear is no damage. */
function* framesOf(journal: Buffer): Generator<{ frame: Buffer; last: boolean }> {
  for (let at = 0; at < journal.length; ) {
    const mark = journal.indexOf("\nsum ", at);
    const end = mark < 0 ? journal.length : Math.min(mark + 1 + sumLine, journal.length);
    yield { frame: journal.subarray(at, end), last: end === journal.length };
    at = end;
  }
}

/**
 * Makes a step true on the node, over all sinks: render, stage, verify, begin, swap, act, done.
 *
 * 1. Every file of every sink is staged, synced and verified before the first one is replaced. Until `begin` is on the disk
 *    a failure leaves everything as it was.
 * 2. Files are replaced in the order of their phases, and every change of a folder is durable before the next phase (but for
 *    those that sink.ts joins) and before an index whose data it is. Every mix that a crash leaves is one that sink.ts calls safe.
 * 3. After `begin` the step is finished: by `repair`, which compares every file with the copy. Until then `memory.at` is the
 *    old position, and no other step is taken.
 * 4. What is no file (sink.ts: acts) follows when every file is live, and before `done`: nothing is acked while somebody who
 *    left still has a session. One sink's failing act keeps no other's from being done.
 *
 * 5. Grants that cannot be verified now (a checker hangs) hold a step up, but not one that takes something away: that goes without
 *    them, the ack names them, and a repair is owed. So do a start and the rest of a step that was begun.
 *
 * All calls are awaited one by one, so that the order of system calls is the same in every run.
 */

import { basename, dirname, join } from "node:path";
import type { Step } from "../identity/copy.ts";
import { origin, type Position, samePosition, showPosition } from "../identity/position.ts";
import type { Resource } from "../identity/resource.ts";
import { type Disk, errnoOf } from "./disk.ts";
import { type Folders, foldersIn, prepareFolders } from "./folders.ts";
import { type Memory, recall } from "./memory.ts";
import { Breach, Gate } from "./policy/gate.ts";
import { type Aftermath, type Isolated, joined, phases, type Rendering, type Sink, type Write } from "./sink.ts";

/** The agent's local half: what it remembers, and what it writes. */
export interface Ground {
  readonly disk: Disk;
  readonly folders: Folders;
  readonly memory: Memory;
  readonly sinks: readonly Sink[];
  /** What the node's own policy lets through to the sinks. */
  readonly gate: Gate;
  /** Group ids by the names that sinks ask for; a name that is missing here means root. */
  readonly gids: ReadonlyMap<string, number>;
}

export interface Applied {
  /** What the node holds now, wholly: it may be acked. */
  readonly at: Position;
  /** By sink: what it could not represent; by `policy`: what the node's policy keeps from all of them. */
  readonly isolated: ReadonlyMap<string, readonly Isolated[]>;
  /** Files that were replaced or removed, relative to the served folder. */
  readonly changed: readonly string[];
  /** Grants were left out: a repair is owed. */
  readonly isOwed: boolean;
  /** The memory could not be compacted. Nothing is lost; it is tried again after the next step. */
  readonly warning: ApplyError | undefined;
}

/** What was being done when it failed; `record` is the memory's, `admit` the policy's. */
export type Act = "admit" | "render" | "stage" | "verify" | "record" | "swap" | "act";

/** A step, or a repair, that failed: who, in which act, at which file, why, and whether trying again may help. */
export class ApplyError extends Error {
  /** The sink's name, or `agent`. */
  readonly sink: string;
  readonly act: Act;
  /** Relative to the served folder, if one file is to blame. */
  readonly path: string | undefined;
  readonly errno: string | undefined;
  /** A full disk or too many open files may pass; what a sink or its consumer refuses will be refused again. */
  readonly retryable: boolean;

  constructor(what: string, where: { sink: string; act: Act; path?: string | undefined }, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`${what}: ${where.sink}: ${where.act}${where.path === undefined ? "" : ` ${where.path}`}: ${why}`, { cause });
    this.name = "ApplyError";
    this.sink = where.sink;
    this.act = where.act;
    this.path = where.path;
    this.errno = errnoOf(cause);
    this.retryable = cause instanceof Breach || (this.errno !== undefined && passing.has(this.errno));
  }
}

// The environment's faults, which an operator or time may end. ENOENT: a folder of ours was taken away and
// is made again, or a sink's checker is missing; ETIMEDOUT: that checker hangs.
const passing = new Set(
  "ENOSPC EDQUOT EMFILE ENFILE ENOMEM EAGAIN EINTR EBUSY EIO EROFS ENOENT EACCES EPERM ENOTDIR EISDIR ETIMEDOUT".split(
    " ",
  ),
);

export interface Started {
  readonly ground: Ground;
  /** Why the memory starts at `origin`, if it had to. */
  readonly warning: string | undefined;
  /** What the first repair did; undefined if the memory is at `origin`: nothing is known, so nothing is touched. */
  readonly repaired: Applied | undefined;
  /** A step was begun and not done: what the repair changed is the rest of it, and nobody's edit. */
  readonly wasUnfinished: boolean;
  /** The first repair failed: the node serves what it has, and {@link repair} is to be tried again. */
  readonly fault: ApplyError | undefined;
}

/**
 * Reads the memory back and makes the live files agree with it, finishing what was begun before a crash.
 * @throws Error if the state folder cannot be read or written at all.
 */
export async function start(options: {
  readonly disk: Disk;
  /** The state folder. */
  readonly state: string;
  readonly sinks: (disk: Disk, served: string, gids: ReadonlyMap<string, number>) => readonly Sink[];
  readonly gids: ReadonlyMap<string, number>;
  readonly gate?: Gate;
}): Promise<Started> {
  const { disk, gids, gate = new Gate() } = options;
  const folders = foldersIn(options.state);
  await disk.folder(options.state, 0o755);
  await prepareFolders(disk, folders);
  const { memory, warning } = await recall(disk, folders);
  const ground = { disk, folders, memory, gids, gate, sinks: options.sinks(disk, folders.served, gids) };
  const wasUnfinished = memory.unfinished !== undefined;
  try {
    return { ground, warning, repaired: await repair(ground, true), wasUnfinished, fault: undefined };
  } catch (error) {
    if (!(error instanceof ApplyError)) throw error;
    return { ground, warning, repaired: undefined, wasUnfinished, fault: error };
  }
}

/** Makes a step true. @throws ApplyError; `memory.unfinished` then says whether {@link repair} has to finish it. */
export async function apply(ground: Ground, step: Step): Promise<Applied> {
  const { memory, sinks } = ground;
  const what = `apply ${showPosition(step.to)}`;
  if (memory.unfinished)
    throw new Error(`${what}: ${showPosition(memory.unfinished.to)} is not finished, repair it first`);
  // Sinks compare with what they wrote under the policy that was.
  await ground.gate.refresh();
  if (ground.gate.isStale) await repair(ground);
  const work = new Work(ground, what);
  let shown: readonly Resource[];
  try {
    const seen = await work.admit(() => ground.gate.step(memory.copy, step));
    shown = seen.step.edits.flatMap(({ after }) => after ?? []);
    for (const sink of sinks) await work.add(sink, () => sink.render(seen.copy, seen.step));
    await work.stage();
    await work.verify(takesAway(step));
    await named(what, { sink: "agent", act: "record" }, () => memory.begin(step));
  } catch (error) {
    await work.drop();
    throw error;
  }
  return finish(ground, work, { step, shown, isWhole: false });
}

/** Somebody or something goes: it must not wait for what comes with it. */
function takesAway({ edits }: Step): boolean {
  return edits.some(({ before, after }) => {
    const isLocked = before?.kind === "user" && !before.locked && after?.kind === "user" && after.locked;
    return isLocked || (before !== undefined && after === undefined);
  });
}

/**
 * Compares the live files with the memory and repairs what differs; finishes a step that was begun. For the start, for
 * retries, and for the drift timer. Undefined if the memory is at `origin`.
 * @param isStart grants that cannot be verified now are left out, as in the rest of a step.
 * @throws ApplyError.
 */
export async function repair(ground: Ground, isStart = false): Promise<Applied | undefined> {
  const { disk, folders, memory, sinks } = ground;
  await ground.gate.refresh();
  if (samePosition(memory.copy.at, origin) && !memory.unfinished) {
    ground.gate.settled();
    return undefined;
  }
  const work = new Work(ground, `repair at ${showPosition(memory.copy.at)}`);
  let shown: Iterable<Resource>;
  try {
    // An earlier try may have left files in the stage, and somebody else may have taken a folder away.
    await named(work.what, { sink: "agent", act: "stage" }, () => prepareFolders(disk, folders));
    const seen = await work.admit(() => ground.gate.copy(memory.copy));
    shown = seen.copy.resources.values();
    for (const sink of sinks) await work.add(sink, () => sink.repair(seen.copy));
    await work.stage();
    await work.verify(isStart || memory.unfinished !== undefined);
  } catch (error) {
    await work.drop();
    throw error;
  }
  const applied = await finish(ground, work, { step: memory.unfinished, shown, isWhole: true });
  ground.gate.settled();
  return applied;
}

async function finish({ memory }: Ground, work: Work, aftermath: Aftermath): Promise<Applied> {
  await work.swap();
  await work.act(aftermath);
  const record = { sink: "agent", act: "record" } as const;
  if (memory.unfinished) await named(work.what, record, () => memory.done());
  let warning: ApplyError | undefined;
  if (memory.bulky) {
    try {
      await named("compact the memory", record, () => memory.compact());
    } catch (error) {
      if (!(error instanceof ApplyError)) throw error;
      warning = error;
    }
  }
  return { at: memory.at, isolated: work.isolated(), changed: work.changed, isOwed: work.isOwed, warning };
}

/** One write of one sink, and where its new content lies until the swap. */
interface Item {
  readonly sink: string;
  readonly write: Write;
  readonly staged: string | undefined;
}

/** The files of one step or repair, from rendering to swap. */
class Work {
  readonly what: string;
  readonly changed: string[] = [];
  readonly #ground: Ground;
  readonly #renderings: { readonly sink: Sink; readonly rendering: Rendering; readonly items: Item[] }[] = [];
  readonly #undone = new Map<string, readonly Isolated[]>();
  /** By sink: its grants that were left out. */
  readonly #leftOut = new Map<string, readonly Isolated[]>();
  #count = 0;
  #denied: readonly Isolated[] = [];

  constructor(ground: Ground, what: string) {
    this.#ground = ground;
    this.what = what;
  }

  isolated(): Map<string, readonly Isolated[]> {
    const bySink = new Map<string, readonly Isolated[]>(
      this.#renderings.map(({ sink: { name }, rendering }) => {
        const undone = [...(this.#leftOut.get(name) ?? []), ...(this.#undone.get(name) ?? [])];
        return [name, [...rendering.isolated, ...undone]];
      }),
    );
    return this.#denied.length === 0 ? bySink : bySink.set("policy", this.#denied);
  }

  get isOwed(): boolean {
    return this.#leftOut.size > 0;
  }

  /** What the policy lets sinks see. */
  async admit<T extends { readonly isolated: readonly Isolated[] }>(look: () => T): Promise<T> {
    const seen = await named(this.what, { sink: "policy", act: "admit" }, async () => look());
    this.#denied = seen.isolated;
    return seen;
  }

  async add(sink: Sink, render: () => Promise<Rendering>): Promise<void> {
    const rendering = await named(this.what, { sink: sink.name, act: "render" }, render);
    const items = rendering.writes.map((write): Item => {
      const staged = join(this.#ground.folders.stage, `${this.#count++}.${basename(write.path)}`);
      return { sink: sink.name, write, staged: write.bytes && staged };
    });
    this.#renderings.push({ sink, rendering, items });
  }

  async stage(): Promise<void> {
    const { disk, folders, gids } = this.#ground;
    const made = new Set<string>();
    for (const { sink, write, staged } of this.#items()) {
      const { path, bytes, mode, group } = write;
      const folder = dirname(join(folders.served, path));
      await named(this.what, { sink, act: "stage", path }, async () => {
        if (!made.has(folder)) await disk.folder(folder, 0o755);
        made.add(folder);
        if (staged === undefined || !bytes) return;
        await disk.create(staged, bytes, group === undefined ? { mode } : { mode, gid: gids.get(group) ?? 0 });
      });
    }
  }

  /** @param isUrgent it does not wait for grants that cannot be verified now: they are left out. */
  async verify(isUrgent: boolean): Promise<void> {
    for (const { sink, rendering, items } of this.#renderings) {
      const verify = () => {
        const staged = new Map(items.flatMap((item) => (item.staged ? [[item.write, item.staged] as const] : [])));
        return named(this.what, { sink: sink.name, act: "verify" }, () => sink.verify(rendering, staged));
      };
      try {
        await verify();
      } catch (error) {
        if (!isUrgent || !(error instanceof ApplyError && error.retryable) || !rendering.granting?.length) throw error;
        const isGrant = ({ write }: Item) => write.phase.startsWith("grant-");
        await this.#unstage(items.filter(isGrant));
        items.splice(0, items.length, ...items.filter((item) => !isGrant(item)));
        const reason = `waits: ${error.message}`;
        this.#leftOut.set(
          sink.name,
          rendering.granting.map((key) => ({ key, reason })),
        );
        await verify();
      }
    }
  }

  async swap(): Promise<void> {
    const { disk, folders } = this.#ground;
    for (const { sink, rendering } of this.#renderings) {
      for (const path of rendering.touches ?? []) {
        const where = { sink: sink.name, act: "swap", path } as const;
        await named(this.what, where, () => disk.touch(join(folders.served, path)));
      }
    }
    const unsynced = new Map<string, Item>();
    for (const phase of phases) {
      for (const item of this.#items().filter(({ write }) => write.phase === phase)) {
        const { sink, write, staged } = item;
        const { path } = write;
        const live = join(folders.served, path);
        await named(this.what, { sink, act: "swap", path }, async () => {
          // An index and its data: a power cut must not keep the second change and lose the first.
          if (relatedTo(path).some((other) => unsynced.has(other))) await this.#sync(unsynced);
          if (staged === undefined) await disk.remove(live);
          else await disk.rename(staged, live);
        });
        unsynced.set(path, item);
        this.changed.push(path);
      }
      if (!joined.has(phase)) await this.#sync(unsynced);
    }
    for (const { sink, rendering } of this.#renderings) sink.settled(rendering, !this.#leftOut.has(sink.name));
  }

  /** Lets every sink act. @throws ApplyError: the first one's, once all have. */
  async act(aftermath: Aftermath): Promise<void> {
    const failures: ApplyError[] = [];
    for (const { sink } of this.#renderings) {
      const { name } = sink;
      try {
        const undone = await named(this.what, { sink: name, act: "act" }, async () => sink.act?.(aftermath));
        this.#undone.set(name, undone ?? []);
      } catch (error) {
        if (!(error instanceof ApplyError)) throw error;
        failures.push(error);
      }
    }
    const [first] = failures;
    if (first) throw first;
  }

  /** Takes back what was staged, as far as it goes: the next start empties the stage. */
  async drop(): Promise<void> {
    await this.#unstage(this.#items());
  }

  async #unstage(items: readonly Item[]): Promise<void> {
    for (const { staged } of items) {
      if (staged !== undefined) await this.#ground.disk.remove(staged).catch(() => undefined);
    }
  }

  #items(): readonly Item[] {
    return this.#renderings.flatMap(({ items }) => items);
  }

  async #sync(unsynced: Map<string, Item>): Promise<void> {
    const folders = new Map([...unsynced].map(([path, item]) => [dirname(path), item]));
    for (const [folder, { sink }] of folders) {
      const live = join(this.#ground.folders.served, folder);
      await named(this.what, { sink, act: "swap", path: folder }, () => this.#ground.disk.sync(live));
    }
    unsynced.clear();
  }
}

/** A file, and its indexes or the data of which it is one. No user's name holds a dot, so key files stand alone. */
function relatedTo(path: string): string[] {
  const data = path.replace(/\.ix[a-z]+$/, "");
  return data === path ? ["", ".ixname", ".ixuid", ".ixgid"].map((suffix) => path + suffix) : [path, data];
}

async function named<T>(
  what: string,
  where: { sink: string; act: Act; path?: string },
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof ApplyError) throw cause;
    throw new ApplyError(what, where, cause);
  }
}

/**
 * Makes the homes of people whom the node sees first, if its own policy says so. It is an act: the account is there already, and the step
 * is acked after it. Nothing waits for a home for long, nobody waits for another's: what fails is named in the ack, and tried
 * again, at each step and each minute. Of many at once, or on a file server that does not answer, the rest are made after the ack.
 */

import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { Uid } from "../../../identity/id.ts";
import { keyOf, type User } from "../../../identity/resource.ts";
import type { Clock } from "../../clock.ts";
import type { Homes } from "../../policy/policy.ts";
import { type Aftermath, type Isolated, noFiles, type Rendering, type Sink } from "../../sink.ts";
import { makeHome } from "./make.ts";
import { isMounted } from "./mounts.ts";
import { type Entry, readSkeleton } from "./skeleton.ts";

export interface HomesOptions {
  /** What the policy says now; undefined: no homes are made. */
  readonly rule: () => Homes | undefined;
  /** The node's name. */
  readonly tag: string;
  /** A folder of the node's own root file system. */
  readonly own: string;
  readonly clock: Clock;
  /** Ends the later tries. */
  readonly signal: AbortSignal;
  readonly tell: (what: "home made" | "a home cannot be made", facts: object) => void;
}

/** How long an ack waits for homes, milliseconds. */
const patience = 2_000;
const retryAfter = 60_000;
/** From so many in one folder, it is listed instead of asking for each. */
const many = 50;

export function homesSink(options: HomesOptions): Sink {
  return new HomesSink(options);
}

class HomesSink implements Sink {
  readonly name = "homes";
  readonly #options: HomesOptions;
  readonly #wanted = new Map<Uid, User>();
  readonly #failed = new Map<Uid, { readonly user: User; readonly reason: string }>();
  #current: { readonly user: User; readonly since: number } | undefined;
  #work: Promise<void> | undefined;
  #isWaiting = false;

  constructor(options: HomesOptions) {
    this.#options = options;
  }

  async render(): Promise<Rendering> {
    return noFiles;
  }

  async verify(): Promise<void> {}

  settled(): void {}

  async repair(): Promise<Rendering> {
    return noFiles;
  }

  async act({ step, shown, isWhole }: Aftermath): Promise<readonly Isolated[]> {
    const { rule, clock } = this.#options;
    if (isWhole) {
      this.#wanted.clear();
      this.#failed.clear();
    }
    for (const { before, after } of step?.edits ?? []) {
      const gone = before?.kind === "user" && !after ? before.uid : undefined;
      if (gone !== undefined) {
        this.#wanted.delete(gone);
        this.#failed.delete(gone);
        if (this.#current?.user.uid === gone) this.#current = undefined;
      }
    }
    const homes = rule();
    if (!homes) return [];
    for (const user of shown) if (user.kind === "user" && isFor(homes, user)) this.#wanted.set(user.uid, user);
    this.#again();
    if (this.#wanted.size > 0 && !this.#isStuck()) {
      const done = new AbortController();
      await Promise.race([this.#run(), clock.sleep(patience, done.signal)]);
      done.abort();
    }
    const stuck = this.#current && this.#isStuck() ? [this.#current.user] : [];
    return [
      ...[...this.#failed.values()].map(({ user, reason }) => ({ key: keyOf(user), reason })),
      ...stuck.map((user) => ({ key: keyOf(user), reason: `home ${user.home}: the file system does not answer` })),
    ];
  }

  #isStuck(): boolean {
    return this.#current !== undefined && this.#options.clock.elapsed() - this.#current.since >= patience;
  }

  /** What failed is wanted again. */
  #again(): void {
    for (const [uid, { user }] of this.#failed) if (!this.#wanted.has(uid)) this.#wanted.set(uid, user);
  }

  /** Makes what is wanted, one after another; one run at a time, so that a file system that hangs holds one thread. */
  #run(): Promise<void> {
    this.#work ??= this.#makeAll().finally(() => {
      this.#work = undefined;
      if (this.#failed.size > 0) void this.#retryLater();
    });
    return this.#work;
  }

  async #retryLater(): Promise<void> {
    const { clock, signal } = this.#options;
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    await clock.sleep(retryAfter, signal);
    this.#isWaiting = false;
    if (signal.aborted || this.#work) return;
    this.#again();
    if (this.#wanted.size > 0) await this.#run();
  }

  async #makeAll(): Promise<void> {
    const { rule, signal, clock } = this.#options;
    const listed = new Map<string, ReadonlySet<string>>();
    let skeleton: Entry[] | undefined;
    while (this.#wanted.size > 0) {
      for (const user of [...this.#wanted.values()]) {
        const homes = rule();
        if (signal.aborted || !homes) return;
        // Meanwhile somebody may have left, or be called otherwise.
        if (this.#wanted.get(user.uid) !== user) continue;
        this.#wanted.delete(user.uid);
        const current = { user, since: clock.elapsed() };
        this.#current = current;
        try {
          const parent = dirname(user.home);
          if (!listed.get(parent)?.has(user.home)) {
            await mustBeMounted(homes, user.home, this.#options.own);
            if (this.#wanted.size >= many && !listed.has(parent)) listed.set(parent, await foldersIn(parent));
          }
          if (!listed.get(parent)?.has(user.home)) {
            skeleton ??= await readSkeleton(homes.skeleton);
            await this.#make(user, { skeleton, mode: homes.mode });
          }
          this.#failed.delete(user.uid);
        } catch (err) {
          if (this.#current === current) this.#fail(user, err instanceof Error ? err.message : String(err));
        } finally {
          if (this.#current === current) this.#current = undefined;
        }
      }
    }
  }

  #fail(user: User, why: string): void {
    const reason = `home ${user.home}: ${why}`;
    const isNews = this.#failed.get(user.uid)?.reason !== reason;
    this.#failed.set(user.uid, { user, reason });
    if (isNews) this.#options.tell("a home cannot be made", { uid: user.uid, reason });
  }

  async #make({ home, uid, gid }: User, how: { readonly skeleton: readonly Entry[]; readonly mode: number }) {
    const made = await makeHome({ path: home, uid, gid }, { ...how, tag: this.#options.tag });
    if (made === "made") this.#options.tell("home made", { uid, home });
  }
}

function isFor({ below }: Homes, { home, locked }: User): boolean {
  return !locked && below.some((folder) => home.startsWith(`${folder}/`));
}

async function mustBeMounted({ mounted }: Homes, home: string, own: string): Promise<void> {
  for (const point of mounted.filter((each) => home.startsWith(`${each}/`))) {
    if (!(await isMounted(point, own))) throw new Error(`${point} is not mounted`);
  }
}

async function foldersIn(parent: string): Promise<ReadonlySet<string>> {
  const entries = await readdir(parent, { withFileTypes: true }).catch(() => []);
  return new Set(entries.filter((entry) => entry.isDirectory()).map(({ name }) => `${parent}/${name}`));
}

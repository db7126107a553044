import { describe, expect, test } from "vitest";
import { parseUid, type Uid } from "../../../identity/id.ts";
import type { Clock } from "../../clock.ts";
import { endAll } from "./end.ts";
import type { Process, Processes } from "./processes.ts";
import type { Sweep } from "./sweep.ts";

const leaver = parseUid(200_001);
const other = parseUid(200_002);

/** How a process takes it. */
type Kind =
  | "polite"
  | "deaf"
  /** Has a child at each look, unless it is stopped. */
  | "forks"
  /** Is another one at each look. */
  | "hops"
  /** Killed, it waits in the kernel for ever. */
  | "waits"
  /** Root's, which acts as the user at every second look. */
  | "turns"
  /** Root's, which stays the user. */
  | "stays";

interface Simulated {
  readonly process: Process;
  readonly kind: Kind;
}

/** A table of processes that live by the rules above, and a kernel that can sweep. */
class World {
  readonly log: string[] = [];
  sweeps = 0;
  mostAtOnce = 0;
  #table: Simulated[] = [];
  #next = 100;
  #looks = 0;
  #now = 0;

  readonly clock: Clock = {
    now: () => this.#now,
    elapsed: () => this.#now,
    sleep: async (ms) => {
      this.#now += ms;
    },
    random: () => 0.5,
  };

  readonly processes: Processes = {
    of: (uids) => {
      this.#looks++;
      for (const each of [...this.#table]) this.#live(each);
      this.mostAtOnce = Math.max(this.mostAtOnce, this.#table.length);
      const isSeen = ({ process, kind }: Simulated) =>
        uids.has(process.uid) && kind !== "hops" && (kind !== "turns" || this.#looks % 2 === 1);
      return this.#table.filter(isSeen).map(({ process }) => process);
    },
    signal: ({ pid }, signal) => {
      const at = this.#table.find(({ process }) => process.pid === pid);
      if (!at) return;
      this.log.push(`${signal} ${at.kind}`);
      if (signal === "SIGTERM" && at.kind === "polite") this.#drop(at);
      if (signal === "SIGSTOP") this.#put(at, "stopped");
      if (signal === "SIGKILL") this.#kill(at);
    },
  };

  readonly sweep: Sweep = async (uid) => {
    this.sweeps++;
    for (const each of [...this.#table]) {
      if (each.process.uid === uid && each.process.as === "own") this.#kill(each);
    }
    return "done";
  };

  add(kind: Kind, uid: Uid = leaver): this {
    const as = kind === "turns" || kind === "stays" ? "acting" : "own";
    const pid = this.#next++;
    this.#table.push({ kind, process: { pid, start: String(pid), uid, as, state: "running" } });
    return this;
  }

  kinds(): Kind[] {
    return this.#table.map(({ kind }) => kind);
  }

  get now(): number {
    return this.#now;
  }

  #live({ kind, process: { uid, state } }: Simulated): void {
    if (kind === "forks" && state === "running" && this.#table.length < 5_000) this.add("forks", uid);
  }

  #kill(at: Simulated): void {
    if (at.kind === "waits") this.#put(at, "doomed");
    else this.#drop(at);
  }

  #drop(gone: Simulated): void {
    this.#table = this.#table.filter(({ process }) => process.pid !== gone.process.pid);
  }

  #put(changed: Simulated, state: Process["state"]): void {
    this.#drop(changed);
    this.#table.push({ ...changed, process: { ...changed.process, state } });
  }
}

const all = new Set([leaver]);
const unable: Sweep = async () => "unable";

describe("every process of a leaver ends", () => {
  test("who can, by itself", async () => {
    const world = new World().add("polite").add("polite").add("deaf", other);
    expect(await endAll(all, world)).toEqual({ found: 2, doomed: [] });
    expect(world.kinds()).toEqual(["deaf"]);
    expect(world.log).toEqual(["SIGTERM polite", "SIGTERM polite"]);
    expect(world.now, "nobody is waited for who is gone").toBeLessThan(200);
  });

  test("who does not listen, by force, once the grace is over", async () => {
    const world = new World().add("deaf").add("polite");
    await endAll(all, world);
    expect(world.kinds()).toEqual([]);
    expect(world.log).toEqual(["SIGTERM deaf", "SIGTERM polite", "SIGSTOP deaf", "SIGKILL deaf"]);
    expect(world.now).toBeGreaterThanOrEqual(1_000);
    expect(world.now).toBeLessThan(1_500);
  });

  test.each([true, false])("who forks at every look is stopped first (swept: %s)", async (canSweep) => {
    const world = new World().add("forks").add("deaf", other);
    const { processes, clock, sweep } = world;
    await endAll(all, { processes, clock, sweep: canSweep ? sweep : unable });
    expect(world.kinds()).toEqual(["deaf"]);
    const firstKill = world.log.findIndex((line) => line.startsWith("SIGKILL"));
    expect(world.log.slice(firstKill).some((line) => line.startsWith("SIGSTOP"))).toBe(false);
  });

  test("who is never where one looks, by the kernel, which nobody escapes", async () => {
    const world = new World().add("hops");
    expect(await endAll(all, world)).toEqual({ found: 0, doomed: [] });
    expect(world.kinds()).toEqual([]);
  });

  test("of two at once, and of nobody else", async () => {
    const [first, second, third] = [leaver, parseUid(200_003), other];
    const world = new World().add("deaf", first).add("hops", second).add("hops", third).add("deaf", third);
    await endAll(new Set([first, second]), world);
    expect(world.kinds()).toEqual(["hops", "deaf"]);
    expect(world.sweeps).toBe(2);
  });
});

test("what is killed and waits in the kernel is named, and not waited for", async () => {
  const world = new World().add("waits").add("deaf");
  const { doomed } = await endAll(all, world);
  expect(doomed).toMatchObject([{ uid: leaver, state: "doomed" }]);
  expect(world.now).toBeLessThan(4_000);
});

test("root's process is spared if it turns back, and not if it stays the user", async () => {
  const world = new World().add("turns").add("stays");
  await endAll(all, world);
  expect(world.kinds()).toEqual(["turns"]);
  expect(world.log).not.toContain("SIGTERM stays");
});

test.each([-3_600_000, 3_600_000])(
  "a clock that is set by %i ms meanwhile hurries nobody, and keeps nobody waiting",
  async (jump) => {
    const world = new World().add("deaf").add("polite");
    const { processes, sweep } = world;
    let pauses = 0;
    const clock: Clock = {
      ...world.clock,
      now: () => world.clock.now() + (pauses > 3 ? jump : 0),
      sleep: async (ms, signal) => {
        pauses++;
        await world.clock.sleep(ms, signal);
      },
    };
    await endAll(all, { processes, sweep, clock, patience: { grace: 4_000, burial: 2_000, limit: 15_000 } });
    expect(world.kinds()).toEqual([]);
    expect(world.now).toBeGreaterThan(1_900);
    expect(world.now).toBeLessThan(5_000);
  },
);

test("it is given up after a while, saying who goes on", async () => {
  const world = new World().add("deaf");
  const { clock } = world;
  const processes: Processes = { ...world.processes, signal: () => undefined };
  await expect(endAll(all, { processes, clock, sweep: unable })).rejects.toThrow(
    "1 processes go on after 15 s: 100 of uid 200001",
  );
  expect(world.now).toBeLessThan(20_000);
});

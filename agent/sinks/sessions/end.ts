/**
 * Ends every process of some users: asks first, and then does not ask any more. Who forks faster than one can kill is stopped
 * first: a stopped process has no children, so each look finds fewer that run.
 *
 * What is killed and still there waits in the kernel (a file server that does not answer, say). It runs nothing of its
 * program any more, so it is named and not waited for: else one leaver's dead mount would keep the node from hearing of the next.
 */

import type { Uid } from "../../../identity/id.ts";
import type { Clock } from "../../clock.ts";
import type { Process, Processes } from "./processes.ts";
import type { Sweep } from "./sweep.ts";

/** Milliseconds. */
export interface Patience {
  /** How long a process may take to end by itself after SIGTERM. */
  readonly grace: number;
  /** How long what is killed may take to be gone. */
  readonly burial: number;
  /** After how long it is given up, to be tried again later. */
  readonly limit: number;
}

export const usualPatience: Patience = { grace: 1_000, burial: 2_000, limit: 15_000 };

export interface Ending {
  readonly processes: Processes;
  readonly sweep: Sweep;
  readonly clock: Clock;
  readonly patience?: Patience;
}

export interface Ended {
  /** How many there were at the first look. */
  readonly found: number;
  /** Killed, but not gone: they wait in the kernel. */
  readonly doomed: readonly Process[];
}

const pause = 50;
const never = new AbortController().signal;

/** @throws Error if some go on after all, naming a few. */
export async function endAll(uids: ReadonlySet<Uid>, ending: Ending): Promise<Ended> {
  const { processes, clock, patience = usualPatience } = ending;
  const time = new Stopwatch(clock);
  const crowd = new Crowd(uids, processes);
  let left = crowd.look();
  const found = left.length;
  crowd.send(
    left.filter(({ as }) => as === "own"),
    "SIGTERM",
  );
  while (left.length > 0 && time.spent < patience.grace) {
    await time.pause(pause);
    left = crowd.look();
  }
  do {
    left = await stopAll(crowd, time);
    crowd.send(left, "SIGKILL");
    const isSwept = await sweepAll(uids, ending);
    left = await buried(crowd, left, isSwept, time, patience);
    if (left.every(({ state }) => state === "doomed")) return { found, doomed: left };
    await time.pause(pause / 5);
    // Others came: somebody was signing in, or there is no sweeping here and they fork.
  } while (time.spent < patience.limit);
  const some = left.slice(0, 5).map(({ pid, uid }) => `${pid} of uid ${uid}`);
  throw new Error(`${left.length} processes go on after ${patience.limit / 1000} s: ${some.join(", ")}`);
}

/** How long it takes. */
class Stopwatch {
  readonly #clock: Clock;
  readonly #from: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#from = clock.elapsed();
  }

  get spent(): number {
    return this.#clock.elapsed() - this.#from;
  }

  async pause(ms: number): Promise<void> {
    await this.#clock.sleep(ms, never);
  }
}

/** The processes of some users over several looks. */
class Crowd {
  readonly #uids: ReadonlySet<Uid>;
  readonly #processes: Processes;
  #acting: ReadonlySet<string> | undefined;

  constructor(uids: ReadonlySet<Uid>, processes: Processes) {
    this.#uids = uids;
    this.#processes = processes;
  }

  /** The users' own, and of root's those that acted as one of them at every look so far: who turns back is nobody's session. */
  look(): Process[] {
    const all = this.#processes.of(this.#uids);
    const acting = all.filter(({ as }) => as === "acting").map(nameOf);
    const before = this.#acting;
    const steady = new Set(acting.filter((name) => before?.has(name) ?? true));
    this.#acting = steady;
    return all.filter((each) => each.as === "own" || steady.has(nameOf(each)));
  }

  send(processes: readonly Process[], signal: "SIGTERM" | "SIGSTOP" | "SIGKILL"): void {
    for (const process of processes) this.#processes.signal(process, signal);
  }
}

const mostRounds = 100;

/** Stops all that run, until a look finds none that does; those that are there then. */
async function stopAll(crowd: Crowd, time: Stopwatch): Promise<Process[]> {
  let all = crowd.look();
  for (let round = 0; round < mostRounds; round++) {
    const running = all.filter(({ state }) => state === "running");
    if (running.length === 0) break;
    crowd.send(running, "SIGSTOP");
    await time.pause(0);
    all = crowd.look();
  }
  return all;
}

async function sweepAll(uids: ReadonlySet<Uid>, { sweep }: Ending): Promise<boolean> {
  let isSwept = true;
  for (const uid of uids) if ((await sweep(uid)) !== "done") isSwept = false;
  return isSwept;
}

/** Waits until the killed are gone; those that are not, and who came anew. */
async function buried(
  crowd: Crowd,
  killed: readonly Process[],
  isSwept: boolean,
  time: Stopwatch,
  { burial }: Patience,
): Promise<Process[]> {
  const end = time.spent + burial;
  const names = new Set(killed.map(nameOf));
  for (let empty = 0; ; ) {
    const left = crowd.look();
    // The kernel let nobody slip through a sweep. Without it, one empty look may have missed who forks: three will not.
    empty = left.length === 0 ? empty + 1 : 0;
    if (empty > (isSwept ? 0 : 2)) return [];
    if (left.some((each) => each.state !== "doomed" && !names.has(nameOf(each)))) return left;
    // What the sweep found is killed, whatever it looks like.
    const isKilled = ({ as }: Process) => isSwept && as === "own";
    if (time.spent >= end) return left.map((each) => (isKilled(each) ? { ...each, state: "doomed" } : each));
    await time.pause(left.length === 0 ? 1 : pause / 5);
  }
}

function nameOf({ pid, start }: Process): string {
  return `${pid} ${start}`;
}

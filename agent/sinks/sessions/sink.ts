/**
 * Ends what people who leave still have running on this node: a shell, a connection that others are multiplexed over, what
 * was left behind under nohup. It is an act: keys, sudo and the account are gone by then, and the step is acked after it.
 *
 * Whose: a user who was taken away or became locked, as the control plane says it. Never uid 0, a number outside what people
 * may have here, or one that is also a local account's; never because the node's own policy came to hide somebody.
 *
 * Who was just signing in, with a key that sshd read before it went, may come in after the last look. So the same uids are looked
 * for a little longer, as long as sshd gives anybody to sign in.
 */

import type { Step } from "../../../identity/copy.ts";
import type { Uid } from "../../../identity/id.ts";
import { keyOf, type ResourceKey } from "../../../identity/resource.ts";
import type { SessionRule } from "../../policy/policy.ts";
import { type Aftermath, type Isolated, noFiles, type Rendering, type Sink } from "../../sink.ts";
import { type Ending, endAll } from "./end.ts";

export interface SessionsOptions extends Ending {
  /** @throws Error if that is not known yet: then a step in which somebody leaves waits. */
  readonly rule: () => SessionRule;
  /** Why this agent can end nothing; undefined if it can. */
  readonly whyUnable: () => string | undefined;
  /** Whether a uid may be touched here at all. */
  readonly mayEnd: (uid: Uid) => boolean;
  /** For the agent's log. */
  readonly tell: (what: "sessions ended" | "late sessions ended" | "ending sessions failed", facts: object) => void;
  /** Ends the later looks. */
  readonly signal: AbortSignal;
}

/** sshd's LoginGraceTime, and a little more. */
const lateness = 130_000;
const longestPause = 5_000;

export function sessionsSink(options: SessionsOptions): Sink {
  return new SessionsSink(options);
}

class SessionsSink implements Sink {
  readonly name = "sessions";
  readonly #options: SessionsOptions;
  /** Who left, until when (on the clock that nobody sets) they are looked for. */
  readonly #late = new Map<Uid, number>();
  #isLooking = false;
  #pause = 0;
  #wake = new AbortController();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  async render(_: unknown, step: Step): Promise<Rendering> {
    // Whoever comes back may sign in as soon as the files are swapped.
    for (const { after } of step.edits) if (after?.kind === "user" && !after.locked) this.#late.delete(after.uid);
    return noFiles;
  }

  async verify(): Promise<void> {}

  settled(): void {}

  async repair(): Promise<Rendering> {
    return noFiles;
  }

  async act({ step }: Aftermath): Promise<readonly Isolated[]> {
    const { clock, rule, mayEnd, tell, whyUnable } = this.#options;
    const leavers = step ? leaversIn(step) : new Map<Uid, ResourceKey>();
    const uids = new Set([...leavers.keys()].filter(mayEnd));
    if (uids.size === 0 || rule() === "leave") return [];
    const unable = whyUnable();
    // No later try would help, and whoever is to leave next must not wait for an operator.
    if (unable !== undefined) return [...uids].flatMap((uid) => notEnded(leavers.get(uid), unable));
    const { found, doomed } = await endAll(uids, this.#options);
    if (found > 0) tell("sessions ended", { uids: [...uids], processes: found });
    for (const uid of uids) this.#late.set(uid, clock.elapsed() + lateness);
    this.#pause = 100;
    this.#wake.abort();
    void this.#lookLater();
    return [...uids].flatMap((uid) => {
      const pids = doomed.filter((each) => each.uid === uid).map(({ pid }) => pid);
      const waiting = `killed, and still waiting in the kernel: process ${pids.slice(0, 5).join(", ")}`;
      return pids.length === 0 ? [] : notEnded(leavers.get(uid), waiting);
    });
  }

  /** Resolves when nobody is looked for any more. */
  async #lookLater(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const { clock, signal, processes, rule, mayEnd, tell } = this.#options;
    while (this.#late.size > 0) {
      this.#wake = new AbortController();
      await clock.sleep(this.#pause, AbortSignal.any([signal, this.#wake.signal]));
      if (signal.aborted) break;
      this.#pause = Math.min(2 * this.#pause, longestPause);
      try {
        for (const [uid, until] of this.#late) if (clock.elapsed() > until || !mayEnd(uid)) this.#late.delete(uid);
        if (rule() === "leave") this.#late.clear();
        const uids = new Set(processes.of(new Set(this.#late.keys())).map(({ uid }) => uid));
        if (uids.size === 0) continue;
        const { found } = await endAll(uids, this.#options);
        tell("late sessions ended", { uids: [...uids], processes: found });
      } catch (err) {
        tell("ending sessions failed", { err });
      }
    }
    this.#isLooking = false;
  }
}

function notEnded(key: ResourceKey | undefined, reason: string): Isolated[] {
  return key === undefined ? [] : [{ key, reason: `sessions: ${reason}` }];
}

/** Who goes in a step, or becomes locked. */
function leaversIn({ edits }: Step): Map<Uid, ResourceKey> {
  return new Map(
    edits.flatMap(({ before, after }) => {
      if (before?.kind !== "user") return [];
      const isLeaving = after?.kind === "user" ? after.locked && !before.locked : !after;
      return isLeaving ? [[before.uid, keyOf(before)] as const] : [];
    }),
  );
}

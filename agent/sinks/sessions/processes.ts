/**
 * The processes of some users, as /proc shows them in the agent's own pid namespace. A process is a pid and when it
 * started: the number alone may be somebody else's a moment later, so it is looked at again right before each signal, with
 * nothing in between (Node has no pidfd).
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Uid } from "../../../identity/id.ts";

export interface Process {
  readonly pid: number;
  /** When it started, in clock ticks since boot: with the pid, one process and no other. */
  readonly start: string;
  /** Whose it is, of those who were asked for. */
  readonly uid: Uid;
  /**
   * `own`: its real or saved user; `acting`: root's, which has only taken on the user for a while (sshd that reads a file, a file
   * server), and can turn back.
   */
  readonly as: "own" | "acting";
  /** `stopped` runs nothing; `doomed` is killed already, and runs nothing of its program any more. */
  readonly state: "running" | "stopped" | "doomed";
}

export interface Processes {
  /** All that live and are of one of these users; not the dead that wait for their parent. */
  of(uids: ReadonlySet<Uid>): Process[];
  /** Sends a signal if it still is that process. A process that ended meanwhile is no error. @throws Error: EPERM. */
  signal(process: Process, signal: "SIGTERM" | "SIGSTOP" | "SIGKILL"): void;
}

/** @param proc where proc(5) is mounted. */
export function processesIn(proc = "/proc"): Processes {
  return {
    of: (uids) => {
      const pids = readdirSync(proc).filter((name) => /^[1-9][0-9]*$/.test(name));
      return pids.flatMap((pid) => (Number(pid) === process.pid ? [] : (look(proc, Number(pid), uids) ?? [])));
    },
    signal: (found, signal) => {
      const now = look(proc, found.pid, new Set([found.uid]));
      if (now?.start !== found.start || now.as !== found.as) return;
      try {
        process.kill(found.pid, signal);
      } catch (cause) {
        if (cause instanceof Error && "code" in cause && cause.code === "ESRCH") return;
        throw new Error(`${signal} to process ${found.pid} of uid ${found.uid}`, { cause });
      }
    },
  };
}

/** The process of a number, if it lives and is one of theirs. */
function look(proc: string, pid: number, uids: ReadonlySet<Uid>): Process | undefined {
  try {
    const status = readFileSync(join(proc, String(pid), "status"), "latin1");
    // Most are not: the second file is read for the few only.
    if (!ownersIn(status).some((uid) => uids.has(uid as Uid))) return undefined;
    return readProcess(pid, status, readFileSync(join(proc, String(pid), "stat"), "latin1"), uids);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH"))
      return undefined;
    throw error;
  }
}

const exiting = 0x4; // PF_EXITING
const sigkill = 1n << 8n;

/** @internal One process, of the two files of proc(5); undefined if it is dead, or nobody's that was asked for. */
export function readProcess(pid: number, status: string, stat: string, uids: ReadonlySet<Uid>): Process | undefined {
  const [real = 0, effective = 0, saved = 0, fs = 0] = ownersIn(status);
  const owner = [real, saved].find((uid) => uids.has(uid as Uid));
  const actor = [effective, fs].find((uid) => uids.has(uid as Uid));
  const uid = owner ?? actor;
  if (uid === undefined) return undefined;
  const [state = ""] = /(?<=^State:\t)\S/m.exec(status) ?? [];
  const threads = Number(/(?<=^Threads:\t)\d+/m.exec(status)?.[0]);
  // The first thread may have ended before the others: then it looks dead, and the process is not.
  const isAlone = !(threads > 1);
  if (/[ZXx]/.test(state) && isAlone) return undefined;
  // The name, in parentheses, may hold anything; the fields after it are those of proc(5) from the third on.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const pending = [...status.matchAll(/^(?:SigPnd|ShdPnd):\t([0-9a-f]+)/gm)].map(([, mask]) => BigInt(`0x${mask}`));
  const isKilled = pending.some((mask) => (mask & sigkill) !== 0n) || (isAlone && (Number(fields[6]) & exiting) !== 0);
  return {
    pid,
    start: fields[19] ?? "",
    uid: uid as Uid,
    as: owner === undefined && real === 0 ? "acting" : "own",
    state: isKilled ? "doomed" : /[Tt]/.test(state) ? "stopped" : "running",
  };
}

/** Real, effective, saved and file system uid. */
function ownersIn(status: string): number[] {
  const [, uids = ""] = /^Uid:\t([0-9\t]+)$/m.exec(status) ?? [];
  return uids.split("\t").map(Number);
}

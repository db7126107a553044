/** The sinks of a node that serves, in the order in which they render and act, as its own policy and its powers have them. */

import { existsSync, readFileSync } from "node:fs";
import type { Logger } from "pino";
import type { Role } from "../../identity/scope.ts";
import type { Clock } from "../clock.ts";
import type { Disk } from "../disk.ts";
import type { Gate } from "../policy/gate.ts";
import { usualSessions } from "../policy/policy.ts";
import type { Sink } from "../sink.ts";
import { homesSink } from "./homes/sink.ts";
import { nssSink } from "./nss/sink.ts";
import { mayEnd } from "./sessions/may-end.ts";
import { whyNoSessions } from "./sessions/powers.ts";
import { processesIn } from "./sessions/processes.ts";
import { sessionsSink } from "./sessions/sink.ts";
import { sweep } from "./sessions/sweep.ts";
import { sshSink } from "./ssh.ts";
import { sudoSink } from "./sudo/sink.ts";

export interface SinksOptions {
  readonly disk: Disk;
  /** The served folder. */
  readonly served: string;
  /** Ids of the groups that own files. */
  readonly gids: ReadonlyMap<string, number>;
  readonly gate: Gate;
  /** The node's name. */
  readonly node: string;
  /** The node's /etc. */
  readonly etc: string;
  /** As the node's certificate has it; undefined: it has none yet. */
  readonly role: () => Role | undefined;
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly signal: AbortSignal;
}

export function usualSinks(options: SinksOptions): readonly Sink[] {
  const { disk, served, gids } = options;
  return [
    nssSink(disk, served, gids),
    sshSink(disk, served),
    sudoSink(disk, served),
    sessions(options),
    homes(options),
  ];
}

/** Why this process can end nobody's sessions; undefined if it can. */
export function whyUnable(): string | undefined {
  return whyNoSessions(readFileSync("/proc/self/status", "latin1"), existsSync("/proc/1/status"));
}

function sessions({ gate, role, clock, log, signal }: SinksOptions): Sink {
  return sessionsSink({
    processes: processesIn(),
    sweep,
    clock,
    signal,
    rule: () => gate.policy.sessions ?? usualSessions[role() ?? unknownRole()],
    whyUnable,
    mayEnd: (uid) => mayEnd(gate, uid),
    tell: (what, facts) => log.warn(facts, what),
  });
}

function homes({ gate, node, etc, clock, log, signal }: SinksOptions): Sink {
  return homesSink({
    rule: () => gate.policy.homes,
    tag: node.replaceAll(/[^A-Za-z0-9-]/g, "-"),
    own: etc,
    clock,
    signal,
    tell: (what, facts) => log.info(facts, what),
  });
}

function unknownRole(): never {
  throw new Error("this node's role is not known");
}

/**
 * What may be said of identity and Slurm from what nodes proved: whether an association's turn has come, and whether somebody
 * who leaves may go. Pure.
 *
 * On the way in, a controller must know the person, however long that takes: nobody else could make use of the association. Every
 * other connected node is waited for with a limit; one that is not connected is not waited for. On the way out, a controller
 * must have settled the revision that took the association away, with a limit by what becomes of the jobs.
 */

import type { Epoch, Revision } from "../../identity/position.ts";
import { keepsSlurm, type SinkHealth, slurm } from "../store/nodes.ts";
import type { Passage } from "../store/passages.ts";
import type { SlurmOrder } from "../store/settings.ts";
import type { NodeState, NodeStatus } from "./fleet.ts";
import { holds, settled } from "./rollout.ts";

/** How far a cluster's nodes are, as much as anybody waits for. */
export interface Reach {
  readonly epoch: Epoch;
  /** Nodes that Slurm follows; if there are none, nothing waits. */
  readonly controllers: readonly NodeStatus[];
  /** Nodes that may act on what they hold now. */
  readonly connected: readonly NodeStatus[];
  /** The newest revision that one of the controllers holds, and the oldest that any connected node does; 0: nothing. */
  readonly known: Revision;
  readonly everywhere: Revision;
}

export type Turn =
  | { readonly kind: "wait"; readonly for: readonly string[] }
  /** It has come, or the time is up for these nodes. */
  | { readonly kind: "go"; readonly without: readonly string[] };

export function survey(nodes: Iterable<NodeStatus>, epoch: Epoch): Reach {
  // One that only compares makes nothing true: nobody waits for it, and nobody is known by it.
  const all = [...nodes].filter(({ progress }) => !progress.comparing);
  const controllers = all.filter(({ node, progress }) => keepsSlurm({ ...node, progress }));
  const connected = all.filter(({ state }) => isConnected(state));
  const atHead = (status: NodeStatus): Revision =>
    holds(status, epoch, 1n) ? (status.progress.acked?.revision ?? 0n) : 0n;
  return {
    epoch,
    controllers,
    connected,
    known: controllers.map(atHead).reduce((a, b) => (a > b ? a : b), 0n),
    everywhere: connected.map(atHead).reduce((a, b) => (a < b ? a : b), newest),
  };
}

/** Later than any revision. */
const newest = 2n ** 64n;

/** Whether an association may be sent now. */
export function turnIn(
  reach: Reach,
  { revision, at }: Pick<Passage, "revision" | "at">,
  now: number,
  { knownWithinSeconds }: SlurmOrder,
): Turn {
  if (reach.controllers.length === 0) return { kind: "go", without: [] };
  const isKnown = reach.known >= revision;
  if (isKnown && reach.everywhere >= revision) return { kind: "go", without: [] };
  const behind = reach.connected.filter((status) => !holds(status, reach.epoch, revision));
  if (isKnown && now - at >= knownWithinSeconds * 1000) return { kind: "go", without: namesOf(behind) };
  return { kind: "wait", for: namesOf(isKnown ? behind : [...reach.controllers, ...behind]) };
}

/** Whether Slurm has let go of an association that was taken away. */
export function turnOut(
  reach: Reach,
  passage: Pick<Passage, "revision" | "at" | "association">,
  now: number,
  limits: SlurmOrder,
): Turn {
  const { controllers } = reach;
  if (controllers.length === 0 || controllers.some((status) => hasLetGo(status, reach.epoch, passage))) {
    return { kind: "go", without: [] };
  }
  const limit = passage.association.jobs === "finish" ? limits.finishWithinSeconds : limits.cancelWithinSeconds;
  // To wait for ever is a policy of jobs that finish alone.
  const isEndless = passage.association.jobs === "finish" && limit === 0;
  if (!isEndless && now - passage.at >= limit * 1000) return { kind: "go", without: namesOf(controllers) };
  return { kind: "wait", for: namesOf(controllers) };
}

/** Whether a controller has made a revision true in Slurm. */
export function isSettled({ controllers, epoch }: Reach, revision: Revision): boolean {
  return controllers.some((status) => settledBy(status, epoch, revision) !== undefined);
}

/** What a controller says is wrong with its Slurm; empty: none says anything. */
export function complaint({ controllers }: Reach): string {
  return controllers.map((status) => sinkOf(status)?.reason ?? "").find((reason) => reason !== "") ?? "";
}

function hasLetGo(
  status: NodeStatus,
  epoch: Epoch,
  { revision, association: { jobs, uid } }: Pick<Passage, "revision" | "association">,
): boolean {
  const sink = settledBy(status, epoch, revision);
  return sink !== undefined && (jobs === "cancel" || !sink.lingering.includes(uid));
}

/** The sink of a node's Slurm, if it made a revision true. */
function settledBy(status: NodeStatus, epoch: Epoch, revision: Revision): SinkHealth | undefined {
  const sink = sinkOf(status);
  return sink && settled(status, sink, epoch, revision) ? sink : undefined;
}

function sinkOf({ progress }: NodeStatus): SinkHealth | undefined {
  return progress.sinks?.find(({ sink }) => sink === slurm);
}

function namesOf(nodes: readonly NodeStatus[]): string[] {
  return [...new Set(nodes.map(({ node }) => node.name))];
}

function isConnected(state: NodeState): boolean {
  switch (state) {
    case "current":
    case "updating":
    case "refused":
      return true;
    // One that is ahead is sent nothing; it is the fence that speaks of it.
    case "ahead":
    case "stale":
    case "pending":
    case "banned":
    case "comparing":
      return false;
  }
}

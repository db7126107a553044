/**
 * A rollout: what may be said of one revision, from what each node proved. Pure. "Holds" means acked with the digest that
 * the server computed: nothing else counts. A node that only compares serves nothing of what it holds: it is no part of any
 * rollout, and is only mentioned.
 */

import type { Epoch, Revision } from "../../identity/position.ts";
import type { SinkHealth } from "../store/nodes.ts";
import type { NodeStatus } from "./fleet.ts";

/** A sink that follows by itself, and has not made true what its node holds. */
export interface Behind {
  readonly node: string;
  readonly sink: SinkHealth;
}

export interface Rollout {
  readonly state: "complete" | "progressing" | "degraded";
  /** How many nodes hold the revision or a newer one. */
  readonly acked: number;
  /** How many nodes there are, without the banned and those that only compare. */
  readonly nodes: number;
  /** Who does not hold it (or not all of it), refusals first. */
  readonly waitingFor: readonly NodeStatus[];
  /** Sinks that are behind, also where the node holds it. */
  readonly behind: readonly Behind[];
  /** One line for people: `Rollout r4 complete: 4 of 4 nodes.` What Slurm lacks is said after it. */
  readonly summary: string;
}

export function rollout(epoch: Epoch, revision: Revision, fleet: Iterable<NodeStatus>): Rollout {
  const refusing: NodeStatus[] = [];
  const missing: NodeStatus[] = [];
  const behind: Behind[] = [];
  let [nodes, acked, comparing] = [0, 0, 0];
  // Once over all of them: they may be ten thousand, looked at again and again.
  for (const status of fleet) {
    if (status.state === "banned") continue;
    if (status.progress.comparing) {
      comparing += 1;
      continue;
    }
    nodes += 1;
    const isHolding = holds(status, epoch, revision);
    if (isHolding) acked += 1;
    if (isRefusing(status, isHolding, revision)) refusing.push(status);
    else if (!isHolding) missing.push(status);
    for (const sink of status.progress.sinks ?? []) {
      if (!settled(status, sink, epoch, revision)) behind.push({ node: status.node.name, sink });
    }
  }
  const state = refusing.length > 0 ? "degraded" : acked === nodes ? "complete" : "progressing";
  return {
    state,
    acked,
    nodes,
    waitingFor: [...refusing.sort(byName), ...missing.sort(byName)],
    behind: behind.sort((a, b) => compare(a.node, b.node)),
    summary: `Rollout r${revision} ${state}: ${acked} of ${nodes} nodes${showComparing(comparing)}.${showBehind(behind)}`,
  };
}

/** Whether a sink made a revision true that its node holds. */
export function settled(status: NodeStatus, sink: SinkHealth, epoch: Epoch, revision: Revision): boolean {
  return holds(status, epoch, revision) && sink.revision >= revision;
}

function showBehind(behind: readonly Behind[]): string {
  const [first] = behind;
  if (!first) return "";
  const { sink, revision, reason } = first.sink;
  const where = revision === 0n ? "nowhere yet" : `at r${revision}`;
  const more = behind.length > 1 ? `, and ${behind.length - 1} more` : "";
  return ` ${sink} on ${first.node} is ${where}${reason === "" ? "" : `: ${reason}`}${more}.`;
}

function showComparing(count: number): string {
  return count === 0 ? "" : `, and ${count} comparing`;
}

/** Whether a node proved that it holds a revision or a newer one of the same life of the log. */
export function holds(
  { progress: { acked } }: Pick<NodeStatus, "progress">,
  epoch: Epoch,
  revision: Revision,
): boolean {
  return (
    acked !== undefined && acked.epoch.seq === epoch.seq && acked.epoch.id === epoch.id && acked.revision >= revision
  );
}

/** A node that refused this revision or a newer one and does not hold it, or holds it without serving all of it. */
function isRefusing({ progress: { refused, degraded } }: NodeStatus, isHolding: boolean, revision: Revision): boolean {
  return isHolding ? degraded.length > 0 : refused !== undefined && refused.revision >= revision;
}

function byName(a: NodeStatus, b: NodeStatus): number {
  return compare(a.node.name, b.node.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

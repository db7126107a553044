/**
 * A rollout: what may be said of one revision, from what each node proved. Pure. "Holds" means acked with the digest that
 * the server computed: nothing else counts.
 */

import type { Epoch, Revision } from "../../identity/position.ts";
import type { NodeStatus } from "./fleet.ts";

export interface Rollout {
  readonly state: "complete" | "progressing" | "degraded";
  /** How many nodes hold the revision or a newer one. */
  readonly acked: number;
  /** How many nodes there are, without the banned. */
  readonly nodes: number;
  /** Who does not hold it (or not all of it), refusals first. */
  readonly waitingFor: readonly NodeStatus[];
  /** One line for people: `Rollout r4 complete: 4 of 4 nodes.` */
  readonly summary: string;
}

export function rollout(epoch: Epoch, revision: Revision, fleet: readonly NodeStatus[]): Rollout {
  const nodes = fleet.filter(({ state }) => state !== "banned");
  const acked = nodes.filter((status) => holds(status, epoch, revision)).length;
  const refusing = nodes.filter((status) => isRefusing(status, epoch, revision));
  const behind = nodes.filter((status) => !holds(status, epoch, revision) && !refusing.includes(status));
  const state = refusing.length > 0 ? "degraded" : acked === nodes.length ? "complete" : "progressing";
  return {
    state,
    acked,
    nodes: nodes.length,
    waitingFor: [...refusing, ...behind],
    summary: `Rollout r${revision} ${state}: ${acked} of ${nodes.length} nodes.`,
  };
}

/** Whether a node proved that it holds a revision or a newer one of the same life of the log. */
export function holds({ progress: { acked } }: NodeStatus, epoch: Epoch, revision: Revision): boolean {
  return (
    acked !== undefined && acked.epoch.seq === epoch.seq && acked.epoch.id === epoch.id && acked.revision >= revision
  );
}

/** A node that refused this revision or a newer one and does not hold it, or holds it without serving all of it. */
function isRefusing(status: NodeStatus, epoch: Epoch, revision: Revision): boolean {
  const { refused, degraded } = status.progress;
  if (holds(status, epoch, revision)) return degraded.length > 0;
  return refused !== undefined && refused.revision >= revision;
}

/** The fleet as operators see it: every enrolled node, how it stands now, and how to steer it. */

import type { Actor } from "../directory/actor.ts";
import type { Enrolment, Progress } from "../store/nodes.ts";

/** How a node stands. */
export type NodeState = "current" | "updating" | "refused" | "stale" | "pending" | "ahead" | "banned" | "comparing";

export interface NodeStatus {
  readonly node: Enrolment;
  readonly state: NodeState;
  readonly progress: Progress;
  /** Milliseconds from the commit of its newest acked revision to the ack; undefined if unknown. */
  readonly latency: number | undefined;
  /** How its newest position reached it; undefined if it has been up to date since it connected. */
  readonly deliveredBy: "delta" | "snapshot" | undefined;
}

export interface Fleet {
  /** Every node of a cluster, by name, the banned too. */
  list(cluster: string): readonly NodeStatus[];
  /** The same in no order, which a large fleet's is cheaper in. */
  each(cluster: string): Iterable<NodeStatus>;
  find(cluster: string, name: string): NodeStatus | undefined;
  /** Sends a whole snapshot, also after a nack; at the next connection if there is none now. */
  resync(actor: Actor, cluster: string, name: string): Promise<void>;
  /** Refuses the node's certificate from now on, and ends its stream. */
  ban(actor: Actor, cluster: string, name: string): Promise<void>;
  /** Called when anything of a cluster's nodes changed; may be called too often. */
  onChange(listener: (cluster: string) => void): Disposable;
}

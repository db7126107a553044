/** NodeService, the operator's part: how nodes stand, and steering them. The agent's part is on the node port only. */

import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { quote, refuse } from "../../identity/refusal.ts";
import {
  ComparisonSchema,
  DifferenceSchema,
  DriftSchema,
  type Node,
  Node_Rotation,
  Node_State,
  NodeSchema,
  type NodeService,
  RefusedSchema,
  SinkHealthSchema,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import { printMillis, printPosition, printRole, printTime } from "../../proto/wire.ts";
import { getCluster } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import type { Fleet, NodeState, NodeStatus } from "../rollout/fleet.ts";
import { type Rotation, rotationOf } from "../rollout/rotation.ts";
import type { SinkHealth } from "../store/nodes.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";

const states = {
  current: Node_State.CURRENT,
  updating: Node_State.UPDATING,
  refused: Node_State.REFUSED,
  stale: Node_State.STALE,
  pending: Node_State.PENDING,
  ahead: Node_State.AHEAD,
  banned: Node_State.BANNED,
  comparing: Node_State.COMPARING,
} as const satisfies Record<NodeState, Node_State>;

const rotations = {
  done: Node_Rotation.DONE,
  learning: Node_Rotation.LEARNING,
  behind: Node_Rotation.BEHIND,
} as const satisfies Record<Rotation, Node_Rotation>;

export function nodeService(
  ctx: Context,
  fleet: Fleet,
  trusted: () => readonly string[],
): ServiceImpl<typeof NodeService> {
  /** A node of a cluster, and how to ask for it again. */
  const find = async (clusterName: string, name: string) => {
    const { cluster } = await getCluster(ctx, orDefault(clusterName));
    const status = (): NodeStatus =>
      fleet.find(cluster.id, name) ??
      refuse("not-found", `no node ${quote(name)} in the cluster ${quote(cluster.name)}`);
    return { cluster, status, print: () => printNode(status(), cluster.name, trusted(), ctx.now()) };
  };
  return {
    enroll: onlyOnNodePort,
    renew: onlyOnNodePort,
    sync: onlyOnNodePort,
    async listNodes(request) {
      const { cluster } = await getCluster(ctx, orDefault(request.cluster));
      const { items, nextPageToken } = await paged(request, async ({ offset, limit }) =>
        fleet.list(cluster.id).slice(offset, offset + limit),
      );
      const now = ctx.now();
      return { nodes: items.map((status) => printNode(status, cluster.name, trusted(), now)), nextPageToken };
    },
    async getNode(request) {
      const { print } = await find(request.cluster, request.node);
      return { node: print() };
    },
    async resyncNode(request, call) {
      const { cluster, status, print } = await find(request.cluster, request.node);
      const { node } = status();
      if (node.banned) {
        refuse(
          "conflict",
          `the node ${quote(node.name)} is banned: it is sent nothing until it enrols with a new join token`,
        );
      }
      await fleet.resync(actorOf(call), cluster.id, node.name);
      return { node: print() };
    },
    async banNode(request, call) {
      const { cluster, status, print } = await find(request.cluster, request.node);
      await fleet.ban(actorOf(call), cluster.id, status().node.name);
      return { node: print() };
    },
  };
}

export function printNode(
  { node, state, progress, latency, deliveredBy }: NodeStatus,
  cluster: string,
  trusted: readonly string[],
  now: number,
): Node {
  const { acked, ackedAt, seenAt, refused, software, degraded, comparing, report, sinks = [] } = progress;
  const { drift, faults = [], comparison } = report ?? {};
  return message(NodeSchema, {
    name: node.name,
    cluster,
    role: printRole(node.role),
    state: states[state],
    acked: acked && printPosition(acked),
    ackedAt: printTime(ackedAt),
    seenAt: printTime(seenAt),
    // A clock that was set back makes no node younger than new.
    age: seenAt === undefined ? undefined : printMillis(Math.max(0, now - seenAt)),
    refused: refused && message(RefusedSchema, { ...refused, at: printTime(refused.at) }),
    software: software ?? "",
    certificateExpires: printTime(node.expiresAt),
    degraded: degraded.map(({ sink, isolated }) => ({ sink, isolated: [...isolated] })),
    latency: latency === undefined ? undefined : printMillis(latency),
    deliveredBy: deliveredBy ?? "",
    sinks: sinks.map(printSink),
    authority: node.authority ?? "",
    trusts: [...node.trusts],
    rotation: rotations[rotationOf(node, trusted)],
    drift:
      drift &&
      message(DriftSchema, {
        count: drift.count,
        lastAt: printTime(drift.lastAt),
        files: [...drift.files],
        strays: [...drift.strays],
      }),
    comparing,
    comparison:
      comparison &&
      message(ComparisonSchema, {
        ...comparison,
        at: printTime(comparison.at),
        revision: BigInt(comparison.revision),
        differences: comparison.differences.map((each) => message(DifferenceSchema, each)),
      }),
    faults: [...faults],
  });
}

export function printSink({ sink, revision, reason, since, lingering }: SinkHealth) {
  return message(SinkHealthSchema, { sink, revision, reason, since: printTime(since), lingering: [...lingering] });
}

function onlyOnNodePort(): never {
  throw new ConnectError("agents call this on the node port, with a client certificate", Code.Unimplemented);
}

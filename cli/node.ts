/** `rollcall node`: how nodes stand, and steering them. */

import { Command } from "commander";
import {
  BanNodeResponseSchema,
  GetNodeResponseSchema,
  ListNodesResponseSchema,
  type Node,
  Node_Rotation,
  Node_State,
  ResyncNodeResponseSchema,
  Role,
  type SinkHealth,
} from "../proto/gen/rollcall/v1/node_pb.ts";
import { clusterOption, type InCluster, type Run, wholeList } from "./command.ts";
import { card, table } from "./table.ts";
import { showDuration, showTime } from "./time.ts";

export function nodeCommand(run: Run): Command {
  const command = new Command("node").description("nodes: how each stands, and steering them");
  command
    .command("list")
    .description("list the nodes of a cluster")
    .addOption(clusterOption())
    .action(
      run<InCluster>(async ({ nodes, show }, _, { cluster }) => {
        const found = await wholeList("nodes", (page) => nodes.listNodes({ cluster, ...page }));
        show(ListNodesResponseSchema, found, (list) => nodeTable(list.nodes));
      }),
    );
  command
    .command("show")
    .description("show one node")
    .argument("<node>", "its name")
    .addOption(clusterOption())
    .action(
      run<InCluster>(async ({ nodes, show }, [node = ""], { cluster }) => {
        show(GetNodeResponseSchema, await nodes.getNode({ cluster, node }), (found) => showNode(found.node));
      }),
    );
  command
    .command("resync")
    .description("send a node a whole snapshot, also after a refusal")
    .argument("<node>", "its name")
    .addOption(clusterOption())
    .action(
      run<InCluster>(async ({ nodes, show }, [node = ""], { cluster }) => {
        const done = await nodes.resyncNode({ cluster, node });
        show(ResyncNodeResponseSchema, done, () => `Node ${node} is sent a snapshot.\n`);
      }),
    );
  command
    .command("ban")
    .description("refuse a node's certificate from now on, and end its stream")
    .argument("<node>", "its name")
    .addOption(clusterOption())
    .action(
      run<InCluster>(async ({ nodes, show }, [node = ""], { cluster }) => {
        const done = await nodes.banNode({ cluster, node });
        show(BanNodeResponseSchema, done, () => `Node ${node} is banned. A new join token lets it in again.\n`);
      }),
    );
  return command;
}

/** Nodes as operators compare them: who, what they hold, how they are, and what they refuse. */
export function nodeTable(nodes: readonly Node[]): string {
  // Only while an authority is being replaced is there anything to see.
  const rotating = nodes.some(({ rotation, authority }) => authority !== "" && rotation !== Node_Rotation.DONE);
  const certificate = (node: Node): string[] => (rotating ? [showRotation(node)] : []);
  return table(
    ["node", "role", "holds", "state", ...(rotating ? ["authority"] : []), "refusal"],
    nodes.map((node) => [
      node.name,
      showRole(node.role),
      holds(node),
      showState(node),
      ...certificate(node),
      refusalOf(node),
    ]),
  );
}

function showNode(node: Node | undefined): string {
  if (!node) return "";
  const facts = card({
    name: node.name,
    cluster: node.cluster,
    role: showRole(node.role),
    state: showState(node),
    holds: holds(node),
    digest: node.acked?.digest ?? "-",
    acked: showTime(node.ackedAt),
    latency: node.latency ? showDuration(node.latency) : "-",
    delivered: node.deliveredBy || "-",
    heard: node.age ? `${showDuration(node.age)} ago` : "never",
    refusal: refusalOf(node) || "-",
    ...Object.fromEntries(node.sinks.map((sink) => [`sink ${sink.sink}`, showSink(sink)])),
    software: node.software || "-",
    certificate: `until ${showTime(node.certificateExpires)}`,
    authority: showRotation(node),
    drift: showDrift(node),
    ...(node.faults.length > 0 && { faults: node.faults.join("; ") }),
    ...(node.comparing && { compared: showComparison(node) }),
  });
  return `${facts}${differences(node)}`;
}

function showDrift({ drift }: Node): string {
  const strays = drift && drift.strays.length > 0 ? `; foreign: ${drift.strays.join(", ")}` : "";
  if (!drift?.lastAt) return `none${strays}`;
  const times = drift.count === 1 ? "once" : `${drift.count} times`;
  return `${times}, last ${showTime(drift.lastAt)}: ${drift.files.join(", ")}${strays}`;
}

function showComparison({ comparison }: Node): string {
  if (!comparison) return "not yet";
  const { users, usersDiffering, groups, groupsDiffering, keys, keysDiffering, revision, at, fault } = comparison;
  const counts = [
    `${usersDiffering} of ${users} people`,
    `${groupsDiffering} of ${groups} groups`,
    keys === 0 ? "no keys to compare with" : `keys of ${keysDiffering} of ${keys}`,
  ];
  return `r${revision}, ${showTime(at)}: ${counts.join(", ")} differ${fault === "" ? "" : `; ${fault}`}`;
}

/** What would change if the node were served what it holds. */
function differences({ comparison }: Node): string {
  if (!comparison || comparison.differences.length === 0) return "";
  const rows = comparison.differences.map(({ kind, name, field, here, there }) => [
    ...[kind, name, field, here || "-", there || "-"],
  ]);
  return `\n${table(["kind", "name", "field", "now", "then"], rows)}`;
}

function showRotation({ authority, rotation }: Node): string {
  const of = authority || "not seen yet";
  switch (rotation) {
    case Node_Rotation.LEARNING:
      return `${of}, learning`;
    case Node_Rotation.BEHIND:
      return authority === "" ? of : `${of}, signs no more`;
    default:
      return of;
  }
}

function holds({ acked }: Node): string {
  return acked ? `r${acked.revision}` : "-";
}

function showState({ state, age, refused }: Node): string {
  switch (state) {
    case Node_State.CURRENT:
      return "current";
    case Node_State.UPDATING:
      return "updating";
    case Node_State.REFUSED:
      return refused ? `refused r${refused.revision}` : "refused";
    case Node_State.STALE:
      return age ? `stale, last heard ${showDuration(age)} ago` : "stale";
    case Node_State.PENDING:
      return "never connected";
    case Node_State.AHEAD:
      return "ahead of the server";
    case Node_State.BANNED:
      return "banned";
    case Node_State.COMPARING:
      return "comparing, serves nothing";
    default:
      return "unknown";
  }
}

/** How far a sink is that follows by itself: `r12`, `r12, since 2026-11-02T12:00:00Z: slurmdbd does not answer`. */
function showSink({ revision, reason, since, lingering }: SinkHealth): string {
  const wrong = reason === "" ? "" : `, since ${showTime(since)}: ${reason}`;
  const jobs = lingering.length === 0 ? "" : `; jobs of ${lingering.length} people are left to finish`;
  return `${revision === 0n ? "nothing yet" : `r${revision}`}${wrong}${jobs}`;
}

function refusalOf({ refused, degraded, sinks }: Node): string {
  const isolated = degraded.flatMap(({ sink, isolated }) => isolated.map((one) => ({ sink, ...one })));
  const parts = refused ? [`${refused.sink}: ${refused.reason}${refused.retrying ? " (retrying)" : ""}`] : [];
  const [first] = isolated;
  if (first) parts.push(`${first.sink}: not served: ${first.key}: ${first.reason}`);
  if (isolated.length > 1) parts.push(`and ${isolated.length - 1} more`);
  for (const { sink, revision, reason } of sinks) if (reason !== "") parts.push(`${sink} at r${revision}: ${reason}`);
  return parts.join("; ");
}

function showRole(role: Role): string {
  switch (role) {
    case Role.LOGIN:
      return "login";
    case Role.COMPUTE:
      return "compute";
    case Role.CONTROLLER:
      return "controller";
    default:
      return "unknown";
  }
}

/** Several servers on one database are one control plane, whichever of them a node or an operator talks to. */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Identity, Server } from "../../agent/uplink.ts";
import { AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { Node_State, NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";

interface Fleet extends AsyncDisposable {
  readonly planes: readonly [ControlPlane, ControlPlane, ControlPlane];
  readonly server: Server;
  readonly identities: readonly Identity[];
  /** Where a server of ours listens for agents. */
  readonly at: (n: number) => Server;
}

/** Three servers, six nodes enrolled at the first, and `slurm-users` with nobody in it. */
async function three(): Promise<Fleet> {
  const first = await ControlPlane.start();
  const planes = [first, await first.beside(), await first.beside()] as const;
  const { server, identities } = await enrolled(first, 6);
  return {
    planes,
    server,
    identities,
    at: (n) => ({ ...server, address: planes[n % 3]?.urls.nodes ?? "" }),
    [Symbol.asyncDispose]: async () => {
      for (const plane of planes) await plane[Symbol.asyncDispose]();
    },
  };
}

async function admit(plane: ControlPlane, userName: string): Promise<void> {
  const made = await plane.scim("POST", "/Users", { userName, active: true });
  expect(made.status).toBe(201);
  const { body } = await plane.scim("GET", '/Groups?filter=displayName eq "slurm-users"'.replaceAll(" ", "%20"));
  const [group] = (body["Resources"] ?? []) as { id: string }[];
  if (!group) {
    await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [{ value: made.body["id"] }] });
    return;
  }
  await plane.scim("PATCH", `/Groups/${group.id}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    Operations: [{ op: "add", path: "members", value: [{ value: made.body["id"] }] }],
  });
}

test("a change at one reaches the nodes of all, and every one of them knows who holds it", async () => {
  await using fleet = await three();
  const { planes, identities, at } = fleet;
  const holders = identities.map((identity, n) => new Holder(at(n), identity));
  await until(async () => (await planes[0].acked()) === 6);
  await admit(planes[1], "ada");
  for (const plane of planes) await until(async () => (await plane.acked()) === 6);
  for (const { heard } of holders) expect(heard).toContain("delta");
  for (const plane of planes) {
    await until(async () => (await plane.states()).every((state) => state === Node_State.CURRENT));
  }
  // What is asked of one server is done by the one that has the stream.
  const nodes = await planes[0].client(NodeService);
  const [, , other] = holders;
  if (!other) throw new Error("no such node");
  const before = other.heard.length;
  await nodes.resyncNode({ node: "n2" });
  await until(() => other.heard.slice(before).includes("snapshotEnd"));
  await nodes.banNode({ node: "n2" });
  await until(() => other.ended !== undefined);
  expect(other.ended).toMatch(/the node is banned/);
  // Of two streams of one node at two servers, the newest wins.
  const [, one] = holders;
  const [, identity] = identities;
  if (!one || !identity) throw new Error("no such node");
  using again = new Holder(at(0), identity, one.at);
  await until(() => again.heard.includes("welcome") && one.ended !== undefined);
  expect(one.ended).toMatch(/another stream of this node took its place/);
  expect([again.ended, again.heard]).toEqual([undefined, ["welcome"]]);
  for (const holder of holders) holder[Symbol.dispose]();
});

test("two agents with one node's identity, each at a server of its own, take turns, and it is said", async () => {
  await using fleet = await three();
  const { planes, identities, at } = fleet;
  const [identity] = identities;
  if (!identity) throw new Error("no such node");
  let position: Holder["at"] | undefined;
  // A run that comes back after another one was there. What a server knows is written four times a second.
  for (const [n, run] of ["original", "copy", "original"].entries()) {
    using holder = new Holder(at(n % 2), identity, position, 0, run);
    await until(() => holder.heard.includes("welcome"));
    await sleep(600);
    position = holder.at;
  }
  await planes[0].process.says(/two agents have one node's identity/);
  expect(planes[1].process.stderr).not.toContain("two agents have one node's identity");
});

test("a server that dies loses nothing: its nodes go on at another one, by delta", async () => {
  await using fleet = await three();
  const { planes, identities, at } = fleet;
  const holders = identities.map((identity, n) => new Holder(at(n), identity));
  await until(async () => (await planes[0].acked()) === 6);
  await planes[1].down("SIGKILL");
  await admit(planes[2], "ada");
  const moved = [1, 4].map((n) => {
    const [identity, holder] = [identities[n], holders[n]];
    if (!identity || !holder) throw new Error("no such node");
    return new Holder(at(n + 1), identity, holder.at);
  });
  await until(async () => (await planes[0].acked()) === 6);
  for (const { heard } of moved) expect(heard).toEqual(["welcome", "delta"]);
  for (const holder of [...holders, ...moved]) holder[Symbol.dispose]();
});

test("three servers write at once: revisions have no gap, numbers are given once, the audit's chain is whole", async () => {
  await using fleet = await three();
  const { planes } = fleet;
  await admit(planes[0], "first");
  const names = Array.from({ length: 60 }, (_, n) => `person${n % 50}`);
  const made = await Promise.all(
    names.map((userName, n) => (planes[n % 3] ?? planes[0]).scim("POST", "/Users", { userName, active: true })),
  );
  // Ten names come twice: one of each pair is refused, whichever server it came to.
  expect([201, 409].map((status) => made.filter((answer) => answer.status === status).length)).toEqual([50, 10]);
  const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";
  const uids = new Set(
    made.flatMap((answer) => (answer.body[posix] as { uidNumber: number } | undefined)?.uidNumber ?? []),
  );
  expect(uids.size).toBe(50);
  await Promise.all(Array.from({ length: 30 }, (_, n) => setHome(planes[n % 3] ?? planes[0], n)));
  const { revisions } = await (await planes[0].client(RolloutService)).listRevisions({ pageSize: 1000 });
  const numbers = revisions.map(({ revision }) => Number(revision)).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, n) => n + 1));
  expect(numbers.length).toBeGreaterThanOrEqual(30);
  const { count, brokenSeq } = await (await planes[1].client(AuditService)).verifyAudit({});
  expect([count > 90n, brokenSeq]).toEqual([true, 0n]);
});

async function setHome(plane: ControlPlane, n: number): Promise<void> {
  const clusters = await plane.client(ClusterService);
  await clusters.setCluster({ cluster: "default", home: `/home/${n}/{name}` });
}

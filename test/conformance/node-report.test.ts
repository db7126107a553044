/** What agents see on their nodes, as operators see it: drift, faults, comparisons; and that a comparing node counts for no rollout. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Node_State, NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { Rollout_State, RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";
import { ask } from "./buf-curl.ts";
import { rollcall } from "./rollcall.ts";

const seconds = BigInt(Date.UTC(2026, 10, 28) / 1000);

test("S12: a node that only compares acks, counts for no rollout, and says what would change", async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 2);
  const [first, second] = identities;
  if (!first || !second) throw new Error("no such nodes");
  using serving = new Holder(server, first);
  using comparing = new Holder(server, second, undefined, 0, "comparing", true);
  const nodes = await plane.client(NodeService);
  const rollouts = await plane.client(RolloutService);
  const node = async (name: string) => (await nodes.getNode({ node: name })).node;
  await until(async () => (await node("n1"))?.acked !== undefined && (await plane.acked()) === 1);
  serving.acks = false;
  const { body: ada } = await plane.scim("POST", "/Users", { userName: "ada" });
  await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [{ value: ada["id"] }] });
  const rollout = async () => (await rollouts.getRollout({})).rollout;
  await until(async () => (await node("n1"))?.acked?.revision === (await rollout())?.head);
  // All that is missing is missing from who serves; the comparing one holds it, and is not counted, waited for or named.
  expect(await rollout()).toMatchObject({ nodes: 1, summary: expect.stringMatching(/of 1 nodes, and 1 comparing\.$/) });
  expect((await rollout())?.waitingFor.map(({ name }) => name)).not.toContain("n1");
  serving.ack();
  await until(async () => (await rollout())?.state === Rollout_State.COMPLETE);
  expect(await rollout()).toMatchObject({ acked: 1, nodes: 1 });
  expect(await node("n1")).toMatchObject({ state: Node_State.COMPARING, comparing: true });
  expect(await node("n0")).toMatchObject({ state: Node_State.CURRENT, comparing: false });

  const differences = Array.from({ length: 60 }, (_, n) => {
    return { kind: "user", name: `u${n}`, field: "uid", here: `1\u001b[2J${n}`, there: "x".repeat(900) };
  });
  const counts = { users: 100, usersDiffering: 60, groups: 3, groupsDiffering: 0, keys: 0, keysDiffering: 0 };
  comparing.report({ comparison: { at: { seconds, nanos: 0 }, revision: 2n, ...counts, differences } });
  await until(async () => (await node("n1"))?.comparison !== undefined);
  const told = (await node("n1"))?.comparison;
  expect(told).toMatchObject({ revision: 2n, ...counts });
  expect(told?.differences).toHaveLength(50);
  expect(told?.differences[0]).toMatchObject({ name: "u0", here: "1 [2J0", there: "x".repeat(200) });

  // As an operator asks: by the CLI, and by buf curl.
  const operator = {
    url: plane.urls.public,
    caPath: plane.caFile,
    token: (await readFile(join(plane.data, "admin-token"), "utf8")).trim(),
  } as Parameters<typeof rollcall>[0];
  expect((await rollcall(operator, "node list")).out).toMatch(/^n1 +login +r\d+ +comparing, serves nothing$/m);
  const { out } = await rollcall(operator, "node show n1");
  expect(out).toMatch(
    /^compared +r2, 2026-11-28T00:00:00\S*: 60 of 100 people, 0 of 3 groups, no keys to compare with differ$/m,
  );
  expect(out).toMatch(/^KIND +NAME +FIELD +NOW +THEN\nuser +u0 +uid +1 \[2J0 +x{200}$/m);
  expect(await ask(operator, "NodeService/GetNode", { node: "n1" })).toMatchObject({
    node: { state: "STATE_COMPARING", comparing: true, comparison: { users: 100, usersDiffering: 60 } },
  });

  // It is known over a restart of the server, also while the node is away; and once it serves, it counts.
  await plane.down();
  comparing[Symbol.dispose]();
  await plane.up();
  expect(await node("n1")).toMatchObject({ state: Node_State.STALE, comparing: true, comparison: { users: 100 } });
  expect((await rollout())?.summary).toMatch(/of 1 nodes, and 1 comparing\.$/);
  using moved = new Holder(server, second, comparing.at);
  await until(async () => (await node("n1"))?.comparing === false);
  expect(await rollout()).toMatchObject({ nodes: 2 });
  expect(moved.ended).toBeUndefined();
});

test("what was mended on a node, what lies there, and what cannot be mended", async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 1);
  const [identity] = identities;
  if (!identity) throw new Error("no such node");
  using holder = new Holder(server, identity);
  await until(async () => (await plane.acked()) === 1);
  const nodes = await plane.client(NodeService);
  const node = async () => (await nodes.getNode({ node: "n0" })).node;
  expect((await node())?.drift).toBeUndefined();
  holder.report({
    drift: {
      count: 3,
      lastAt: { seconds, nanos: 0 },
      files: ["nss/passwd.cache", "a\nb"],
      strays: Array.from({ length: 40 }, (_, n) => `stray${n}`),
    },
    faults: ["/etc/passwd.cache is in the way: it is a file that Rollcall did not make"],
  });
  await until(async () => (await node())?.drift !== undefined);
  expect(await node()).toMatchObject({
    state: Node_State.CURRENT,
    drift: { count: 3, files: ["nss/passwd.cache", "a b"] },
    faults: [expect.stringContaining("is in the way")],
  });
  expect((await node())?.drift?.strays).toHaveLength(20);
  const operator = {
    url: plane.urls.public,
    caPath: plane.caFile,
    token: (await readFile(join(plane.data, "admin-token"), "utf8")).trim(),
  } as Parameters<typeof rollcall>[0];
  const { out } = await rollcall(operator, "node show n0");
  expect(out).toMatch(/^drift +3 times, last 2026-11-28T00:00:00\S*: nss\/passwd\.cache, a b; foreign: stray0, /m);
  expect(out).toMatch(/^faults +\/etc\/passwd\.cache is in the way/m);
  // A time that no calendar holds is none, and hurts nobody.
  holder.report({ drift: { count: 4, lastAt: { seconds: 1n << 60n, nanos: 0 } } });
  await until(async () => (await node())?.drift?.count === 4);
  expect((await node())?.drift?.lastAt).toBeUndefined();
  expect((await rollcall(operator, "node show n0")).out).toMatch(/^drift +none$/m);
});

test("what a node serves less of what it holds, and then all of it, without a step in between", async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 1);
  const [identity] = identities;
  if (!identity) throw new Error("no such node");
  using holder = new Holder(server, identity);
  const rollouts = await plane.client(RolloutService);
  const state = async () => (await rollouts.getRollout({})).rollout?.state;
  await until(async () => (await state()) === Rollout_State.COMPLETE);
  holder.isolate(["sudo/27"]);
  await until(async () => (await state()) === Rollout_State.DEGRADED);
  holder.isolate([]);
  await until(async () => (await state()) === Rollout_State.COMPLETE);
  expect(holder.ended).toBeUndefined();
});

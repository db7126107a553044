/** Sinks that follow by themselves: what a node says of them is kept, shown, and costs nothing while it stays the same. */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { Rollout_State, RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { openReader } from "../../server/store/engine.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";

test("how far a sink is, why and since when: of the node, of the rollout, and over a restart of the server", async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 1, "controller", "ctl-");
  const [identity] = identities;
  if (!identity) throw new Error("no such node");
  const controller = new Holder(server, identity);
  await until(async () => (await plane.acked()) === 1);
  const sinks = async () => (await (await plane.client(NodeService)).getNode({ node: "ctl-0" })).node?.sinks ?? [];
  const rollout = async () => (await (await plane.client(RolloutService)).getRollout({})).rollout;
  expect(await sinks()).toEqual([]);

  controller.slurm(0n, "slurmdbd\u001b[2J does\nnot answer", [200000]);
  await until(async () => (await sinks()).length === 1);
  const [said] = await sinks();
  expect(said).toMatchObject({
    sink: "slurm",
    revision: 0n,
    reason: "slurmdbd [2J does not answer",
    lingering: [200000],
  });
  // The nodes hold it all the same: both are said.
  expect(await rollout()).toMatchObject({
    state: Rollout_State.COMPLETE,
    summary: "Rollout r1 complete: 1 of 1 nodes. slurm on ctl-0 is nowhere yet: slurmdbd [2J does not answer.",
    behind: [{ node: "ctl-0", sink: { reason: "slurmdbd [2J does not answer" } }],
  });

  const written = async (): Promise<number> => {
    await using reader = openReader(plane.database);
    return Math.max(...(await reader.read((tx) => tx.nodes.all())).map(({ touch }) => touch));
  };
  // That it was heard at all is written within the first second.
  await sleep(1600);
  const before = await written();
  for (let n = 0; n < 500; n++) controller.slurm(0n, "slurmdbd\u001b[2J does\nnot answer", [200000]);
  await sleep(600);
  expect(await written()).toBe(before);

  await plane.down();
  controller[Symbol.dispose]();
  await plane.up();
  expect((await sinks())[0]).toEqual(said);
  const again = new Holder(server, identity, controller.at);
  again.slurm(1n);
  await until(async () => (await sinks())[0]?.revision === 1n);
  expect((await sinks())[0]).toMatchObject({ reason: "", lingering: [] });
  expect((await sinks())[0]?.since).toBeUndefined();
  expect((await rollout())?.summary).toBe("Rollout r1 complete: 1 of 1 nodes.");
  again[Symbol.dispose]();
});

test("a node that says too much of its sinks is heard of the first eight", async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 1);
  const [identity] = identities;
  if (!identity) throw new Error("no such node");
  using noisy = new Holder(server, identity);
  await until(async () => (await plane.acked()) === 1);
  noisy.say(Array.from({ length: 300 }, (_, n) => ({ sink: `s${n}`, reason: "x".repeat(600) })));
  const nodes = await plane.client(NodeService);
  await until(async () => ((await nodes.getNode({ node: "n0" })).node?.sinks.length ?? 0) > 0);
  const { node } = await nodes.getNode({ node: "n0" });
  expect(node?.sinks.map(({ sink, reason }) => [sink, reason.length])).toEqual(
    Array.from({ length: 8 }, (_, n) => [`s${n}`, 500]),
  );
});

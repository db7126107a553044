/**
 * S13: clocks that jump by hours, forward and back, change nobody's membership. Real processes with libfaketime: the server's
 * clock, which also ends certificates, and a node's.
 */

import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Node_State } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { ShiftedClock } from "../processes/clock.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { until } from "../processes/holder.ts";
import { AgentNode } from "../processes/node.ts";

/** A node that was turned away for a while tries again after a minute at most, by a clock that nobody sets. In seconds. */
const back = 75;

/** As long as a jump takes to be seen, and a stream's clock to be looked at. */
const seen = 2_500;

async function member(plane: ControlPlane, group: unknown, userName: string): Promise<void> {
  const { body, status } = await plane.scim("POST", "/Users", { userName, active: true });
  expect(status).toBe(201);
  const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
  const operation = { op: "add", path: "members", value: [{ value: body["id"] }] };
  await plane.scim("PATCH", `/Groups/${String(group)}`, { schemas, Operations: [operation] });
}

const cut = (node: AgentNode): number => node.process.stderr.split('"msg":"not connected"').length - 1;

test("the server's clock jumps: nobody comes or goes; hours end no stream, a day ends certificates until it is over", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-clock-"));
  const clock = new ShiftedClock(folder.path, "server");
  await using plane = await ControlPlane.start(undefined, [], clock.env);
  await using one = await AgentNode.join(plane, "one", "login");
  await using two = await AgentNode.join(plane, "two", "compute");
  const nodes = [one, two];
  const group = (await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [] })).body["id"];
  await member(plane, group, "ada");
  const people = ["ada"];
  const all = async (seconds?: number) => {
    for (const node of nodes) await until(async () => (await node.people()).join() === people.join(), seconds);
  };
  await all();
  for (const hours of [5, -5]) {
    clock.set(hours);
    await sleep(seen);
    await all();
    const name = hours > 0 ? "later" : "sooner";
    await member(plane, group, name);
    people.push(name);
    await all();
    expect(nodes.map(cut), `${hours} h`).toEqual([0, 0]);
  }
  clock.set(30);
  for (const node of nodes) await node.process.says(/the client certificate has expired/);
  await until(async () => (await plane.states()).every((state) => state === Node_State.STALE));
  await all();
  // A node whose certificate has ended is not let in, and says nothing of it to anybody who looks someone up.
  await plane.process.says(/client certificate refused/);
  clock.set(0);
  await member(plane, group, "then");
  people.push("then");
  await all(back);
  await until(async () => (await plane.states()).every((state) => state === Node_State.CURRENT));
});

test("a node's clock jumps: it keeps its people and its stream, and takes changes at any time", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-clock-"));
  const clock = new ShiftedClock(folder.path, "node");
  await using plane = await ControlPlane.start();
  await using node = await AgentNode.join(plane, "jumping", "login", clock.env);
  const group = (await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [] })).body["id"];
  const people: string[] = [];
  for (const hours of [0, 5, -5, 30, -30, 0]) {
    clock.set(hours);
    await sleep(seen);
    expect(await node.people(), `${hours} h`).toEqual(people);
    const name = `u${people.length}`;
    await member(plane, group, name);
    people.push(name);
    await until(async () => (await node.people()).join() === people.join());
  }
  expect(cut(node)).toBe(0);
});

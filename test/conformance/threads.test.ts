/** Streams in several threads are one server to everybody: to operators, to agents, and to two agents of one name. */

import { once } from "node:events";
import { mkdtempDisposable, readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";

test("three threads hold twelve nodes: each change reaches all, a ban and a resync find theirs, the newest of a name wins", async () => {
  await using plane = await ControlPlane.start(undefined, ["--stream-threads", "3"]);
  const { server, identities } = await enrolled(plane, 12);
  const holders = identities.map((identity) => new Holder(server, identity));
  await until(async () => (await plane.acked()) === 12);

  // Nobody decides which thread a connection comes to: with twelve, one thread alone would be one in 177,147.
  const groups = await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [] });
  const ada = await plane.scim("POST", "/Users", { userName: "ada", active: true });
  await plane.scim("PATCH", `/Groups/${String(groups.body["id"])}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    Operations: [{ op: "add", path: "members", value: [{ value: ada.body["id"] }] }],
  });
  await until(async () => (await plane.acked()) === 12);
  for (const { heard } of holders) expect(heard).toContain("delta");

  const nodes = await plane.client(NodeService);
  for (const [n, holder] of holders.entries()) {
    const snapshots = holder.heard.filter((each) => each === "snapshotEnd").length;
    await nodes.resyncNode({ node: `n${n}` });
    await until(() => holder.heard.filter((each) => each === "snapshotEnd").length === snapshots + 1);
  }

  for (const [n, identity] of identities.entries()) {
    using again = new Holder(server, identity);
    await until(() => again.heard.includes("welcome") && holders[n]?.ended !== undefined);
    expect(holders[n]?.ended).toMatch(/another stream of this node took its place/);
    expect(again.ended).toBeUndefined();
    await nodes.banNode({ node: `n${n}` });
    await until(() => again.ended !== undefined);
    expect(again.ended).toMatch(/the node is banned/);
  }
  for (const holder of holders) holder[Symbol.dispose]();
  expect(await plane.down()).toBe(0);
});

test("a heartbeat is a sign of life: who says nothing else is seen by it", async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 1);
  const [identity] = identities;
  if (!identity) throw new Error("no such node");
  using holder = new Holder(server, identity);
  await until(async () => (await plane.acked()) === 1);
  const nodes = await plane.client(NodeService);
  const seenAt = async (): Promise<number> => {
    const { node } = await nodes.getNode({ node: "n0" });
    return node?.seenAt ? timestampMs(node.seenAt) : 0;
  };
  // Its Hello may be told of later than it is heard, once.
  for (let beat = 0; beat < 3; beat++) {
    const before = await seenAt();
    holder.say([]);
    await until(async () => (await seenAt()) > before);
  }
});

test("a node port that is taken is said, and ends the start", async () => {
  await using plane = await ControlPlane.start();
  const second = ControlPlane.start(undefined, ["--stream-threads", "2", "--node-listen", plane.urls.nodes]);
  await expect(second).rejects.toThrow(/EADDRINUSE/);
});

test("a fleet that comes back at once finds room before a busy server takes anybody up", async () => {
  await using plane = await ControlPlane.start();
  const [host = "", port = "0"] = plane.urls.nodes.split(":");
  // More than the kernel keeps for one listening socket.
  const fleet = Number(await readFile("/proc/sys/net/core/somaxconn", "utf8")) + 500;
  const { process: server } = plane.process;
  server.kill("SIGSTOP");
  const sockets = Array.from({ length: fleet }, () => connect({ host, port: Number(port) }));
  try {
    // Who finds no room is told by nobody, and TCP tries again, later each time.
    const opened = Promise.all(sockets.map((socket) => once(socket, "connect"))).then(({ length }) => length);
    expect(await Promise.race([opened, sleep(20_000)])).toBe(fleet);
  } finally {
    server.kill("SIGCONT");
    for (const socket of sockets) socket.destroy();
  }
  expect(await plane.down()).toBe(0);
});

test("threads with streams make way for the one that writes", async () => {
  await using plane = await ControlPlane.start(undefined, ["--stream-threads", "2"]);
  const { pid } = plane.process.process;
  const niceness = new Map<string, number>();
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    // proc_pid_stat(5): field 19, of which the first that has no parentheses is the third.
    const stat = await readFile(`/proc/${pid}/task/${thread}/stat`, "utf8");
    niceness.set(thread, Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]));
  }
  expect(niceness.get(String(pid))).toBe(getPriority());
  expect([...niceness.values()].filter((nice) => nice === 5)).toHaveLength(2);
});

test("an embedded database is brought up to its log while the server runs", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-threads-"));
  const file = join(folder.path, "rollcall.db");
  await using plane = await ControlPlane.start(folder.path, ["--database", file]);
  await plane.scim("POST", "/Users", { userName: "ada-in-the-log", active: true });
  await until(async () => (await readFile(file, "latin1")).includes("ada-in-the-log"));
});

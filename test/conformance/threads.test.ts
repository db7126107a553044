/** Streams in several threads are one server to everybody: to operators, to agents, and to two agents of one name. */

import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { newRequest } from "../../agent/credentials.ts";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn, prepareFolders } from "../../agent/folders.ts";
import { type Identity, Uplink } from "../../agent/uplink.ts";
import { origin } from "../../identity/position.ts";
import { NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import type { Position } from "../../proto/gen/rollcall/v1/resource_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { printPosition } from "../../proto/wire.ts";
import { ControlPlane } from "../processes/control-plane.ts";

/** An agent that holds whatever it is sent. */
class Holder implements Disposable {
  heard: string[] = [];
  ended: string | undefined;
  readonly #link: Uplink;
  readonly #end: () => void;

  constructor(server: { address: string; caPem: string }, identity: Identity, from: Position = printPosition(origin)) {
    this.#link = new Uplink(server, identity);
    const stream = this.#link.sync({
      heard: ({ say }) => {
        this.heard.push(say.case ?? "");
        const to = say.case === "delta" || say.case === "snapshotEnd" ? say.value.to : undefined;
        if (!to) return;
        stream.say({ case: "ack", value: { $typeName: "rollcall.v1.Ack", position: to, sinks: [] } });
      },
      closed: (error) => {
        this.ended = String(error);
      },
    });
    this.#end = () => stream.end();
    const who = { protocolMin: 1, protocolMax: 1, software: "test", instanceId: "test" };
    const highest = { highestUid: 0, highestGid: 0 };
    stream.say({ case: "hello", value: { $typeName: "rollcall.v1.Hello", ...who, ...highest, position: from } });
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#link[Symbol.dispose]();
  }
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries > 500) throw new Error("it never came true");
    await sleep(20);
  }
}

test("three threads hold twelve nodes: each change reaches all, a ban and a resync find theirs, the newest of a name wins", async () => {
  await using plane = await ControlPlane.start(undefined, ["--stream-threads", "3"]);
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-threads-"));
  const folders = foldersIn(join(folder.path, "agent"));
  await realDisk.folder(join(folder.path, "agent"), 0o755);
  await prepareFolders(realDisk, folders);
  const request = await newRequest(realDisk, folders);
  const keyPem = await readFile(join(folders.private, "key.pem"), "utf8");
  const server = { address: plane.urls.nodes, caPem: await readFile(plane.caFile, "utf8") };
  const identities = await Promise.all(
    Array.from({ length: 12 }, async (_, n): Promise<Identity> => {
      using link = new Uplink(server);
      return { keyPem, chainPem: await link.enroll(await plane.joinToken("login"), request, `n${n}`) };
    }),
  );
  const holders = identities.map((identity) => new Holder(server, identity));
  const rollouts = await plane.client(RolloutService);
  const acked = async (): Promise<number> => (await rollouts.getRollout({})).rollout?.acked ?? 0;
  await until(async () => (await acked()) === 12);

  // Nobody decides which thread a connection comes to: with twelve, one thread alone would be one in 177,147.
  const groups = await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [] });
  const ada = await plane.scim("POST", "/Users", { userName: "ada", active: true });
  await plane.scim("PATCH", `/Groups/${String(groups.body["id"])}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    Operations: [{ op: "add", path: "members", value: [{ value: ada.body["id"] }] }],
  });
  await until(async () => (await acked()) === 12);
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

/**
 * The database comes back from a backup, and the nodes know more than it does (S3, S8): nothing is sent or given until an
 * operator opens another epoch; then every node reads everything anew, and no number is anybody else's.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { Node_State } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";

const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";

async function create(plane: ControlPlane, userName: string) {
  const { status, body } = await plane.scim("POST", "/Users", { userName, active: true });
  const account = body[posix] as { uidNumber: number } | undefined;
  return { status, body, id: String(body["id"]), uid: account?.uidNumber };
}

/** A control plane with a backup of it, ada in it; after the backup ada left and bob came, and the nodes know. */
async function setBack() {
  const plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 3);
  const ada = await create(plane, "ada");
  await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [{ value: ada.id }] });
  await plane.down();
  await plane.backup();
  await plane.up();
  const holders = identities.map((identity) => new Holder(server, identity));
  await plane.scim("DELETE", `/Users/${ada.id}`);
  const bob = await create(plane, "bob");
  await plane.scim("POST", "/Groups", { displayName: "slurm-sudo", members: [{ value: bob.id }] });
  await until(async () => (await plane.acked()) === 3);
  await plane.down("SIGKILL");
  const held = holders.map(({ at }) => at);
  for (const holder of holders) holder[Symbol.dispose]();
  await plane.putBack();
  await plane.up();
  const back = (n: number): Holder => {
    const [identity, at] = [identities[n], held[n]];
    if (!identity || !at) throw new Error("no such node");
    return new Holder(server, identity, at, bob.uid);
  };
  return { plane, server, identities, bob, held, back };
}

test("nodes that are ahead fence the cluster; `restore` opens an epoch above all that they saw, and they read it anew", async () => {
  const { plane, server, identities, bob, held, back } = await setBack();
  await using _ = plane;
  // Nobody has told it yet: it could only guess.
  await plane.down();
  await expect(plane.restore()).rejects.toThrow(/no node of default has said what it holds/);
  await plane.up();

  const holders = [back(0), back(1)];
  await until(() => holders.every(({ heard }) => heard.includes("welcome")));
  await plane.process.says(/nodes hold more than this database/);
  for (const holder of holders) holder[Symbol.dispose]();
  const again = [back(0), back(1), back(2)];
  await until(async () => (await plane.states()).every((state) => state === Node_State.AHEAD));
  const { status, body } = await create(plane, "carol");
  expect([status, String(body["detail"])]).toEqual([409, expect.stringContaining("rollcall-server restore")]);
  // What the old database would say is said to nobody, not even when its log grows past what they hold.
  const clusters = await plane.client(ClusterService);
  for (let n = 0; n < 8; n++) await clusters.setCluster({ cluster: "default", home: `/home/${n}/{name}` });
  const { cluster } = await clusters.getCluster({ cluster: "default" });
  expect(cluster?.revision).toBeGreaterThan(held[0]?.revision ?? 0n);
  expect(cluster?.fencedAt).toBeDefined();
  const later = [back(0), back(1), back(2)];
  await until(() => later.every(({ heard }) => heard.length > 0));
  await sleep(300);
  for (const { heard, at } of [...again, ...later]) expect([heard, at]).toEqual([["welcome"], held[0]]);
  for (const holder of [...again, ...later]) holder[Symbol.dispose]();
  await plane.down();

  const { clusters: opened } = JSON.parse(await plane.restore("-o", "json")) as { clusters: object[] };
  expect(opened).toMatchObject([{ cluster: "default", epoch: "2", highestUid: bob.uid, nodesAhead: 3 }]);
  await plane.up();
  const anew = [back(0), back(1), back(2)];
  await until(async () => (await plane.acked()) === 3);
  for (const { heard, at } of anew) {
    expect(heard).toContain("snapshotEnd");
    expect(at.epoch?.seq).toBe(2n);
  }
  const carol = await create(plane, "carol");
  expect([carol.status, carol.uid]).toEqual([201, (bob.uid ?? 0) + 1]);
  for (const holder of anew) holder[Symbol.dispose]();

  // The same backup once more: the second epoch is one that nodes know. What a liar says of others counts for nothing.
  await plane.down("SIGKILL");
  await plane.putBack();
  await plane.up();
  const [first, second, last] = identities;
  const [one, two, liar] = anew.map(({ at }) => at);
  if (!first || !second || !last || !one || !two || !liar) throw new Error("no such node");
  const far = { ...liar, epoch: { ...liar.epoch, $typeName: "rollcall.v1.Epoch", id: "f".repeat(32) } } as const;
  const lies = [2n ** 63n - 1n, 5_000n].map((seq) => ({ ...far, epoch: { ...far.epoch, seq } }));
  const ahead = [new Holder(server, first, one, carol.uid), new Holder(server, second, two, carol.uid)];
  for (const lie of lies) {
    using lying = new Holder(server, last, lie);
    await until(() => lying.heard.includes("welcome"));
  }
  await until(() => ahead.every(({ heard }) => heard.includes("welcome")));
  await plane.process.says(/nodes hold more than this database/);
  for (const holder of ahead) holder[Symbol.dispose]();
  await plane.down();
  expect(JSON.parse(await plane.restore("-o", "json"))).toMatchObject({
    clusters: [{ epoch: "3", highestUid: carol.uid }],
  });
  await plane.up();
  using third = new Holder(server, first, one, carol.uid);
  await until(() => third.heard.includes("snapshotEnd"));
  expect(third.at.epoch?.seq).toBe(3n);
});

test("one node that says so fences nothing: it may lie; the others go on", async () => {
  const { plane, server, identities, back } = await setBack();
  await using _ = plane;
  using liar = back(0);
  const [, honest] = identities;
  if (!honest) throw new Error("no such node");
  using other = new Holder(server, honest);
  await until(() => liar.heard.includes("welcome") && other.heard.includes("snapshotEnd"));
  expect((await create(plane, "carol")).status).toBe(201);
  expect(liar.heard).toEqual(["welcome"]);
});

test("a log that outgrew what its nodes hold before any of them came back resurrects nobody", async () => {
  const { plane, held, back } = await setBack();
  await using _ = plane;
  const clusters = await plane.client(ClusterService);
  for (let n = 0; n < 8; n++) await clusters.setCluster({ cluster: "default", home: `/home/${n}/{name}` });
  const { cluster } = await clusters.getCluster({ cluster: "default" });
  expect(cluster?.revision).toBeGreaterThan(held[0]?.revision ?? 0n);
  const holders = [back(0), back(1)];
  await plane.process.says(/nodes hold more than this database/);
  await until(() => holders.every(({ ended }) => ended !== undefined));
  const later = [back(0), back(1), back(2)];
  await until(async () => (await plane.states()).every((state) => state === Node_State.AHEAD));
  for (const { heard, at } of [...holders, ...later]) expect([heard, at]).toEqual([["welcome"], held[0]]);
  for (const holder of [...holders, ...later]) holder[Symbol.dispose]();
});

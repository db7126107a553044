/** Identity and Slurm in order, as nodes see it at the real node port, through servers that die in between. */

import { expect, test } from "vitest";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService, SlurmUse_State } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";

async function grantPhysics(plane: ControlPlane): Promise<void> {
  const grant = { case: "account", value: { account: "physics" } } as const;
  await (await plane.client(ClusterService)).putRule({ rule: { group: "slurm-users", grant } });
}

/** How ada stands with her account. */
async function standing(plane: ControlPlane) {
  const { user } = await (await plane.client(DirectoryService)).getUser({ user: "ada" });
  const [slurm] = user?.slurm ?? [];
  const [use] = slurm?.accounts ?? [];
  const state = Object.entries(SlurmUse_State).find(([, number]) => number === use?.state)?.[0];
  return { state, for: use?.waitingFor, leaving: slurm?.leaving, clusters: user?.clusters, uid: user?.uid };
}

async function active(plane: ControlPlane, id: unknown, value: boolean): Promise<void> {
  await plane.scim("PATCH", `/Users/${String(id)}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    Operations: [{ op: "replace", value: { active: value } }],
  });
}

async function head(plane: ControlPlane): Promise<bigint> {
  return (await (await plane.client(RolloutService)).getRollout({})).rollout?.head ?? 0n;
}

test("in after everybody, out after the jobs; servers die between the revisions, and access comes back in between", async () => {
  await using plane = await ControlPlane.start();
  await grantPhysics(plane);
  const kinds = ["controller", "compute", "login"] as const;
  const nodes = await Promise.all(kinds.map((kind) => enrolled(plane, 1, kind, kind)));
  const connect = (at: readonly (Holder | undefined)[] = []): Holder[] =>
    nodes.flatMap(({ server, identities: [identity] }, n) => (identity ? new Holder(server, identity, at[n]?.at) : []));
  let holders = connect();
  const all = async (): Promise<boolean> => (await plane.acked()) === 3;
  await until(all);
  const restart = async (): Promise<void> => {
    await plane.down("SIGKILL");
    for (const holder of holders) holder[Symbol.dispose]();
    await plane.up();
    holders = connect(holders);
  };
  const [compute] = holders.slice(1);
  if (!compute) throw new Error("no such node");
  compute.acks = false;
  const { body: ada } = await plane.scim("POST", "/Users", { userName: "ada", active: true });
  await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [{ value: ada["id"] }] });
  await until(async () => (await standing(plane)).for?.join() === "compute0");
  expect(await standing(plane)).toMatchObject({ state: "WAITING", leaving: false, clusters: ["default"] });
  const brought = await head(plane);

  await restart();
  await until(async () => (await head(plane)) > brought && (await all()));
  expect(await standing(plane)).toMatchObject({ state: "SENT" });
  holders[0]?.slurm(await head(plane));
  await until(async () => (await standing(plane)).state === "SETTLED");

  await active(plane, ada["id"], false);
  expect(await standing(plane)).toMatchObject({ state: "LEAVING", for: ["controller0"], leaving: true, clusters: [] });
  const locked = await head(plane);
  await until(all);
  await restart();
  await until(all);
  expect(await standing(plane)).toMatchObject({ state: "LEAVING", leaving: true });
  const { uid } = await standing(plane);
  await active(plane, ada["id"], true);
  await until(async () => (await standing(plane)).state === "SENT" && (await all()));
  expect(await standing(plane)).toMatchObject({ uid, leaving: false, clusters: ["default"] });

  await active(plane, ada["id"], false);
  const again = await head(plane);
  holders[0]?.slurm(locked);
  await until(all);
  expect(await standing(plane)).toMatchObject({ state: "LEAVING", leaving: true });
  holders[0]?.slurm(again);
  await until(async () => (await head(plane)) === again + 1n && (await all()));
  expect(await standing(plane)).toMatchObject({ state: undefined, clusters: [] });
  for (const holder of holders) holder[Symbol.dispose]();
});

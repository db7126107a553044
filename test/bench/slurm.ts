/**
 * Slurm through the agent, against the fastest way by hand that was found: one call of sacctmgr with a list of names. On the same daemons, in the
 * same run: from the identity provider's request until the agent said that all of it is true in Slurm, read back.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { openLab } from "../lab/host.ts";
import { Slurm, slurmPackages } from "../lab/slurm.ts";
import { HostedNode, HostedPlane } from "../real/system.ts";
import { median } from "./apply-one.ts";

export interface SlurmFigures {
  readonly users: number;
  /** Milliseconds, medians. */
  readonly many: Against;
  readonly one: Against;
}

interface Against {
  readonly agent: number;
  readonly byHand: number;
  readonly ratio: number;
}

export async function slurmBench(users: number, rounds: number, say: (text: string) => void): Promise<SlurmFigures> {
  await using lab = await openLab({ name: "bench-slurm", packages: slurmPackages });
  const [controller, compute] = await Promise.all([lab.host("slurm-1"), lab.host("compute-1")]);
  await controller.write("/etc/rollcall/policy.yaml", "slurm: {every: 3600}\n");
  const [plane, slurm] = await Promise.all([HostedPlane.start(lab), Slurm.start(controller, [compute])]);
  await using _ = plane;
  await using agent = await HostedNode.join(plane, controller, "controller");

  say(`${users} people`);
  const people: string[] = [];
  for (let n = 0; n <= users + rounds; n++)
    people.push(await plane.create("Users", { userName: `p${n}`, displayName: `P ${n}` }));
  const everybody = await plane.create("Groups", { displayName: "slurm-users" });
  await join(plane, everybody, people);
  await plane.rolledOut();

  /** From the request until the agent said that it is true. */
  const through = async (group: string, members: readonly string[]): Promise<number> => {
    const from = performance.now();
    await join(plane, group, members);
    const head = await plane.head();
    const said = new RegExp(`"revision":"${head}","reason":""[^\\n]*"msg":"Slurm"`);
    for (const end = Date.now() + 120_000; !said.test(agent.process.stderr); await sleep(5)) {
      if (Date.now() > end) throw new Error(`Slurm never got to r${head}:\n${agent.process.stderr.slice(-2_000)}`);
    }
    return performance.now() - from;
  };
  const hand = async (account: string, names: readonly string[]): Promise<number> => {
    const from = performance.now();
    await slurm.sacctmgr("-i", "add", "user", `name=${names.join(",")}`, "cluster=lab", `account=${account}`);
    return performance.now() - from;
  };

  const figures = { many: { agent: [], byHand: [] }, one: { agent: [], byHand: [] } } as Record<
    "many" | "one",
    Record<"agent" | "byHand", number[]>
  >;
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`);
    const account = `a${round}`;
    const grant = { case: "account", value: { account } } as const;
    const group = await plane.create("Groups", { displayName: account });
    await plane.client(ClusterService).putRule({ rule: { group: account, grant } });
    await through(group, people.slice(0, 1));
    await slurm.sacctmgr("-i", "add", "account", `name=h${round}`, "cluster=lab");
    figures.many.byHand.push(await hand(`h${round}`, people.map((_, n) => `hand${round}x${n}`).slice(0, users)));
    figures.many.agent.push(await through(group, people.slice(1, users + 1)));
    figures.one.byHand.push(await hand(`h${round}`, [`one${round}`]));
    const [last = ""] = people.slice(users + 1 + round);
    figures.one.agent.push(await through(group, [last]));
  }
  const against = ({ agent: a, byHand: b }: (typeof figures)["many"]): Against => {
    const [agentMs, byHand] = [median(a), median(b)];
    return { agent: agentMs, byHand, ratio: agentMs / byHand };
  };
  return { users, many: against(figures.many), one: against(figures.one) };
}

async function join(plane: HostedPlane, group: string, members: readonly string[]): Promise<void> {
  if (members.length === 0) return;
  await plane.patch("Groups", group, { op: "add", path: "members", value: members.map((value) => ({ value })) });
}

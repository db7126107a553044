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
  // Those who are added by hand are known on the host as well: Slurm asks for each.
  const hands = (round: number): string[] => Array.from({ length: users + 1 }, (_, n) => `hand${round}x${n}`);
  const passwd = Array.from({ length: rounds }, (_, round) => hands(round)).flat();
  const line = (name: string, n: number) => `${name}:x:${600_000 + n}:100::/:/bin/sh\n`;
  await controller.write("/tmp/passwd", passwd.map(line).join(""));
  await controller.run("sh", ["-c", "cat /tmp/passwd >>/etc/passwd"]);
  const [plane, slurm] = await Promise.all([HostedPlane.start(lab), Slurm.start(controller, [compute])]);
  await using _ = plane;
  await using agent = await HostedNode.join(plane, controller, "controller");

  const people: string[] = [];
  // One to make the account by, the many, and one more; others in each round, since Slurm keeps whom it knows.
  const each = users + 2;
  say(`${each * rounds} people`);
  while (people.length < each * rounds) {
    const some = Array.from({ length: 32 }, (_, n) => `p${people.length + n}`);
    people.push(
      ...(await Promise.all(some.map((name) => plane.create("Users", { userName: name, displayName: name })))),
    );
  }
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
    const [first = "", ...rest] = people.slice(round * each, (round + 1) * each);
    await through(group, [first]);
    await slurm.sacctmgr("-i", "add", "account", `name=h${round}`, "cluster=lab");
    figures.many.byHand.push(await hand(`h${round}`, hands(round).slice(1)));
    figures.many.agent.push(await through(group, rest.slice(0, users)));
    figures.one.byHand.push(await hand(`h${round}`, hands(round).slice(0, 1)));
    figures.one.agent.push(await through(group, rest.slice(users)));
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

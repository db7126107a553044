/**
 * Slurm through the agent, against the fastest way by hand that was found: one call of sacctmgr with a list of names. On the same daemons, in the
 * same run: from the identity provider's request until the agent said that all of it is true in Slurm, read back. Slurm asks nss for each user: all of
 * them, also those who are added by hand, are people of Rollcall's whom the host knows from the same nss cache for as long.
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
  readonly oneParts: Parts;
}

/** Of one user, in milliseconds, medians: until the node knows the association, until Slurm was read, and the call and reading it back. */
interface Parts {
  readonly told: number;
  readonly read: number;
  readonly done: number;
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

  const people: string[] = [];
  // One to make the account by, the many, and one more, twice; others in each round, since Slurm keeps whom it knows.
  const each = users + 2;
  const all = 2 * each * rounds;
  const nameOf = (n: number): string => `p${n}`;
  say(`${all} people`);
  while (people.length < all) {
    const some = Array.from({ length: 32 }, (_, n) => nameOf(people.length + n));
    people.push(
      ...(await Promise.all(some.map((name) => plane.create("Users", { userName: name, displayName: name })))),
    );
    // The server takes a hundred requests a second of one connection.
    await sleep(10 * some.length);
  }
  const everybody = await plane.create("Groups", { displayName: "slurm-users" });
  await join(plane, everybody, people);
  await plane.rolledOut();

  const parts: Parts[] = [];
  /** From the request until the agent said that it is true. */
  const through = async (group: string, members: readonly string[]): Promise<{ ms: number; parts: Parts }> => {
    const [from, asked, before] = [performance.now(), Date.now(), agent.process.stderr.length];
    await join(plane, group, members);
    // Their associations come in a revision of their own: all of them are asked for, and then what Slurm holds is what is wanted.
    const isTrue = (): boolean => {
      const log = agent.process.stderr.slice(before);
      const added = [...log.matchAll(/"what":"add (\d+) users? to /g)];
      const count = added.reduce((sum, [, each]) => sum + Number(each), 0);
      return count === members.length && /"reason":"","msg":"Slurm"/.test(log.slice(added.at(-1)?.index));
    };
    for (const end = Date.now() + 120_000; !isTrue(); await sleep(5)) {
      if (Date.now() > end) throw new Error(`Slurm never got there:\n${agent.process.stderr.slice(-2_000)}`);
    }
    const ms = performance.now() - from;
    const lines = agent.process.stderr
      .slice(before)
      .split("\n")
      .filter((line) => line !== "");
    const logged = lines.map((line) => JSON.parse(line) as { msg: string; time: number });
    const at = (msg: string): number => logged.findLast((each) => each.msg === msg)?.time ?? 0;
    const [applied, called, done] = [at("applied"), at("changing Slurm"), at("Slurm")];
    return { ms, parts: { told: applied - asked, read: called - applied, done: done - called } };
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
    const start = 2 * each * round;
    const [first = "", ...rest] = people.slice(start, start + each);
    const hands = Array.from({ length: each }, (_, n) => nameOf(start + each + n));
    await through(group, [first]);
    await slurm.sacctmgr("-i", "add", "account", `name=h${round}`, "cluster=lab");
    await hand(`h${round}`, hands.slice(0, 1));
    const manyByHand = async () => figures.many.byHand.push(await hand(`h${round}`, hands.slice(1, users + 1)));
    const manyByAgent = async () => figures.many.agent.push((await through(group, rest.slice(0, users))).ms);
    // Whoever goes second finds more in Slurm.
    for (const way of round % 2 === 0 ? [manyByHand, manyByAgent] : [manyByAgent, manyByHand]) await way();
    figures.one.byHand.push(await hand(`h${round}`, hands.slice(users + 1)));
    const one = await through(group, rest.slice(users));
    figures.one.agent.push(one.ms);
    parts.push(one.parts);
  }
  const against = ({ agent: a, byHand: b }: (typeof figures)["many"]): Against => {
    const [agentMs, byHand] = [median(a), median(b)];
    return { agent: agentMs, byHand, ratio: agentMs / byHand };
  };
  const of = (part: keyof Parts): number => median(parts.map((each) => each[part]));
  const oneParts = { told: of("told"), read: of("read"), done: of("done") };
  return { users, many: against(figures.many), one: against(figures.one), oneParts };
}

async function join(plane: HostedPlane, group: string, members: readonly string[]): Promise<void> {
  if (members.length === 0) return;
  await plane.patch("Groups", group, { op: "add", path: "members", value: members.map((value) => ({ value })) });
}

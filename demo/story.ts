/** The story: ada comes, signs in, and leaves while a node is away. */

import { acked, askNodes, millis, type NodeFacts, startControlPlane } from "./control-plane.ts";
import { expect, until } from "./expect.ts";
import { IdentityProvider } from "./identity-provider.ts";
import { openLaptop } from "./laptop.ts";
import { enrolNodes, field, nodeNames, withoutSecret } from "./nodes.ts";
import { proofOn } from "./proof.ts";
import type { Place, Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

export interface Told {
  readonly places: readonly Place[];
  /** What to try where: a place's name, and a command. */
  readonly tries: readonly string[];
  /** What was measured, as JSON. */
  readonly facts: Readonly<Record<string, unknown>>;
}

export async function tell(stage: Stage, terminal: Terminal): Promise<Told> {
  terminal.step("The control plane starts: SQLite in a temporary folder, a certificate authority of its own");
  const plane = await startControlPlane(stage, terminal);
  const operator = plane.place;

  terminal.step("Four nodes enrol, each with a join token that works once; from then on it is mutual TLS");
  const nodes = await enrolNodes(stage, plane, terminal);

  terminal.step("The identity provider sends what Okta sends: ada, the group slurm-users, and that she is in it");
  const okta = await connectOkta();
  const ada = await okta.createAda();
  const slurmUsers = await okta.createGroup("slurm-users");
  await okta.addMember(slurmUsers, ada);
  terminal.say("She makes a key on her laptop, and the operator adds its public half:");
  const { place: laptop, publicKey } = await openLaptop(stage, terminal);
  await operator.write(operator.path("/tmp/ada.pub"), publicKey, 0o644);
  await terminal.type(operator, `rollcall key add ada --file ${operator.path("/tmp/ada.pub")}`);

  terminal.step("Each node acknowledges, and it is true");
  const held = await acked(plane, 4, nodeNames);
  terminal.show(acknowledgements(held));
  await terminal.type(operator, "rollcall rollout status", { is: "Rollout r4 complete: 4 of 4 nodes.\n" });
  await askByBuf();
  terminal.say("Nodes answer for themselves, without Rollcall:");
  await nodes["login-1"].place.openSsh();
  const proof = proofOn(stage, nodes, laptop, terminal);
  for (const name of nodeNames) await proof.knows(name);
  await proof.opens();

  terminal.step("compute-2 is cut off, and the identity provider deactivates ada, as Entra words it");
  const away = nodes["compute-2"];
  await away.place.cut();
  terminal.say("The cable of compute-2 is out. Nobody is told.");
  await okta.deactivate(ada);
  terminal.say("Three nodes acknowledge at once; the fourth is named, with its age, as soon as it is silent too long:");
  await acked(plane, 5, ["login-1", "compute-1", "controller-1"]);
  const stale = await until(
    "compute-2 to be noticed as stale",
    async () => (await askNodes(plane)).find(({ name }) => name === "compute-2"),
    (node) => node?.state === "STATE_STALE",
  );
  const status = await terminal.type(operator, "rollcall rollout status", { code: 5 });
  expect(status.startsWith("Rollout r5 progressing: 3 of 4 nodes.\n"), "3 of 4 nodes", status);
  expect(
    /^compute-2 .* r4 .*stale, last heard \d+m?s ago$/m.test(status),
    "compute-2 to be named, with its age",
    status,
  );
  terminal.say("Where it is acknowledged, it is so:");
  await proof.opensNot();
  await proof.knowsNot("login-1");
  // A connection that only one side gave up could still bring it the delta, and nothing would be seen of that.
  await away.agent.says(/"msg":"not connected"/);

  terminal.say("The cable is in again:");
  const healing = Date.now();
  await away.place.heal();
  const [healed] = await acked(plane, 5, ["compute-2"]);
  const healedAfter = Date.now() - healing;
  await terminal.type(operator, "rollcall rollout status", { is: "Rollout r5 complete: 4 of 4 nodes.\n" });
  await terminal.type(operator, "rollcall node show compute-2 | grep -E '^(state|holds|delivered) '");
  expect(healed?.delivered_by === "delta", "a delta, and no snapshot", JSON.stringify(healed));
  await proof.knowsNot("compute-2");

  return {
    places: [operator, ...Object.values(nodes).map(({ place }) => place), laptop],
    tries: [
      "control rollcall node list",
      "control rollcall rollout list",
      ...(stage.kind === "hosts" ? ["login-1 getent passwd ada", "compute-2 ls -l /var/lib/rollcall"] : []),
    ],
    facts: {
      stage: stage.kind,
      urls: plane.urls,
      acks: held.map((node) => ({ node: node.name, latency_ms: millis(node.latency), by: node.delivered_by })),
      stale: { node: stale?.name, age_ms: millis(stale?.age) },
      healed: { node: healed.name, by: healed.delivered_by, after_ms: healedAfter },
    },
  };

  async function connectOkta(): Promise<IdentityProvider> {
    const made = await terminal.type(operator, "rollcall scim-token create --org default --name okta -o json", {
      shown: (output) => withoutSecret(output, "base_url"),
    });
    const { stdout: caPem } = await operator.run(`cat ${plane.data}/ca.pem`);
    const connection = { place: await stage.place("okta"), base: field(made, "base_url"), token: field(made, "token") };
    return IdentityProvider.connect({ ...connection, caPem }, terminal);
  }

  async function askByBuf(): Promise<void> {
    const answer = await terminal.type(
      operator,
      `buf curl --cacert $ROLLCALL_CA -H "Authorization: Bearer $ROLLCALL_TOKEN" --reflect-header '*' \\
  $ROLLCALL_SERVER/rollcall.v1.RolloutService/GetRollout`,
    );
    const { rollout } = JSON.parse(answer) as { rollout: Record<string, unknown> };
    expect(rollout["state"] === "STATE_COMPLETE" && rollout["acked"] === 4, "the same by buf curl", answer);
  }
}

/** When each node had proved it, from the commit on. */
function acknowledgements(nodes: readonly NodeFacts[]): string {
  const rows = nodes.map(
    ({ name, acked: at, latency, delivered_by }) =>
      `${name.padEnd(12)}  acknowledged r${at?.revision} after ${`${millis(latency)}`.padStart(4)} ms, by ${delivered_by}`,
  );
  return rows.join("\n");
}

/**
 * From "change accepted" (the answer to the identity provider) to "all agents acknowledged": a real server process, and
 * agents with their own TLS connection, memory and files each, in a few processes beside it.
 */

import { fork } from "node:child_process";
import { once } from "node:events";
import { Rollout_State, RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { median } from "./apply-one.ts";

export interface LatencyFigures {
  readonly agents: number;
  readonly p50: number;
  readonly p99: number;
  /** p50 against that of the smallest fleet. */
  readonly ratio: number;
}

export async function rolloutLatency(
  fleets: readonly number[],
  say: (text: string) => void,
): Promise<LatencyFigures[]> {
  const figures: Omit<LatencyFigures, "ratio">[] = [];
  for (const agents of fleets) {
    say(`${agents} agents`);
    figures.push({ agents, ...(await measure(agents)) });
  }
  const basis = figures[0]?.p50 ?? Number.NaN;
  return figures.map((figure) => ({ ...figure, ratio: figure.p50 / basis }));
}

async function measure(agents: number): Promise<{ p50: number; p99: number }> {
  await using plane = await ControlPlane.start();
  const tokens = await Promise.all(Array.from({ length: agents }, () => plane.joinToken("login")));
  const fleet = fork(new URL("fleet/full-agents.ts", import.meta.url), [plane.urls.nodes, plane.caFile], {
    stdio: "inherit",
  });
  try {
    fleet.send(tokens);
    await once(fleet, "message");
    const group = await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [] });
    await complete(plane, agents);
    const taken: number[] = [];
    for (let round = 0; round < 20; round++) {
      const user = await plane.scim("POST", "/Users", { userName: `user${round}`, active: true });
      await plane.scim("PATCH", `/Groups/${String(group.body["id"])}`, {
        schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        Operations: [{ op: "add", path: "members", value: [{ value: user.body["id"] }] }],
      });
      const accepted = performance.now();
      await complete(plane, agents);
      taken.push(performance.now() - accepted);
    }
    return { p50: median(taken), p99: Math.max(...taken) };
  } finally {
    fleet.kill();
    await once(fleet, "exit");
  }
}

/** Resolves when every agent has acknowledged the head. */
async function complete(plane: ControlPlane, agents: number): Promise<void> {
  const rollouts = await plane.client(RolloutService);
  for await (const { rollout } of rollouts.watchRollout({})) {
    if (rollout?.state === Rollout_State.COMPLETE && rollout.acked === agents) return;
  }
}

/** How somebody stands in a cluster's Slurm, from what the directory says and what the nodes proved, as messages. */

import {
  type SlurmStanding,
  SlurmStandingSchema,
  SlurmUse_State,
  SlurmUseSchema,
} from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { printTime } from "../../proto/wire.ts";
import type * as directory from "../directory/passages.ts";
import type { NodeStatus } from "../rollout/fleet.ts";
import { complaint, isSettled, type Reach, survey, type Turn, turnIn, turnOut } from "../rollout/reach.ts";
import type { SlurmOrder } from "../store/settings.ts";
import { message } from "./field.ts";

/** More nodes than this are not named. */
const mostNamed = 20;

export function printSlurm(
  { cluster, isLeaving, uses }: directory.SlurmStanding,
  nodes: readonly NodeStatus[],
  now: number,
): SlurmStanding {
  const reach = survey(nodes, cluster.head.login.epoch);
  const said = complaint(reach);
  return message(SlurmStandingSchema, {
    cluster: cluster.name,
    leaving: isLeaving,
    accounts: uses.map((use) => {
      const { association, revision, at } = use;
      const turn = turnOf(use, reach, now, cluster.settings.slurm);
      const state = stateOf(use, reach);
      return message(SlurmUseSchema, {
        account: association.account,
        isDefault: association.isDefault,
        jobsFinish: association.jobs === "finish",
        state,
        revision,
        since: printTime(at),
        waitingFor: turn.kind === "wait" ? turn.for.slice(0, mostNamed) : [],
        reason: state === SlurmUse_State.SETTLED && !isAbout(said, association.account) ? "" : said,
      });
    }),
  });
}

/** Whether what a controller says speaks of an account: it may be as true as it can be, with others' in its place. */
function isAbout(said: string, account: string): boolean {
  return said.includes(`account ${account}`) || said.includes(`association ${account}/`);
}

/** What a use of Slurm waits for, if for anything. */
function turnOf({ way, at = 0, ...use }: directory.SlurmUse, reach: Reach, now: number, limits: SlurmOrder): Turn {
  switch (way) {
    case "in":
      return turnIn(reach, { ...use, at }, now, limits);
    case "out":
      return turnOut(reach, { ...use, at }, now, limits);
    case "there":
      return { kind: "go", without: [] };
  }
}

function stateOf({ way, revision }: directory.SlurmUse, reach: Reach): SlurmUse_State {
  switch (way) {
    case "in":
      return SlurmUse_State.WAITING;
    case "out":
      return SlurmUse_State.LEAVING;
    case "there":
      return isSettled(reach, revision) ? SlurmUse_State.SETTLED : SlurmUse_State.SENT;
  }
}

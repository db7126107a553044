/** What tests of a whole Slurm cluster have in common: who may use it, what is asked of it, and how its programs are called. */

import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { type AdminLevel, ClusterService, type JobsOnLeave } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import type { Host } from "../lab/host.ts";
import type { Slurm } from "../lab/slurm.ts";
import type { HostedPlane } from "./system.ts";

/** `byHand`: associations that are there besides. */
export function tools(plane: HostedPlane, slurm: Slurm, byHand: readonly string[] = []) {
  const clusters = plane.client(ClusterService);
  type Account = {
    account?: string;
    parent?: string;
    isDefault?: boolean;
    limits?: Record<string, string>;
    description?: string;
    jobs?: JobsOnLeave;
    adminLevel?: AdminLevel;
    accountLimits?: Record<string, string>;
  };
  return {
    rule: async (group: string, account: Account): Promise<void> => {
      await clusters.putRule({ rule: { group, grant: { case: "account", value: { account: group, ...account } } } });
    },
    person: (name: string) => plane.create("Users", { userName: name, displayName: name }),
    group: async (name: string, ...members: readonly string[]) => {
      const id = await plane.create("Groups", { displayName: name });
      for (const member of members) await plane.addMember(id, member);
      return id;
    },
    /** Resolves once these, and those made by hand, are all the associations. */
    has: (associations: readonly string[]) =>
      until(() => slurm.associations(), [...associations, ...byHand].toSorted()),
    /** Resolves once the controller's agent has told that all of the newest revision is true in Slurm: its last call is behind it. */
    settled: async (): Promise<void> => {
      const head = await plane.head();
      await until(async () => ((await plane.node(slurm.controller.name)).sinks[0]?.revision ?? 0n) >= head, true);
    },
  };
}

export async function removeRule(plane: HostedPlane, group: string, account = group): Promise<void> {
  const rule = { group, grant: { case: "account", value: { account } } } as const;
  await plane.client(ClusterService).removeRule({ rule, urgent: true });
}

/** Submits a batch job as somebody; `more` are words for sbatch. @throws Error with what it says. */
export async function start(
  slurm: Slurm,
  user: string,
  account: string,
  script: string,
  more: readonly string[] = [],
): Promise<void> {
  const { code, stderr } = await slurm.as(
    slurm.controller,
    user,
    "sbatch",
    "-n1",
    "-A",
    account,
    "-o",
    "/dev/null",
    ...more,
    "--wrap",
    script,
  );
  if (code !== 0) throw new Error(stderr);
}

/** Asks until the answer is this one; on a busy machine Slurm's programs take their time. */
export async function until<T>(ask: () => Promise<T>, wanted: T): Promise<void> {
  for (const end = Date.now() + 60_000; ; await sleep(100)) {
    const answer = await ask();
    if (JSON.stringify(answer) === JSON.stringify(wanted)) return;
    if (Date.now() > end) expect(answer).toEqual(wanted);
  }
}

const log = "/tmp/calls";

/**
 * Puts programs before Slurm's own that write down how they are called. At the next call that changes something, `kill-before` and
 * `kill-after` kill the agent, before or after the work is done; `lose` does the work and loses the reply.
 */
export async function recordCalls(host: Host) {
  for (const program of ["sacctmgr", "scancel"])
    await host.write(`/usr/local/sbin/${program}`, wrapper(program), 0o755);
  const all = async () => (await host.run("cat", [log])).stdout.split("\n").filter((line) => line !== "");
  return {
    /** Words with tabs between. */
    all,
    /** Those that change something. */
    changes: async () =>
      (await all()).filter((call) => !call.includes("\tshow\t")).map((call) => call.replaceAll("\t", " ")),
    /** What glibc knew of ada at the last of those. */
    known: async () => (await host.run("cat", [`${log}.known`])).stdout,
    forget: async () => void (await host.run("rm", ["-f", log])),
    goWrong: (how: "kill-before" | "kill-after" | "lose") => host.write("/tmp/go-wrong", how),
  };
}

function wrapper(program: string): string {
  return `#!/bin/bash
{ printf '%s' ${program}; printf '\\t%s' "$@"; echo; } >>${log}
case " $* " in *" show "*) exec /usr/bin/${program} "$@" ;; esac
getent passwd ada >${log}.known
fault=$(cat /tmp/go-wrong 2>/dev/null)
rm -f /tmp/go-wrong
[ "$fault" = kill-before ] && { kill -9 $PPID; exit 1; }
[ "$fault" = lose ] && { /usr/bin/${program} "$@" >/dev/null 2>&1; kill -9 $$; }
/usr/bin/${program} "$@"
code=$?
[ "$fault" = kill-after ] && kill -9 $PPID
exit $code
`;
}

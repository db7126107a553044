/** rollcall-agent: wires the agent together on a real disk, clock and network, and stops cleanly when it is told to. */

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join as path } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Refusal } from "../identity/refusal.ts";
import packageJson from "../package.json" with { type: "json" };
import { start } from "./apply.ts";
import { attempts } from "./attempts.ts";
import type { Clock } from "./clock.ts";
import { loadCredentials } from "./credentials.ts";
import { realDisk } from "./disk.ts";
import { foldersIn } from "./folders.ts";
import { follow } from "./follow.ts";
import { placeLinks } from "./links.ts";
import { join } from "./membership.ts";
import { type LinkOptions, type Options, readLinkOptions, readOptions, usage } from "./options.ts";
import { Gate } from "./policy/gate.ts";
import { LocalAccounts, uidsIn } from "./policy/local.ts";
import { allowsUid, usualSessions } from "./policy/policy.ts";
import { readPolicy } from "./policy/read.ts";
import { Replica } from "./replica.ts";
import type { Sink } from "./sink.ts";
import { homesSink } from "./sinks/homes/sink.ts";
import { nssSink } from "./sinks/nss/sink.ts";
import { whyNoSessions } from "./sinks/sessions/powers.ts";
import { processesIn } from "./sinks/sessions/processes.ts";
import { sessionsSink } from "./sinks/sessions/sink.ts";
import { sweep } from "./sinks/sessions/sweep.ts";
import { sshSink } from "./sinks/ssh.ts";
import { sudoSink } from "./sinks/sudo/sink.ts";
import { openSlurm } from "./slurm/follow.ts";
import { Trust } from "./trust.ts";

const clock: Clock = {
  now: Date.now,
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
  random: Math.random,
};

async function main(options: Options): Promise<void> {
  const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }));
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());
  const { signal } = stopping;

  const policyFile = path(options.etc, "rollcall/policy.yaml");
  const policy = await readPolicy(policyFile);
  const accounts = new LocalAccounts(options.etc);
  await accounts.refresh();
  const gate = new Gate(
    policy,
    () => readPolicy(policyFile),
    (err) => log.error({ err }, "the policy cannot be used, the last good one stays"),
    accounts,
  );
  // Known before the first step: a node that holds anything has enrolled.
  const held = await loadCredentials(realDisk, foldersIn(options.state)).catch(() => undefined);
  let role = held?.role;
  const whyUnable = (): string | undefined =>
    whyNoSessions(readFileSync("/proc/self/status", "latin1"), existsSync("/proc/1/status"));
  if (gate.policy.sessions === "end" && whyUnable() !== undefined) {
    throw new Error(`the policy says sessions: end, but ${whyUnable()}`);
  }
  const sessions = (): Sink =>
    sessionsSink({
      processes: processesIn(),
      sweep,
      clock,
      signal,
      rule: () => gate.policy.sessions ?? usualSessions[role ?? unknownRole()],
      whyUnable,
      mayEnd: (uid) =>
        // Also where --etc is another folder than the one that logins here go by.
        uid >= 1000 &&
        allowsUid(gate.policy, uid) &&
        ![gate.local.uids, uidsIn("/etc/passwd")].some((uids) => uids.has(uid)),
      tell: (what, facts) => log.warn(facts, what),
    });

  const homes = (): Sink =>
    homesSink({
      rule: () => gate.policy.homes,
      tag: options.node.replaceAll(/[^A-Za-z0-9-]/g, "-"),
      clock,
      signal,
      tell: (what, facts) => log.info(facts, what),
    });

  const { ground, warning, repaired, fault } = await start({
    gate,
    disk: realDisk,
    state: options.state,
    sinks: (disk, served) => [
      nssSink(disk, served),
      sshSink(disk, served),
      sudoSink(disk, served),
      sessions(),
      homes(),
    ],
    gids: await groupIds(options.etc),
  });
  const replica = new Replica(ground);
  if (warning !== undefined) log.error({ reason: warning }, "the memory starts anew");
  if (repaired && repaired.changed.length > 0) log.warn({ files: repaired.changed }, "files were repaired");
  await placeLinks(options.etc, ground.folders.served);

  const trust = new Trust(realDisk, ground.folders, () => readFile(options.ca, "utf8"));
  await trust.now();
  const shared = { disk: realDisk, folders: ground.folders, address: options.server, trust, clock, log, signal };
  const membership = await join(shared, options.node, options);
  if (!membership) return;
  role = membership.role;
  if (fault) await repairUntilWhole(replica, log, signal);
  const slurm = membership.role === "controller" ? await openSlurm({ ...shared, replica }) : undefined;
  const following = follow({
    replica,
    trailing: slurm ? [slurm] : [],
    membership,
    clock,
    log,
    signal,
    software: `rollcall-agent ${packageJson.version}`,
    instance: randomUUID(),
  });
  await Promise.all([following, membership.keep(), slurm?.keep()]);
  log.info("stopped");
}

/** Places the links, and says which. */
async function linksOnly({ state, etc }: LinkOptions): Promise<void> {
  for (const link of await placeLinks(etc, foldersIn(state).served)) process.stdout.write(`placed ${link}\n`);
}

function unknownRole(): never {
  throw new Error("this node's role is not known");
}

/** Nothing is said to the control plane before the files are what the memory says: a Hello is a claim. */
async function repairUntilWhole(replica: Replica, log: pino.Logger, signal: AbortSignal): Promise<void> {
  for await (const _ of attempts(clock, signal)) {
    try {
      return await replica.repair();
    } catch (err) {
      log.error({ err }, "repairing files failed");
    }
  }
}

/** Ids of the groups that own files, from the node's own group(5). */
async function groupIds(etc: string): Promise<Map<string, number>> {
  // To try it out without root: such an agent can give files to no other group, and serves nobody but itself.
  if (process.geteuid?.() !== 0) return new Map([["shadow", process.getegid?.() ?? 0]]);
  const text = await readFile(path(etc, "group"), "utf8").catch(() => "");
  const lines = text.split("\n").map((line) => line.split(":"));
  return new Map(lines.flatMap(([name, , gid]) => (name === "shadow" && gid ? [[name, Number(gid)]] : [])));
}

try {
  const [command, ...rest] = process.argv.slice(2);
  const options = command === "links" ? undefined : readOptions(process.argv.slice(2));
  if (options === undefined) await linksOnly(readLinkOptions(rest));
  else if (options === "help") process.stdout.write(usage);
  else await main(options);
} catch (err) {
  if (err instanceof Refusal) {
    process.stderr.write(`rollcall-agent: ${err.message}\n\n${usage}`);
    process.exitCode = 2;
  } else {
    process.stderr.write(`rollcall-agent: ${describe(err)}\n`);
    process.exitCode = 1;
  }
}

/** An error with everything that led to it, in one line. */
function describe(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause === undefined ? err.message : `${err.message}: ${describe(err.cause)}`;
}

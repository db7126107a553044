/** rollcall-agent: wires the agent together on a real disk, clock and network, and stops cleanly when it is told to. */

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { uptime } from "node:os";
import { join as path } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { origin, samePosition } from "../identity/position.ts";
import { Refusal } from "../identity/refusal.ts";
import packageJson from "../package.json" with { type: "json" };
import { start } from "./apply.ts";
import { attempts } from "./attempts.ts";
import type { Clock } from "./clock.ts";
import { getent, presentOf } from "./compare/answers.ts";
import { Comparer } from "./compare/comparer.ts";
import { loadCredentials } from "./credentials.ts";
import { realDisk } from "./disk.ts";
import { foldersIn } from "./folders.ts";
import { follow } from "./follow.ts";
import { Lease, type MachineClock, unknownBoot } from "./lease.ts";
import { ownLinks, placeLinks, tendLinks } from "./links.ts";
import { join } from "./membership.ts";
import {
  type LinkOptions,
  type Options,
  readLinkOptions,
  readOptions,
  readStatusOptions,
  type StatusOptions,
  usage,
} from "./options.ts";
import { Gate } from "./policy/gate.ts";
import { LocalAccounts, uidsIn } from "./policy/local.ts";
import { allowsUid, usualSessions } from "./policy/policy.ts";
import { readPolicy } from "./policy/read.ts";
import { Replica } from "./replica.ts";
import { Reporter } from "./reporter.ts";
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
import { ageOf, exitCodes, isAlive, judge, readStatus, showStatus, thisRun } from "./status.ts";
import { Trust } from "./trust.ts";
import { drifted, noDrift, Watch } from "./watch.ts";

const clock: Clock & MachineClock = {
  now: Date.now,
  uptime: () => uptime() * 1000,
  boot: bootId(),
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
  if (!options.compare && gate.policy.sessions === "end" && whyUnable() !== undefined) {
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

  const software = `rollcall-agent ${packageJson.version}`;
  const before = await readStatus(realDisk, options.state);
  const lease = new Lease(clock, before?.silent_from);
  // Else each restart without a server would give sudo back for a moment.
  gate.withdrawSudo(lease.silence > (gate.policy.withdrawSudoAfter ?? Number.POSITIVE_INFINITY));

  const serves = !options.compare;
  if (!serves) await mayCompare(options);
  const { ground, warning, repaired, fault, wasUnfinished } = await start({
    gate,
    disk: realDisk,
    state: options.state,
    sinks: (disk, served, gids) => {
      if (!serves) return [];
      return [nssSink(disk, served, gids), sshSink(disk, served), sudoSink(disk, served), sessions(), homes()];
    },
    gids: await groupIds(options.etc),
  });
  const { served } = ground.folders;
  const replica = new Replica(ground, repaired);
  if (warning !== undefined) log.error({ reason: warning }, "the memory starts anew");
  // A node in service must not go without revocations because of a file in the way of a link: that is told, and left.
  const isNew = warning === undefined && samePosition(replica.at, origin);
  if (isNew && serves) await placeLinks(options.etc, served);
  // Where the agent may not write to /etc, the watch says so.
  else if (serves) await tendLinks(options.etc, served).catch(() => undefined);

  const { node, server: address, state } = options;
  const about = {
    disk: realDisk,
    state,
    clock,
    log,
    replica,
    gate,
    lease,
    software,
    node,
    server: address,
    comparing: !serves,
  };
  const reporter = new Reporter({ ...about, run: thisRun() });
  const changed = repaired?.changed ?? [];
  if (changed.length > 0) log.warn({ files: changed }, "files were repaired");
  // What another version of the agent, another policy or a crash left as it was is nobody's edit.
  const isSame =
    before?.software === software &&
    before.policy.sha256 === gate.policy.sum &&
    before.sudo_withdrawn === gate.isWithdrawn;
  const isDrift = isSame && !wasUnfinished;
  const watch = new Watch({
    ...{ replica, gate, lease, clock, log },
    links: () => (serves ? tendLinks(options.etc, served) : Promise.resolve({ placed: [], inTheWay: [] })),
    every: { look: options.lookEvery, reading: 60 * options.lookEvery },
    drift: drifted(before?.drift ?? noDrift, isDrift ? changed : [], clock.now()),
    told: (drift) => reporter.drifted(drift),
  });
  reporter.drifted(watch.drift);

  const reporting = reporter.run(signal);
  const background: Promise<void>[] = [];
  try {
    if (fault) await repairUntilWhole(replica, log, signal);
    background.push(watch.run(signal));
    if (!serves) background.push(comparerOf(options, replica, gate, log, reporter).run(signal));
    const trust = new Trust(realDisk, ground.folders, () => readFile(options.ca, "utf8"));
    await trust.now();
    const shared = { disk: realDisk, folders: ground.folders, address, trust, clock, log, signal };
    const membership = await join(shared, node, options);
    if (!membership) return;
    role = membership.role;
    reporter.certified(membership.until);
    const slurm = serves && membership.role === "controller" ? await openSlurm({ ...shared, replica }) : undefined;
    const following = follow({
      replica,
      trailing: slurm ? [slurm] : [],
      membership,
      clock,
      log,
      signal,
      software,
      instance: randomUUID(),
      comparing: !serves,
      report: () => reporter.report,
      observe: (event) => {
        // A renewed certificate is what a connection was made with.
        if (event.kind === "connected") reporter.certified(membership.until);
        reporter.on(event);
      },
    });
    await Promise.all([following, membership.keep(), slurm?.keep()]);
  } finally {
    stopping.abort();
    await Promise.all([reporting, ...background]);
  }
  log.info("stopped");
}

/** @throws Error if the node serves what the agent once wrote: a comparing agent would leave that as it is for ever. */
async function mayCompare({ state, etc }: Options): Promise<void> {
  const [link] = await ownLinks(etc, foldersIn(state).served);
  if (link === undefined) return;
  throw new Error(
    `--compare: this node is served by Rollcall's files (${link}), and nobody would keep them up to date`,
  );
}

function comparerOf({ etc }: Options, replica: Replica, gate: Gate, log: pino.Logger, reporter: Reporter): Comparer {
  return new Comparer({
    ...{ replica, gate, clock, log },
    present: (expected) => presentOf(etc, expected, getent),
    told: (found) => reporter.compared(found),
  });
}

/** Places the links, and says which. What is in the way of a node in service is no reason for its agent not to start. */
async function linksOnly({ state, etc }: LinkOptions): Promise<void> {
  const { served } = foldersIn(state);
  const isInService = (await realDisk.list(path(served, "nss"))).length > 0;
  const { placed, inTheWay } = isInService
    ? await tendLinks(etc, served)
    : { placed: await placeLinks(etc, served), inTheWay: [] };
  for (const link of placed) process.stdout.write(`placed ${link}\n`);
  for (const why of inTheWay) process.stderr.write(`${why}\n`);
}

/** `rollcall-agent status`: what the agent of this node last wrote down, and whether it still counts. */
async function showStatusOf({ state, json }: StatusOptions): Promise<void> {
  const status = await readStatus(realDisk, state);
  const verdict = judge(status, clock, isAlive);
  const age = status && Math.round(ageOf(status, clock) / 1000);
  const text = json
    ? `${JSON.stringify({ ...verdict, age_seconds: age, status }, null, 2)}\n`
    : showStatus(status, verdict, clock);
  process.stdout.write(text);
  process.exitCode = exitCodes[verdict.state];
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

/** Which run of the machine this is. A unit that hides most of /proc says it in the environment. */
function bootId(): string {
  try {
    const text = process.env["ROLLCALL_BOOT_ID"] ?? readFileSync("/proc/sys/kernel/random/boot_id", "latin1");
    return text.trim().replaceAll("-", "");
  } catch {
    return unknownBoot;
  }
}

try {
  const [command, ...rest] = process.argv.slice(2);
  if (command === "status") await showStatusOf(readStatusOptions(rest));
  else if (command === "links") await linksOnly(readLinkOptions(rest));
  else {
    const options = readOptions(process.argv.slice(2));
    if (options === "help") process.stdout.write(usage);
    else await main(options);
  }
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

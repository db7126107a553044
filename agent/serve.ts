/**
 * The agent's work, from its start until it is told to stop: makes the files what its memory says, watches over them, and follows the
 * control plane. Wires its parts together on the real machine.
 */

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join as path } from "node:path";
import { pino } from "pino";
import { origin, samePosition } from "../identity/position.ts";
import packageJson from "../package.json" with { type: "json" };
import { start } from "./apply.ts";
import { attempts } from "./attempts.ts";
import { getent, presentOf } from "./compare/answers.ts";
import { Comparer } from "./compare/comparer.ts";
import { loadCredentials } from "./credentials.ts";
import { realDisk } from "./disk.ts";
import { foldersIn } from "./folders.ts";
import { follow } from "./follow.ts";
import { ownMemory, tidy } from "./garbage.ts";
import { Lease } from "./lease.ts";
import { ownLinks, placeLinks, tendLinks } from "./links.ts";
import { machineClock as clock, groupIds } from "./machine.ts";
import { join, type Membership } from "./membership.ts";
import type { Options } from "./options.ts";
import { Gate } from "./policy/gate.ts";
import { LocalAccounts } from "./policy/local.ts";
import { readPolicy } from "./policy/read.ts";
import { Replica } from "./replica.ts";
import { Reporter } from "./reporter.ts";
import { usualSinks, whyUnable } from "./sinks/usual.ts";
import { openSlurm } from "./slurm/follow.ts";
import { readStatus, type Status, thisRun } from "./status.ts";
import { Trust } from "./trust.ts";
import { drifted, noDrift, Watch } from "./watch.ts";

const software = `rollcall-agent ${packageJson.version}`;

export async function serve(options: Options): Promise<void> {
  const { node, server: address, state, etc } = options;
  const serves = !options.compare;
  const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }));
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopping.abort());
  const { signal } = stopping;

  const gate = await openGate(options, log);
  if (!serves) await mayCompare(options);
  const before = await readStatus(realDisk, state);
  const lease = new Lease(clock, before?.silent_from);
  // Else each restart without a server would give sudo back for a moment.
  gate.withdrawSudo(lease.silence > (gate.policy.withdrawSudoAfter ?? Number.POSITIVE_INFINITY));

  // Known before the first step: a node that holds anything has enrolled.
  const held = await loadCredentials(realDisk, foldersIn(state)).catch(() => undefined);
  let membership: Membership | undefined;
  const role = () => membership?.role ?? held?.role;
  const { ground, warning, repaired, fault, wasUnfinished } = await start({
    gate,
    disk: realDisk,
    state,
    sinks: (disk, served, gids) =>
      serves ? usualSinks({ disk, served, gids, gate, node, etc, role, clock, log, signal }) : [],
    gids: await groupIds(etc),
  });
  const { folders } = ground;
  const replica = new Replica(ground, repaired, (err) => log.warn({ err }, "the memory was not compacted"));
  if (warning !== undefined) log.error({ reason: warning }, "the memory starts anew");
  const isNew = warning === undefined && samePosition(replica.at, origin);
  // A node in service must not go without revocations because of a file in the way of a link: that is told, and left.
  if (isNew && serves) await placeLinks(etc, folders.served);
  // Where the agent may not write to /etc, the watch says so.
  else if (serves) await tendLinks(etc, folders.served).catch(() => undefined);

  const about = { replica, gate, lease, clock, log };
  const reporter = new Reporter({
    ...{ ...about, disk: realDisk, state, software, node, server: address, comparing: !serves, run: thisRun() },
  });
  const changed = repaired?.changed ?? [];
  if (changed.length > 0) log.warn({ files: changed }, "files were repaired");
  const isDrift = !wasUnfinished && wasLeftBy(before, gate);
  const watch = new Watch({
    ...about,
    links: () => (serves ? tendLinks(etc, folders.served) : Promise.resolve({ placed: [], inTheWay: [] })),
    every: { look: options.lookEvery, reading: 60 * options.lookEvery },
    drift: drifted(before?.drift ?? noDrift, isDrift ? changed : [], clock.now()),
    told: (drift) => reporter.drifted(drift),
  });
  reporter.drifted(watch.drift);
  if (held) reporter.certified(held.life.to);

  const reporting = reporter.run(signal);
  const background: Promise<void>[] = [];
  try {
    if (fault) await repairUntilWhole(replica, log, signal);
    background.push(watch.run(signal));
    const memory = ownMemory();
    if (memory) background.push(tidy(memory, clock, signal));
    if (!serves) background.push(comparerOf(options, replica, gate, log, reporter).run(signal));
    const trust = new Trust(realDisk, folders, () => readFile(options.ca, "utf8"));
    // Nobody is served yet: what is wrong is said at once.
    if (isNew) await trust.now();
    const shared = { disk: realDisk, folders, clock, log, signal };
    const member = await join({ ...shared, address, node, tokens: options, trust }, isNew, (because) =>
      reporter.on({ kind: "disconnected", because }),
    );
    if (!member) return;
    membership = member;
    reporter.certified(member.until);
    const slurm = serves && member.role === "controller" ? await openSlurm({ ...shared, replica }) : undefined;
    if (slurm) reporter.trails(slurm);
    const following = follow({
      ...shared,
      replica,
      trailing: slurm ? [slurm] : [],
      membership: member,
      software,
      instance: randomUUID(),
      comparing: !serves,
      report: () => reporter.report,
      observe: (event) => {
        // A renewed certificate is what a connection was made with.
        if (event.kind === "connected") reporter.certified(member.until);
        reporter.on(event);
      },
    });
    await Promise.all([following, member.keep(), slurm?.keep()]);
  } finally {
    stopping.abort();
    await Promise.all([reporting, ...background]);
  }
  log.info("stopped");
}

/** What the node's own policy and accounts let through. @throws Error if the policy cannot be used, or kept, by this process. */
async function openGate({ etc, compare }: Options, log: pino.Logger): Promise<Gate> {
  const file = path(etc, "rollcall/policy.yaml");
  const policy = await readPolicy(file);
  const accounts = new LocalAccounts(etc);
  await accounts.refresh();
  const complain = (err: unknown) => log.error({ err }, "the policy cannot be used, the last good one stays");
  const gate = new Gate(policy, () => readPolicy(file), complain, accounts);
  const unable = !compare && gate.policy.sessions === "end" ? whyUnable() : undefined;
  if (unable !== undefined) throw new Error(`the policy says sessions: end, but ${unable}`);
  return gate;
}

/** @throws Error if the node serves what the agent once wrote: a comparing agent would leave that as it is for ever. */
async function mayCompare({ state, etc }: Options): Promise<void> {
  const [link] = await ownLinks(etc, foldersIn(state).served);
  if (link === undefined) return;
  throw new Error(
    `--compare: this node is served by Rollcall's files (${link}), and nobody would keep them up to date`,
  );
}

/** What another version of the agent, or another policy, left as it was is nobody's edit. */
function wasLeftBy(before: Status | undefined, { policy, isWithdrawn }: Gate): boolean {
  return before?.software === software && before.policy.sha256 === policy.sum && before.sudo_withdrawn === isWithdrawn;
}

function comparerOf({ etc }: Options, replica: Replica, gate: Gate, log: pino.Logger, reporter: Reporter): Comparer {
  return new Comparer({
    ...{ replica, gate, clock, log },
    present: (expected) => presentOf(etc, expected, getent),
    told: (found) => reporter.compared(found),
  });
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

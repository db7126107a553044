/**
 * How the agent stands, as a file that it replaces whole: `status.json` in its state folder, for `rollcall-agent status`, for monitoring,
 * and for its own next run (since when the server is silent, what was mended).
 *
 * A file, not a socket: the root process answers nobody, the file outlives it, and says of a dead agent what it last knew.
 * It holds no secret, and everybody may read it. Whether it is still true its reader judges: by the machine's own
 * clock, and by whether the process is there.
 */

import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { Position } from "../identity/position.ts";
import type { SinkReport } from "./agent.ts";
import type { Comparison } from "./compare/comparer.ts";
import type { Disk } from "./disk.ts";
import { type MachineClock, type Moment, since } from "./lease.ts";
import type { Policy } from "./policy/policy.ts";
import type { Drift } from "./watch.ts";

/** The process that wrote a status. */
export interface Run {
  readonly pid: number;
  /** When it started, in the kernel's ticks: another process of the same number started at another time. */
  readonly started: string;
  /** In which namespace that number counts. */
  readonly namespace: string;
}

export interface Refusal {
  readonly revision: string;
  readonly sink: string;
  readonly reason: string;
  readonly retrying: boolean;
  readonly at: number;
}

export type Link =
  | { readonly state: "connected"; readonly since: number; readonly mode: string }
  | { readonly state: "not connected"; readonly since: number; readonly because: string };

/** How far a sink of its own pace has got. */
export interface Trailing {
  readonly sink: string;
  /** The newest revision of which it made everything true; 0: none yet. */
  readonly revision: string;
  /** Why it is behind, or what else is to be known of it; empty: nothing. */
  readonly reason: string;
  /** Since when it gives this reason. */
  readonly since?: number;
  /** Uids of people of whom `revision` says nothing yet: they left, and have jobs that may finish. */
  readonly lingering: readonly number[];
}

/** Times are milliseconds since 1970, durations milliseconds. */
export interface Status {
  readonly format: 1;
  readonly software: string;
  readonly node: string;
  readonly server: string;
  /** It serves nothing, and only compares. */
  readonly comparing: boolean;
  readonly comparison?: Comparison;
  readonly run: Run;
  readonly written: Moment;
  /** The agent ended in order. */
  readonly stopped: boolean;
  readonly position: { readonly epoch: string; readonly revision: string; readonly digest: string };
  readonly link: Link;
  /** When the server was last heard; absent if never. */
  readonly heard?: Moment;
  /** What the server's silence counts from. */
  readonly silent_from: Moment;
  readonly refusal?: Refusal;
  /** Resources that are held and not served, in all and the first of them. */
  readonly isolated: {
    readonly count: number;
    readonly first: readonly { sink: string; key: string; reason: string }[];
  };
  /** Sinks of their own pace; absent: an agent of before wrote this. */
  readonly sinks?: readonly Trailing[];
  readonly drift: Drift;
  readonly policy: { readonly sha256?: string; readonly stale_after: number; readonly withdraw_sudo_after?: number };
  readonly sudo_withdrawn: boolean;
  readonly certificate_expires?: number;
}

/** How a status is to be taken. */
export type Verdict =
  | { readonly state: "fresh" | "degraded" | "stale"; readonly because: readonly string[] }
  | { readonly state: "not running"; readonly because: readonly string[] };

export const exitCodes = { fresh: 0, degraded: 6, stale: 5, "not running": 8 } as const satisfies Record<
  Verdict["state"],
  number
>;

/** It is written at least so often, in milliseconds. */
export const writtenEvery = 60_000;

/** A certificate that is not renewed by then ends soon: it lasts a day, and is renewed after half of it. */
const certificateLeft = 6 * 3_600_000;

const mostIsolated = 100;

export function statusPath(state: string): string {
  return join(state, "status.json");
}

/** Replaces the status file. Staged in the private folder: a repair empties the stage at any time. */
export async function writeStatus(disk: Disk, state: string, status: Status): Promise<void> {
  const staged = join(state, "private", "status.new");
  await disk.create(staged, Buffer.from(`${JSON.stringify(status, null, 2)}\n`), { mode: 0o644 });
  await disk.rename(staged, statusPath(state));
}

/** What a status file says; undefined if there is none, or it cannot be read: then nothing is known. */
export async function readStatus(disk: Disk, state: string): Promise<Status | undefined> {
  const found = await disk.read(statusPath(state)).catch(() => undefined);
  try {
    const status = JSON.parse(found?.bytes.toString() ?? "") as Status;
    const { format, written, silent_from: from, drift } = status;
    const isWhole = Number.isInteger(drift.count) && Array.isArray(drift.files) && Array.isArray(drift.strays);
    return format === 1 && isMoment(written) && isMoment(from) && isWhole ? status : undefined;
  } catch {
    return undefined;
  }
}

function isMoment(value: unknown): value is Moment {
  const { boot, uptime, at } = (value ?? {}) as Record<string, unknown>;
  return typeof boot === "string" && Number.isFinite(uptime) && Number.isFinite(at);
}

/** Entries as a status names them. */
export function isolatedIn(reports: readonly SinkReport[]): Status["isolated"] {
  const all = reports.flatMap(({ sink, isolated }) => isolated.map(({ key, reason }) => ({ sink, key, reason })));
  return { count: all.length, first: all.slice(0, mostIsolated) };
}

export function positionIn({ epoch, revision, digest }: Position): Status["position"] {
  return { epoch: `${epoch.seq} ${epoch.id}`, revision: String(revision), digest };
}

export function policyIn({ sum, staleAfter, withdrawSudoAfter }: Policy): Status["policy"] {
  return {
    ...(sum !== undefined && { sha256: sum }),
    stale_after: staleAfter,
    ...(withdrawSudoAfter !== undefined && { withdraw_sudo_after: withdrawSudoAfter }),
  };
}

/** How old what the node holds is, in milliseconds: how long the server has not been heard. */
export function ageOf(status: Status, clock: MachineClock): number {
  return since(status.silent_from, clock);
}

/** Judges a status now. @param isAlive whether the process that wrote it is there, if that can be told. */
export function judge(
  status: Status | undefined,
  clock: MachineClock,
  isAlive: (run: Run) => boolean | undefined,
): Verdict {
  if (!status) return { state: "not running", because: ["no agent has left a status here"] };
  if (status.stopped) return { state: "not running", because: ["the agent was stopped"] };
  const alive = isAlive(status.run);
  if (alive === false) return { state: "not running", because: [`the process ${status.run.pid} is gone`] };
  const unwritten = since(status.written, clock);
  if (unwritten > 3 * writtenEvery) {
    return { state: "not running", because: [`the status was last written ${seconds(unwritten)} ago`] };
  }
  const because = [...whyStale(status, clock), ...whyDegraded(status, clock)];
  if (whyStale(status, clock).length > 0) return { state: "stale", because };
  return { state: because.length > 0 ? "degraded" : "fresh", because };
}

function whyStale(status: Status, clock: MachineClock): string[] {
  const { stale_after: limit } = status.policy;
  const age = ageOf(status, clock);
  return age > limit ? [`the server has been silent for ${seconds(age)}; the limit is ${seconds(limit)}`] : [];
}

function whyDegraded(status: Status, clock: MachineClock): string[] {
  const { refusal, isolated, drift, certificate_expires: expires, link, position } = status;
  const [first] = isolated.first;
  return [
    ...(status.sudo_withdrawn ? ["sudo is withdrawn until the server is heard again"] : []),
    ...(position.revision === "0" ? ["nothing was ever sent to this node"] : []),
    ...(link.state === "connected" && link.mode === "wait"
      ? ["the server knows less than this node, and sends nothing"]
      : []),
    ...(refusal ? [`r${refusal.revision} was refused: ${refusal.sink}: ${refusal.reason}`] : []),
    ...(first ? [`${isolated.count} not served, first ${first.sink}: ${first.key}: ${first.reason}`] : []),
    ...(status.sinks ?? []).filter(isBehind(position)).map(showTrailing),
    ...drift.faults,
    ...(status.comparison?.fault ? [`not compared: ${status.comparison.fault}`] : []),
    ...(expires === undefined ? [] : whyUncertain(expires - clock.now(), time(expires))),
  ];
}

function whyUncertain(left: number, end: string): string[] {
  if (left >= certificateLeft) return [];
  return [
    left > 0
      ? `the certificate ends ${end}, and is not renewed`
      : `the certificate ended ${end}: if it is not renewed, the node needs a new join token`,
  ];
}

/** It has not made true what the node holds, and says why. */
function isBehind({ revision }: Status["position"]): (sink: Trailing) => boolean {
  return (sink) => sink.reason !== "" && BigInt(sink.revision) < BigInt(revision);
}

function showTrailing({ sink, revision, reason, since, lingering }: Trailing): string {
  return [
    `${sink} is true up to r${revision}`,
    ...(reason === "" ? [] : [`${reason}${since === undefined ? "" : ` (since ${time(since)})`}`]),
    ...(lingering.length === 0 ? [] : [`jobs left to finish: ${lingering.length} people's`]),
  ].join("; ");
}

/** A status for people: one fact a line. */
export function showStatus(status: Status | undefined, verdict: Verdict, clock: MachineClock): string {
  const lines: [string, string][] = [["state", verdict.state]];
  for (const why of verdict.because) lines.push(["", why]);
  if (status) {
    const { position, link, drift, policy, heard } = status;
    lines.push(["node", `${status.node}, ${status.software}, pid ${status.run.pid}`]);
    lines.push(["server", `${status.server}, ${link.state} since ${time(link.since)}`]);
    if (link.state === "not connected") lines.push(["", link.because]);
    lines.push(["heard", heard ? `${seconds(since(heard, clock))} ago` : "never"]);
    lines.push(["holds", `r${position.revision} ${position.digest}`]);
    if (status.comparing) lines.push(["comparing", showComparison(status.comparison)]);
    for (const sink of status.sinks ?? []) lines.push(["sink", showTrailing(sink)]);
    lines.push(["isolated", `${status.isolated.count}`]);
    lines.push([
      "drift",
      drift.lastAt === undefined
        ? "none"
        : `${drift.count} times, last ${time(drift.lastAt)}: ${drift.files.join(", ")}`,
    ]);
    if (drift.strays.length > 0) lines.push(["strays", drift.strays.join(", ")]);
    lines.push(["policy", policy.sha256 ?? "none"]);
    if (status.certificate_expires !== undefined)
      lines.push(["certificate", `until ${time(status.certificate_expires)}`]);
  }
  return lines
    .map(([name, value]) => `${name.padEnd(12)} ${value}`.trimEnd())
    .join("\n")
    .concat("\n");
}

function showComparison(found: Comparison | undefined): string {
  if (!found) return "not yet; serves nothing";
  if (found.fault !== "") return `serves nothing; ${found.fault}`;
  const { usersDiffering, users, groupsDiffering, groups, keysDiffering, keys } = found;
  const counts = `${usersDiffering} of ${users} people, ${groupsDiffering} of ${groups} groups`;
  return `serves nothing; ${counts}, keys of ${keysDiffering} of ${keys} differ at r${found.revision}`;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

/** This process, as {@link isAlive} looks for it. */
export function thisRun(): Run {
  return { pid: process.pid, started: startOf("self") ?? "", namespace: namespaceOf("self") };
}

/** Whether a process is there; undefined if its number means nothing here. */
export function isAlive({ pid, started, namespace }: Run): boolean | undefined {
  return namespace !== "" && namespace === namespaceOf("self") ? startOf(String(pid)) === started : undefined;
}

/** The 22nd field of /proc/PID/stat; the second one may hold anything, and ends with the last bracket. */
function startOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ")[19];
  } catch {
    return undefined;
  }
}

function namespaceOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return "";
  }
}

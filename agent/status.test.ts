import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { realDisk } from "./disk.ts";
import type { MachineClock } from "./lease.ts";
import {
  exitCodes,
  isAlive,
  judge,
  readStatus,
  type Status,
  showStatus,
  statusPath,
  thisRun,
  writeStatus,
} from "./status.ts";
import { noDrift } from "./watch.ts";

const hour = 3_600_000;
const clock: MachineClock = { boot: "boot", uptime: () => 100 * hour, now: () => 1000 * hour };
const ago = (ms: number) => ({ boot: "boot", uptime: 100 * hour - ms, at: 1000 * hour - ms });
const alive = () => true;

const fresh: Status = {
  format: 1,
  software: "rollcall-agent 1",
  node: "login-1",
  server: "control:8444",
  comparing: false,
  run: { pid: 7, started: "1", namespace: "pid:[1]" },
  written: ago(1000),
  stopped: false,
  position: { epoch: "1 a", revision: "4", digest: "d" },
  link: { state: "connected", since: 999 * hour, mode: "up to date" },
  heard: ago(2000),
  silent_from: ago(2000),
  isolated: { count: 0, first: [] },
  drift: noDrift,
  policy: { stale_after: hour },
  sudo_withdrawn: false,
  certificate_expires: 1012 * hour,
};

const slurm = { sink: "slurm", revision: "3", reason: "slurmdbd is away", since: 999 * hour, lingering: [] };

test.each<[string, Partial<Status>, keyof typeof exitCodes, string | undefined]>([
  ["all is well", {}, "fresh", undefined],
  ["not connected, but not for long", { link: { state: "not connected", since: 0, because: "x" } }, "fresh", undefined],
  ["the server is silent", { silent_from: ago(hour + 1000) }, "stale", "silent for 3601 s; the limit is 3600 s"],
  [
    "that, and a refusal",
    {
      silent_from: ago(2 * hour),
      refusal: { revision: "5", sink: "nss", reason: "disk full", retrying: true, at: 0 },
    },
    "stale",
    "r5 was refused: nss: disk full",
  ],
  [
    "a refusal",
    { refusal: { revision: "5", sink: "nss", reason: "disk full", retrying: true, at: 0 } },
    "degraded",
    "r5 was refused",
  ],
  [
    "isolated",
    { isolated: { count: 2, first: [{ sink: "nss", key: "group/1", reason: "too long" }] } },
    "degraded",
    "2 not served, first nss: group/1: too long",
  ],
  ["a fault", { drift: { ...noDrift, faults: ["/etc/x is in the way"] } }, "degraded", "/etc/x is in the way"],
  ["repaired drift is no fault", { drift: { ...noDrift, count: 3, lastAt: 5, files: ["a"] } }, "fresh", undefined],
  ["sudo withdrawn", { sudo_withdrawn: true }, "degraded", "sudo is withdrawn"],
  ["nothing yet", { position: { epoch: "0 0", revision: "0", digest: "" } }, "degraded", "nothing was ever sent"],
  ["a server that waits", { link: { state: "connected", since: 0, mode: "wait" } }, "degraded", "knows less"],
  ["a certificate about to end", { certificate_expires: 1005 * hour }, "degraded", "the certificate ends"],
  [
    "a certificate that has ended",
    { certificate_expires: 999 * hour },
    "degraded",
    "the certificate ended 1970-02-11T15:00:00.000Z: if it is not renewed, the node needs a new join token",
  ],
  [
    "a sink that is behind",
    { sinks: [slurm] },
    "degraded",
    "slurm is true up to r3; slurmdbd is away (since 1970-02-11",
  ],
  ["one that is only catching up", { sinks: [{ ...slurm, reason: "" }] }, "fresh", undefined],
  ["one that has something to say", { sinks: [{ ...slurm, revision: "4", reason: "put back x" }] }, "fresh", undefined],
  ["stopped", { stopped: true }, "not running", "was stopped"],
  ["not written for long", { written: ago(200_000) }, "not running", "last written 200 s ago"],
  ["from before the machine started anew", { written: { ...ago(0), boot: "other" } }, "not running", "last written"],
])("%s", (_, change, state, why) => {
  const verdict = judge({ ...fresh, ...change }, clock, alive);
  expect(verdict.state).toBe(state);
  if (why === undefined) expect(verdict.because).toEqual([]);
  else expect(verdict.because.join("; ")).toContain(why);
  expect(showStatus({ ...fresh, ...change }, verdict, clock)).toContain(`state        ${state}\n`);
});

test("each sink of its own pace has a line; a status of an agent that knew of none has none", () => {
  const shown = (sinks: Status["sinks"]) => {
    const { sinks: _, ...before } = fresh;
    const status = sinks ? { ...before, sinks } : before;
    return showStatus(status, judge(status, clock, alive), clock);
  };
  expect(shown([{ ...slurm, revision: "4", reason: "", lingering: [200_001, 200_002] }])).toContain(
    "\nsink         slurm is true up to r4; jobs left to finish: 2 people's\n",
  );
  expect(shown([slurm])).toContain(
    "\nsink         slurm is true up to r3; slurmdbd is away (since 1970-02-11T15:00:00.000Z)\n",
  );
  expect(shown(undefined)).not.toContain("\nsink ");
});

test("exit codes, and none without a status", () => {
  expect(exitCodes).toEqual({ fresh: 0, stale: 5, degraded: 6, "not running": 8 });
  expect(judge(undefined, clock, alive).state).toBe("not running");
  expect(judge(fresh, clock, () => false)).toEqual({ state: "not running", because: ["the process 7 is gone"] });
  expect(judge(fresh, clock, () => undefined).state).toBe("fresh");
});

test("a process is told from another one of its number, and from one of another namespace", () => {
  const run = thisRun();
  expect(isAlive(run)).toBe(true);
  expect(isAlive({ ...run, started: "1" })).toBe(false);
  expect(isAlive({ ...run, pid: 2 ** 30 })).toBe(false);
  expect(isAlive({ ...run, namespace: "pid:[1]" })).toBeUndefined();
  expect(isAlive({ ...run, namespace: "" })).toBeUndefined();
});

test("the file is replaced whole, world-readable, and read back; nonsense says nothing", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-status-"));
  const state = folder.path;
  expect(await readStatus(realDisk, state)).toBeUndefined();
  await realDisk.folder(join(state, "private"), 0o700);
  await writeStatus(realDisk, state, fresh);
  await writeStatus(realDisk, state, { ...fresh, node: "other" });
  expect(await readStatus(realDisk, state)).toEqual({ ...fresh, node: "other" });
  expect((await realDisk.read(statusPath(state)))?.mode).toBe(0o644);
  expect(await realDisk.list(join(state, "private"))).toEqual([]);
  for (const text of [
    "",
    "{",
    "null",
    "{}",
    JSON.stringify({ ...fresh, format: 2 }),
    JSON.stringify({ ...fresh, drift: 1 }),
  ]) {
    await realDisk.create(statusPath(state), Buffer.from(text), { mode: 0o644 });
    expect(await readStatus(realDisk, state), text).toBeUndefined();
  }
});

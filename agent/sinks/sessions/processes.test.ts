/** Processes as /proc shows them: real ones where the machine lets us be root, written ones for what cannot be arranged. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempDisposableSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { parseUid } from "../../../identity/id.ts";
import type { Clock } from "../../clock.ts";
import { endAll } from "./end.ts";
import { processesIn, readProcess } from "./processes.ts";
import { sweep } from "./sweep.ts";

const uid = parseUid(200_001);
const uids = new Set([uid]);

interface Look {
  owners?: string;
  state?: string;
  threads?: number;
  pending?: string;
  flags?: number;
  name?: string;
}

function read({
  owners = "200001 200001 200001 200001",
  state = "S (sleeping)",
  threads = 1,
  pending = "0000000000000000",
  flags = 0,
  name = "sh",
}: Look) {
  const status = [
    ...[`Name:\t${name.replaceAll("\n", "\\n")}`, `State:\t${state}`, `Uid:\t${owners.replaceAll(" ", "\t")}`],
    ...[`Threads:\t${threads}`, "SigPnd:\t0000000000000000", `ShdPnd:\t${pending}`, "SigBlk:\t0000000000000100", ""],
  ];
  const stat = `7 (${name}) S 1 7 7 0 -1 ${flags} 0 0 0 0 0 0 0 0 20 0 ${threads} 0 4711 1 1\n`;
  return readProcess(7, status.join("\n"), stat, uids);
}

test.each<[string, Look, object | undefined]>([
  ["its own", {}, { pid: 7, start: "4711", uid, as: "own", state: "running" }],
  ["nobody's of interest", { owners: "200002 200002 200002 200002" }, undefined],
  ["a program of root's that the user started", { owners: "200001 0 0 0" }, { as: "own" }],
  ["one that may turn back into the user", { owners: "200002 200002 200001 200002" }, { as: "own" }],
  ["another user's program that acts as the user", { owners: "200002 200001 200002 200001" }, { as: "own" }],
  ["root's that acts as the user", { owners: "0 200001 0 200001" }, { as: "acting" }],
  ["root's that reads files as the user", { owners: "0 0 0 200001" }, { as: "acting" }],
  ["one that is stopped", { state: "T (stopped)" }, { state: "stopped" }],
  ["one that is traced", { state: "t (tracing stop)" }, { state: "stopped" }],
  ["one that is dead", { state: "Z (zombie)" }, undefined],
  ["one whose first thread ended, and others did not", { state: "Z (zombie)", threads: 2 }, { state: "running" }],
  ["one that is killed, and waits", { state: "D (disk sleep)", pending: "0000000000000100" }, { state: "doomed" }],
  ["one that is ending", { state: "D (disk sleep)", flags: 0x404004 }, { state: "doomed" }],
  ["one whose first thread is ending", { threads: 3, flags: 0x404004 }, { state: "running" }],
  ["one with a hostile name", { name: "x) Z 1 1\nUid:\t0\t0\t0\t0\n(" }, { as: "own", start: "4711" }],
])("%s", (_, look, wanted) => {
  if (wanted) expect(read(look)).toMatchObject(wanted);
  else expect(read(look)).toBeUndefined();
});

test("a number that another process has by now is not signalled", async () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), "rollcall-proc-"));
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  const own = join(folder.path, String(child.pid));
  mkdirSync(own);
  const write = (start: number) => {
    writeFileSync(join(own, "status"), `State:\tS\nUid:\t200001\t200001\t200001\t200001\nThreads:\t1\n`);
    writeFileSync(join(own, "stat"), `1 (sleep) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${start} 1\n`);
  };
  write(1);
  const processes = processesIn(folder.path);
  const [found] = processes.of(uids);
  if (!found) throw new Error("not found");
  write(2);
  processes.signal(found, "SIGKILL");
  await sleep(50);
  expect(child.exitCode ?? child.signalCode).toBeNull();
  write(1);
  const ended = once(child, "exit");
  processes.signal(found, "SIGKILL");
  expect(await ended).toEqual([null, "SIGKILL"]);
});

const isRoot = process.geteuid?.() === 0;
const clock: Clock = {
  now: Date.now,
  elapsed: () => performance.now(),
  sleep: (ms) => sleep(ms),
  random: Math.random,
};

describe.runIf(isRoot)("real processes of a user", () => {
  // Nobody else's, in runs that overlap.
  const own = parseUid(300_000 + (process.pid % 100_000));
  const run = (script: string): ChildProcess =>
    spawn("sh", ["-c", script], { uid: own, gid: own, stdio: "ignore", cwd: "/" });
  const ending = { processes: processesIn(), sweep, clock };
  const ended = async (child: ChildProcess): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  };

  test("end, polite or not, and nobody else's do", async () => {
    const bystander = spawn("sleep", ["60"], { stdio: "ignore", uid: own + 1, gid: own });
    const polite = run("exec sleep 60");
    const deaf = run("trap '' TERM HUP INT; while :; do sleep 60; done");
    await sleep(100);
    expect(ending.processes.of(new Set([own])).length).toBeGreaterThanOrEqual(3);
    const { found, doomed } = await endAll(new Set([own]), ending);
    expect(found).toBeGreaterThanOrEqual(3);
    expect(doomed).toEqual([]);
    expect(ending.processes.of(new Set([own]))).toEqual([]);
    await Promise.all([polite, deaf].map(ended));
    expect(bystander.signalCode).toBeNull();
    bystander.kill("SIGKILL");
  });

  test("that hide in a user namespace of their own end too", async ({ skip }) => {
    const script = `use POSIX; $| = 1;
      syscall((POSIX::uname())[4] eq "x86_64" ? 272 : 97, 0x10000000) == 0 or die; # unshare(CLONE_NEWUSER)
      print "in\\n"; <STDIN>; POSIX::setuid(1) == 0 or die; print "hidden\\n"; sleep 100`;
    const hider = spawn("perl", ["-e", script], { uid: own, gid: own, stdio: ["pipe", "pipe", "ignore"], cwd: "/" });
    const said = await new Promise((resolve) => hider.stdout.once("close", resolve).once("data", resolve));
    if (!said) return skip("no user namespaces here");
    const other = 700_000 + (process.pid % 100_000);
    // Root lets it be two people in there.
    writeFileSync(`/proc/${hider.pid}/uid_map`, `0 ${own} 1\n1 ${other} 1\n`);
    hider.stdin.write("go\n");
    await once(hider.stdout, "data");
    expect(readFileSync(`/proc/${hider.pid}/status`, "latin1")).toContain(`Uid:\t${other}\t`);
    expect(ending.processes.of(new Set([own]))).toEqual([]);
    expect(await endAll(new Set([own]), ending)).toEqual({ found: 0, doomed: [] });
    await ended(hider);
    expect(hider.signalCode).toBe("SIGKILL");
  });
});

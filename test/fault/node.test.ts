/**
 * S13, A6, A9, S11: a node whose clock jumps, whose disk is slow while the server pushes, or whose memory runs out. Nobody disappears, no
 * neighbour waits, and it comes to hold what the others hold, without a snapshot.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Host, type Lab, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";
import { Started } from "../processes/started.ts";
import { HostedNode, HostedPlane } from "../real/system.ts";

const day = 86_400;

describeHosts("a node on a bad day", () => {
  let lab: Lab;
  let plane: HostedPlane;
  let neighbour: HostedNode;
  let group: string;

  beforeAll(async () => {
    lab = await openLab({ name: "bad-day" });
    plane = await HostedPlane.start(lab);
    neighbour = await HostedNode.join(plane, await lab.host("neighbour"), "login");
    group = await plane.create("Groups", { displayName: "slurm-users" });
    await admit("ada");
  });

  afterAll(async () => {
    await neighbour[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  async function admit(name: string): Promise<void> {
    await plane.addMember(group, await plane.create("Users", { userName: name }));
  }

  /** Resolves once a node proved that it holds the head. */
  async function holds(node: string, timeout = 30_000): Promise<void> {
    const head = await plane.head();
    await expect.poll(async () => (await plane.node(node)).acked?.revision, { timeout }).toBe(head);
  }

  test("keeps everybody when its clock jumps, and hears what is new as long as the stream is open", async () => {
    const host = await lab.host("clock");
    const clock = await openClock(host);
    await using node = await HostedNode.join(plane, host, "login", clock.through);
    for (const [n, seconds] of [3600, 400 * day, -10 * 365 * day].entries()) {
      await clock.jump(seconds);
      await admit(`clock${n}`);
      await holds("clock");
      expect(await served(host), `at ${seconds} s`).toEqual(await served(neighbour.host));
    }
    const everybody = await served(host);

    // Ten years ago there was no such control plane: it is not spoken to, and everybody stays.
    await node.process.end("SIGTERM");
    node.begin(clock.through);
    await node.process.says(/not yet valid/);
    expect(await served(host)).toEqual(everybody);
    await clock.jump(0);
    expect(await node.connected()).toBe("up-to-date");

    // In a year its certificate has ended, and its join token is used: it cannot come back, and everybody stays.
    await node.process.end("SIGTERM");
    await clock.jump(400 * day);
    node.begin(clock.through);
    await node.process.says(/enroll|expired/);
    expect(await served(host)).toEqual(everybody);
    await node.process.end("SIGTERM");
    await clock.jump(0);
    expect(await node.start(clock.through)).toBe("up-to-date");
  });

  test("hears several changes as one when its disk is slow, and keeps no neighbour waiting", async () => {
    const host = await lab.host("slow");
    await using node = await HostedNode.join(plane, host, "login");
    await holds("slow");
    const { stdout: pid } = await host.run("pgrep", ["-of", "agent/main.ts"]);
    const delay = ["-e", "trace=fsync", "-e", "inject=fsync:delay_enter=100ms"];
    await using tracer = new Started(host.spawn("strace", ["-f", "-p", pid.trim(), "-o", "/dev/null", ...delay]));
    await tracer.says(/attached/);
    const before = applied(node);
    for (let n = 0; n < changes; n++) {
      await admit(`slow${n}`);
      await holds("neighbour", 2_000);
    }
    expect((await plane.node("slow")).acked?.revision, "it is behind").toBeLessThan(await plane.head());
    await holds("slow");
    expect(applied(node) - before).toBeLessThan(changes / 2);
    expect(await served(host)).toEqual(await served(neighbour.host));
    expect(node.process.stderr).not.toContain('"msg":"refused"');
  });

  test("comes back by delta when the kernel killed it for want of memory", async (context) => {
    const host = await lab.host("small");
    await using room = await openRoom(host);
    if (!room) return context.skip("this machine gives no cgroup with a limit of memory");
    await using node = await HostedNode.join(plane, host, "login", room.through);
    await holds("small");
    await room.narrow();
    const died = new Promise<string | null>((resolve) =>
      node.process.process.once("exit", (_, signal) => resolve(signal)),
    );
    const alive = () => node.process.process.exitCode === null && node.process.process.signalCode === null;
    for (let n = 0; alive() && n < 60; n++) await admit(`small${n}`);
    expect(await died).toBe("SIGKILL");
    expect(await room.kills()).toBeGreaterThan(0);
    const people = await served(host);
    expect(people, "while it is gone").toContain("ada");
    await room.widen();
    expect(["delta", "up-to-date"]).toContain(await node.start(room.through));
    await holds("small");
    expect(await served(host)).toEqual(await served(neighbour.host));
  });
});

const changes = 10;

/** Everybody of the cache, as readers find them. */
async function served(host: Host): Promise<string[]> {
  const { stdout } = await host.run("getent", ["-s", "cache", "passwd"]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(":", 1)[0] ?? "")
    .sort();
}

function applied(node: HostedNode): number {
  return node.process.stderr.split('"msg":"applied"').length - 1;
}

interface FakeClock {
  /** The words before a command that is to see it. */
  readonly through: readonly string[];
  /** Seconds from the real time, from now on. */
  jump(seconds: number): Promise<void>;
}

/** A clock that its processes take for the wall's; the one that measures how long something takes goes on. */
async function openClock(host: Host): Promise<FakeClock> {
  const file = "/run/clock";
  const { stdout } = await host.run("sh", ["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]);
  const settings = {
    LD_PRELOAD: stdout.trim(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1",
  };
  const jump = (seconds: number) => host.write(file, `${seconds < 0 ? "" : "+"}${seconds}\n`);
  await jump(0);
  return { jump, through: ["env", ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)] };
}

interface Room extends AsyncDisposable {
  /** The words before a command that is to run in it. */
  readonly through: readonly string[];
  /** Leaves what is used now, and hardly more. */
  narrow(): Promise<void>;
  widen(): Promise<void>;
  /** How often the kernel killed in it. */
  kills(): Promise<number>;
}

/** A cgroup (v1) whose memory has a limit. Undefined if this machine lets nobody make one. */
async function openRoom(host: Host): Promise<Room | undefined> {
  const folder = `/sys/fs/cgroup/memory/rollcall-${process.pid}`;
  const sh = async (script: string) => {
    const { code, stdout, stderr } = await host.run("sh", ["-euc", `cd ${folder}; ${script}`]);
    if (code !== 0) throw new Error(`${folder}: ${script}: ${stderr}`);
    return stdout;
  };
  if ((await host.run("sh", ["-c", `mkdir ${folder} && test -w ${folder}/memory.limit_in_bytes`])).code !== 0) return;
  return {
    through: ["sh", "-c", `echo $$ >${folder}/cgroup.procs; exec "$@"`, "sh"],
    narrow: async () => void (await sh("echo $(($(cat memory.usage_in_bytes) + 1000000)) >memory.limit_in_bytes")),
    widen: async () => void (await sh("echo -1 >memory.limit_in_bytes")),
    kills: async () => Number(/oom_kill (\d+)/.exec(await sh("cat memory.oom_control"))?.[1]),
    [Symbol.asyncDispose]: async () => {
      // A group is gone when its processes are.
      for (let tries = 0; tries < 100; tries++) {
        if ((await host.run("rmdir", [folder])).code === 0) return;
        await sleep(50);
      }
    },
  };
}

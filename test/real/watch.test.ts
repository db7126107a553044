/**
 * A node that somebody edits by hand, and one that is still filled by something else. What an agent made is put right within a look,
 * whatever was done to it, while people go on logging in; a comparing agent tells what would change, and touches nothing.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { Node_State } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { type Host, openLab } from "../lab/host.ts";
import { ssh, startSshd } from "../lab/sshd.ts";
import { describeHosts } from "../lab/suite.ts";
import { HostedNode, HostedPlane } from "./system.ts";

const looks = ["--look-every", "1"];

describeHosts("a node", () => {
  test("mends every hand edit and tells it; beside another source an agent compares and serves nothing", async () => {
    await using lab = await openLab({ name: "watch" });
    await using plane = await HostedPlane.start(lab);
    const [login, old] = await Promise.all([lab.host("login-1"), lab.host("login-2")]);
    await using node = await HostedNode.join(plane, login, "login", [], looks);
    const people = await plane.create("Groups", { displayName: "slurm-users" });
    const admins = await plane.create("Groups", { displayName: "slurm-sudo" });
    const directory = plane.client(DirectoryService);
    const keys: string[] = [];
    for (const name of ["ada", "bob"]) {
      const user = await plane.create("Users", { userName: name, displayName: name });
      await plane.addMember(people, user);
      if (name === "ada") await plane.addMember(admins, user);
      await plane.office.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `/root/${name}`]);
      const publicKey = (await plane.office.run("cat", [`/root/${name}.pub`])).stdout.trim();
      await directory.addSshKey({ user: name, publicKey });
      keys.push(publicKey);
    }
    await plane.rolledOut();
    await using sshd = await startSshd(login);
    const enter = (name: string, keyFile = name) => ssh(plane.office, login, name, `/root/${keyFile}`, "id -un");
    expect(await enter("ada"), sshd.log().join("\n")).toMatchObject({ code: 0 });

    const stopping = new AbortController();
    const lookups = lookUp(login, stopping.signal);
    const right = await seen(login);
    for (const edit of edits) {
      expect(await login.run("sh", ["-euc", `cd /var/lib/rollcall/served; ${edit}`]), edit).toMatchObject({ code: 0 });
      expect(await seen(login), `${edit} does something`).not.toBe(right);
      await expect.poll(() => seen(login), { timeout: 15_000, message: edit }).toBe(right);
      expect(await enter("ada"), edit).toMatchObject({ code: 0 });
      expect(await enter("bob", "ada"), `${edit}: another's key`).toMatchObject({ code: 255 });
    }
    stopping.abort();
    const codes = await lookups;
    expect(codes.length).toBeGreaterThan(20);
    expect(
      codes.filter((code) => code !== 0 && code !== 2),
      "a lookup that ended otherwise than found or not found",
    ).toEqual([]);
    const drift = async () => (await plane.node("login-1")).drift?.count ?? 0;
    await expect.poll(drift, { timeout: 20_000 }).toBeGreaterThanOrEqual(edits.length);
    expect((await plane.node("login-1")).faults).toEqual([]);
    const status = (host: Host, ...flags: string[]) => host.run(agent, ["status", ...flags]);
    expect(await status(login)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^drift +\d+ times, last /m) });

    // What somebody put in the place of a link stays theirs, and everybody is told.
    const theirs = "rm /etc/group.cache; echo theirs >/etc/group.cache";
    await login.run("sh", ["-euc", theirs]);
    await expect.poll(async () => (await plane.node("login-1")).faults, { timeout: 20_000 }).toHaveLength(1);
    expect(await status(login)).toMatchObject({
      code: 6,
      stdout: expect.stringContaining("group.cache is in the way"),
    });
    expect((await login.run("cat", ["/etc/group.cache"])).stdout).toBe("theirs\n");
    await login.run("rm", ["/etc/group.cache"]);
    await expect.poll(async () => (await plane.node("login-1")).faults, { timeout: 20_000 }).toEqual([]);
    await node.process.end("SIGKILL");
    expect(await status(login, "-o", "json")).toMatchObject({
      code: 8,
      stdout: expect.stringMatching(/"state": "not running"/),
    });
    const refused = await login.run(agent, ["--server", "control:8444", "--ca", "/etc/rollcall/ca.pem", "--compare"]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/--compare: this node is served by/) });
    await node.start([], looks);

    // Another host, as nsscache would fill it: other numbers, somebody who left, a key that is not known.
    const [mine = "", other = ""] = keys;
    await old.write(
      "/etc/passwd.cache",
      "ada:x:7001:7001:ada:/home/ada:/bin/bash\ngone:x:7002:7002::/home/gone:/bin/sh\n",
    );
    await old.write("/etc/group.cache", "slurm-users:x:7100:ada,gone\n");
    await old.write("/etc/sshkey.cache", `ada:${mine}\nbob:${other}\nbob:${mine}\n`);
    const untouched = await listing(old);
    await using comparing = await HostedNode.join(plane, old, "login", [], ["--compare"]);
    await expect
      .poll(async () => (await plane.node("login-2")).comparison?.revision, { timeout: 30_000 })
      .toBe(await plane.head());
    const found = await plane.node("login-2");
    expect(found).toMatchObject({ state: Node_State.COMPARING, comparing: true });
    expect(found.comparison).toMatchObject({
      users: 2,
      usersDiffering: 3,
      groupsDiffering: 2,
      keys: 2,
      keysDiffering: 1,
    });
    const told = found.comparison?.differences.map(({ kind, name, field, here }) => `${kind} ${name} ${field} ${here}`);
    expect(told).toEqual([
      "user ada uid 7001",
      "user ada gid 7001",
      "user gone entry uid 7002",
      "group slurm-users gid 7100",
      "group slurm-users members gone",
      expect.stringMatching(/^key bob keys SHA256:/),
      "user bob entry ",
      "group slurm-sudo entry ",
    ]);
    expect(await status(old)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^comparing +serves nothing; 3 of 2 people/m),
    });
    expect(await listing(old)).toBe(untouched);
    expect((await old.run("find", ["/var/lib/rollcall/served", "/var/lib/rollcall/stage", "-type", "f"])).stdout).toBe(
      "",
    );
    const { rollout } = await plane.client(RolloutService).getRollout({});
    expect(rollout).toMatchObject({ nodes: 1, summary: expect.stringMatching(/1 of 1 nodes, and 1 comparing\./) });

    // It is moved over.
    await comparing.process.end();
    await old.run("rm", ["/etc/passwd.cache", "/etc/group.cache", "/etc/sshkey.cache"]);
    expect(await comparing.start([], looks)).toBe("up-to-date");
    await expect.poll(async () => (await plane.node("login-2")).state).toBe(Node_State.CURRENT);
    expect((await old.run("getent", ["passwd", "ada"])).stdout).toMatch(/^ada:x:200000:/);
    expect((await plane.client(RolloutService).getRollout({})).rollout).toMatchObject({ nodes: 2, acked: 2 });
  });
});

const agent = new URL("../../bin/rollcall-agent", import.meta.url).pathname;

/** In the served folder; several at once, so that a test of each kind takes seconds. */
const edits = [
  "sed -i s/:200000:/:0:/ nss/passwd.cache; chmod 666 nss/passwd.cache.ixname; echo 'bob ALL=(ALL) NOPASSWD: ALL' >>sudo/rollcall",
  ": >nss/group.cache; rm nss/shadow.cache; chown 1:1 nss/group.cache.ixgid; cat ssh/authorized_keys.d/ada >>ssh/authorized_keys.d/bob",
  "chmod 777 ssh/authorized_keys.d; chown 1 ssh; ln -s /root/keys ssh/authorized_keys.d/root; cp ssh/authorized_keys.d/ada ssh/authorized_keys.d/eve",
  "rm -r ssh sudo; rm /etc/passwd.cache /etc/sudoers.d/rollcall; chgrp 0 nss/shadow.cache; chmod 700 nss",
];

/** What the node answers, and how its files are held: everything that a hand edit can change. */
async function seen(host: Host): Promise<string> {
  const script = `
    cd /var/lib/rollcall/served
    getent passwd ada bob; getent group slurm-users slurm-sudo; getent shadow ada bob
    stat -c "%n %a %U:%G" $(find nss ssh sudo | sort)
    cat ssh/authorized_keys.d/* sudo/rollcall
    readlink /etc/passwd.cache /etc/sudoers.d/rollcall /etc/shadow.cache`;
  const { stdout, stderr } = await host.run("sh", ["-c", script]);
  return stdout + stderr;
}

/** The files of /etc, with what is in them, but for the agent's own configuration. */
async function listing(host: Host): Promise<string> {
  const script = "find /etc -path /etc/rollcall -prune -o -type l -print -o -type f -exec sha256sum {} + | sort";
  return (await host.run("sh", ["-c", script])).stdout;
}

/** Asks without a pause, each time by a process of its own: how each ended. */
async function lookUp(host: Host, signal: AbortSignal): Promise<number[]> {
  const codes: number[] = [];
  while (!signal.aborted) {
    codes.push((await host.run("getent", ["passwd", "ada"])).code);
    await sleep(20);
  }
  return codes;
}

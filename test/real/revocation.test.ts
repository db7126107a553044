/**
 * Who leaves is gone, with the real sshd: whatever a leaver left running on a login host is ended, and no key lets them in, once the
 * node has acknowledged. And who comes has a home there, without anybody's help.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { type Host, type Inmate, openLab } from "../lab/host.ts";
import { ssh, startSshd } from "../lab/sshd.ts";
import { describeHosts } from "../lab/suite.ts";
import { HostedNode, HostedPlane } from "./system.ts";

/** A program that is another process all the time, in a session of its own, and leaves a mark now and then while it lives. */
const hopper = `use POSIX;
  for (my $n = 0; ; $n++) {
    POSIX::setsid();
    POSIX::_exit(0) if fork;
    next if $n % 64;
    open(my $mark, ">", "/tmp/hop") and close $mark;
  }`;

describeHosts("a leaver at a login host", () => {
  test("has no session left and gets none when the node acknowledges; nobody else is touched", async () => {
    await using lab = await openLab({ name: "revocation" });
    await using plane = await HostedPlane.start(lab);
    const login = await lab.host("login-1");
    const laptop = plane.office;
    await login.write("/etc/rollcall/policy.yaml", "homes: {below: [/home]}\n");
    await login.write("/etc/skel/welcome", "hello\n");
    await using node = await HostedNode.join(plane, login, "login");
    const directory = plane.client(DirectoryService);
    const people = await plane.create("Groups", { displayName: "slurm-users" });
    const ids: Record<string, string> = {};
    for (const name of ["ada", "bob", "carol"]) {
      ids[name] = await plane.create("Users", { userName: name, displayName: name });
      await plane.addMember(people, ids[name]);
      await laptop.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", `/root/${name}`]);
      const { stdout: publicKey } = await laptop.run("cat", [`/root/${name}.pub`]);
      await directory.addSshKey({ user: name, publicKey: publicKey.trim() });
    }
    await plane.rolledOut();
    await using sshd = await startSshd(login);
    await login.run("sed", ["-i", "/pam_mkhomedir/d", "/etc/pam.d/sshd"]);
    const leave = async (name: string): Promise<void> => {
      await plane.patch("Users", ids[name] ?? "", { op: "Replace", path: "active", value: "False" });
      await plane.rolledOut();
    };
    const enter = (name: string, command: string) => ssh(laptop, login, name, `/root/${name}`, command);
    /** Somebody tries to get in all the time, while it is made impossible. Never after the ack; gives when that was. */
    const shutOut = async (name: string, act: () => Promise<void>): Promise<number> => {
      const trying = new AbortController();
      const seen: Attempt[] = [];
      const attempts = [1, 2].map(() => attempt(() => enter(name, "date +%s%N"), seen, trying.signal));
      await expect.poll(() => seen.filter(({ code }) => code === 0).length, { timeout: 20_000 }).toBeGreaterThan(1);
      await act();
      const acked = lastApplied(node);
      const refused = () => seen.filter(({ from, code }) => from > acked && code === 255).length;
      await expect.poll(refused, { timeout: 20_000 }).toBeGreaterThan(3);
      trying.abort();
      await Promise.all(attempts);
      const accepted = seen.filter(({ code }) => code === 0).map(({ stdout }) => Number(stdout) / 1e6);
      expect(accepted.length, "let in before").toBeGreaterThan(0);
      expect(Math.max(...accepted), "let in last").toBeLessThan(acked);
      expect(seen.filter(({ from, code }) => from > acked && code !== 255)).toEqual([]);
      return acked;
    };

    // Nobody made it but the agent.
    const home = "pwd; cat welcome; stat -c '%a %U:%G' . welcome";
    expect(await enter("ada", home), sshd.log().join("\n")).toMatchObject({
      stdout: "/home/ada\nhello\n700 ada:ada\n644 ada:ada\n",
    });

    for (const name of ["ada", "bob"]) {
      await master(laptop, login, name);
      await enter(name, "trap '' TERM HUP; nohup sleep 1000 >/dev/null 2>&1 &");
      expect(await through(laptop, login, name)).toBe(true);
    }
    const shell = loginShell(laptop, login, "ada");
    await enter("ada", `nohup perl -e '${hopper}' >/dev/null 2>&1 &`);
    await enter("ada", "ulimit -u 150; nohup sh -c 'b() { b | b & sleep 1; }; b' >/dev/null 2>&1 &");
    await sleep(500);
    expect((await processesOf(login, "ada")).length).toBeGreaterThan(10);
    const others = await processesOf(login, "bob");
    expect(others.length).toBeGreaterThan(1);
    const ada = (await login.run("id", ["-u", "ada"])).stdout.trim();

    let leaving = 0;
    const acked = await shutOut("ada", async () => {
      leaving = Date.now();
      await leave("ada");
      expect(await processesOf(login, ada), "right after the ack").toEqual([]);
      expect(await through(laptop, login, "ada"), "the multiplexed connection").toBe(false);
    });
    const { stdout: hopped } = await login.run("stat", ["-c", "%.Y", "/tmp/hop"]);
    expect(Number(hopped) * 1_000, "the last hop").toBeGreaterThan(leaving - 500);
    expect(Number(hopped) * 1_000, "the last hop").toBeLessThan(acked);
    expect(await processesOf(login, ada)).toEqual([]);
    expect(shell.exitCode, "her shell").not.toBeNull();
    expect(await processesOf(login, "bob"), "somebody else's").toEqual(expect.arrayContaining(others));
    expect((await login.run("stat", ["-c", "%u", "/home/ada"])).stdout.trim(), "her home stays").toBe(ada);

    // A key that goes lets nobody in any more, and ends nothing.
    const { stdout: line } = await laptop.run("ssh-keygen", ["-l", "-f", "/root/bob.pub"]);
    await shutOut("bob", async () => {
      await directory.removeSshKey({ user: "bob", fingerprint: line.split(" ")[1] ?? "" });
      await plane.rolledOut();
    });
    expect(await processesOf(login, "bob")).toEqual(expect.arrayContaining(others));
    expect(await through(laptop, login, "bob")).toBe(true);

    // Who comes back stays, though they were looked for.
    await plane.patch("Users", ids["ada"] ?? "", { op: "Replace", path: "active", value: "True" });
    await plane.rolledOut();
    await enter("ada", "nohup sleep 100 >/dev/null 2>&1 &");
    await sleep(1_000);
    expect((await processesOf(login, "ada")).length).toBeGreaterThan(0);

    // Killed between the files and the end of the sessions, the agent ends them at its next start.
    await enter("carol", "trap '' TERM HUP; nohup sleep 1000 >/dev/null 2>&1 &");
    const carol = (await login.run("id", ["-u", "carol"])).stdout.trim();
    await plane.patch("Users", ids["carol"] ?? "", { op: "Replace", path: "active", value: "False" });
    await login.run("sh", ["-c", "while getent passwd carol; do :; done"]);
    await node.process.end("SIGKILL");
    expect((await processesOf(login, carol)).length, "not ended yet").toBeGreaterThan(0);
    await node.start();
    await plane.rolledOut();
    expect(await processesOf(login, carol)).toEqual([]);

    // Whose number a local account has come to have: its processes are that one's.
    const dave = await plane.create("Users", { userName: "dave" });
    ids["dave"] = dave;
    await plane.addMember(people, dave);
    await plane.rolledOut();
    const number = (await login.run("id", ["-u", "dave"])).stdout.trim();
    await login.run("sh", ["-c", `echo builder:x:${number}:100::/:/bin/sh >>/etc/passwd`]);
    const building = "sleep 1000 >/dev/null 2>&1 & echo $!";
    const build = await login.run("setpriv", [`--reuid=${number}`, "--clear-groups", "sh", "-c", building]);
    await leave("dave");
    expect(await processesOf(login, number)).toEqual([build.stdout.trim()]);

    // The node's own word counts, from the next step on.
    await login.write("/etc/rollcall/policy.yaml", "sessions: leave\n");
    await leave("bob");
    expect(await login.run("kill", ["-0", ...others])).toMatchObject({ code: 0 });
  });
});

/** Pids of what lives and is of a user. */
async function processesOf(host: Host, user: string): Promise<string[]> {
  const { stdout } = await host.run("ps", ["-eo", "uid=,user:32=,stat=,pid="]);
  return stdout.split("\n").flatMap((line) => {
    const [uid, name, state = "Z", pid = ""] = line.trim().split(/ +/);
    return (uid === user || name === user) && !/^[ZX]/.test(state) ? [pid] : [];
  });
}

const quiet = [
  "-F",
  "none",
  "-o",
  "BatchMode=yes",
  "-o",
  "StrictHostKeyChecking=no",
  "-o",
  "UserKnownHostsFile=/dev/null",
];

/** Opens a connection that others go through. */
async function master(from: Host, to: Host, user: string): Promise<void> {
  const flags = ["-M", "-S", `/root/${user}.sock`, "-f", "-N", "-i", `/root/${user}`, "-E", "/dev/null"];
  const { code } = await from.run("ssh", [...quiet, ...flags, `${user}@${to.name}`]);
  if (code !== 0) throw new Error(`no connection for ${user}`);
}

/** Whether a session is given through that connection; never over one of its own. */
async function through(from: Host, to: Host, user: string): Promise<boolean> {
  const flags = ["-S", `/root/${user}.sock`, "-o", "ProxyCommand=false"];
  return (await from.run("ssh", [...quiet, ...flags, `${user}@${to.name}`, "true"])).code === 0;
}

/** A shell at a terminal, in which nothing is typed. */
function loginShell(from: Host, to: Host, user: string): Inmate {
  const shell = from.spawn("ssh", [...quiet, "-tt", "-i", `/root/${user}`, `${user}@${to.name}`]);
  shell.stdout.resume();
  shell.stderr.resume();
  return shell;
}

interface Attempt {
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly code: number;
  readonly stdout: string;
}

/** Tries again and again, and notes how each ended. */
async function attempt(enter: () => ReturnType<typeof ssh>, seen: Attempt[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const from = Date.now();
    const { code, stdout } = await enter();
    seen.push({ from, code, stdout });
  }
}

/** When the agent said last that a step is applied, which it does before it acknowledges; milliseconds since 1970. */
function lastApplied(node: HostedNode): number {
  const lines = node.process.stderr.split("\n").filter((line) => line.includes('"msg":"applied"'));
  return (JSON.parse(lines.at(-1) ?? "{}") as { time: number }).time;
}

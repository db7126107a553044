/**
 * The ground that the other `real` and `fault` tests stand on: a test host resolves, logs in, loses its link and its
 * power as a node does, and leaves nothing behind on the machine, whatever ends it.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { type Host, type Inmate, openLab } from "../lab/host.ts";
import { Namespace } from "../lab/namespace.ts";
import { mountDisk } from "../lab/power.ts";
import { ssh, startSshd } from "../lab/sshd.ts";
import { describeHosts } from "../lab/suite.ts";

describeHosts("a lab of test hosts", () => {
  test("resolves a user who exists in passwd.cache only, through glibc and libnss-cache", async () => {
    await using lab = await openLab();
    await using host = await lab.host("login-1");
    expect(await host.run("getent", ["passwd", "ada"])).toMatchObject({ code: 2, stdout: "" });
    await addAda(host);
    expect(await host.run("getent", ["passwd", "ada"])).toMatchObject({ code: 0, stdout: `${ada}\n` });
    expect((await host.run("id", ["ada"])).stdout).toBe(
      "uid=20001(ada) gid=30000(people) groups=30000(people),30001(ml)\n",
    );
    expect(existsSync("/etc/passwd.cache") && readFileSync("/etc/passwd.cache", "utf8").includes(ada)).toBe(false);
  });

  test("starts without the people of another host, or of the machine", async () => {
    await using lab = await openLab();
    const [one, two] = await Promise.all([lab.host("login-1"), lab.host("login-2")]);
    await addAda(one);
    for (const path of ["/etc/passwd.cache", "/etc/group.cache", "/etc/shadow.cache", "/etc/ssh/authorized_keys.d"]) {
      expect((await two.run("test", ["-e", path])).code, path).toBe(1);
    }
  });

  test("logs in by a key in authorized_keys.d, and by no other", async () => {
    await using lab = await openLab();
    const [login, laptop] = await Promise.all([lab.host("login-1"), lab.host("laptop")]);
    await using sshd = await startSshd(login);
    await addAda(login);
    for (const key of ["good", "other"]) {
      await laptop.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `/root/${key}`]);
    }
    await login.write("/etc/ssh/authorized_keys.d/ada", (await laptop.run("cat", ["/root/good.pub"])).stdout);

    const welcome = await ssh(laptop, login, "ada", "/root/good", "id -un; pwd; hostname");
    expect(welcome).toMatchObject({ code: 0, stdout: "ada\n/home/ada\nlogin-1\n" });
    expect(await ssh(laptop, login, "ada", "/root/other", "true")).toMatchObject({ code: 255 });
    await login.run("rm", ["/etc/ssh/authorized_keys.d/ada"]);
    expect(await ssh(laptop, login, "ada", "/root/good", "true")).toMatchObject({ code: 255 });
    expect(sshd.log().join("\n")).toContain("Accepted publickey for ada");
  });

  test("a cut stops TCP between two hosts, a heal brings it back", async () => {
    await using lab = await openLab();
    const [server, client] = await Promise.all([lab.host("server"), lab.host("client")]);
    await said(
      server.spawn("node", ["-e", `net.createServer((c) => c.end()).listen(7000, () => console.log("up"))`]),
      "up",
    );
    const connect = async () => (await client.run("timeout", ["1", "bash", "-c", "</dev/tcp/server/7000"])).code;
    expect(await connect()).toBe(0);
    await server.cut();
    expect(await connect()).not.toBe(0);
    await server.heal();
    await expect.poll(connect, { timeout: 10_000 }).toBe(0);
  });

  test("two labs side by side never meet, though their addresses are the same", async () => {
    await using one = await openLab();
    await using two = await openLab();
    const [here, there, peer] = await Promise.all([one.host("a"), two.host("a"), two.host("b")]);
    expect(here.address).toBe(there.address);
    expect((await here.run("cat", ["/etc/hosts"])).stdout).not.toContain(peer.address);
    expect((await here.run("timeout", ["1", "bash", "-c", `</dev/tcp/${peer.address}/22`])).code).toBe(124);
  });

  test("a signal reaches the process inside, and its end comes back", async () => {
    await using lab = await openLab();
    await using host = await lab.host("login-1");
    const polite = host.spawn("node", [
      "-e",
      `process.on("SIGTERM", () => process.exit(7)); setInterval(() => {}, 1e6); console.log("up")`,
    ]);
    await said(polite, "up");
    polite.kill();
    expect(await once(polite, "exit")).toEqual([7, null]);
    const killed = host.spawn("sleep", ["1000"]);
    killed.kill("SIGKILL");
    expect(await once(killed, "exit")).toEqual([null, "SIGKILL"]);
    expect((await host.run("pgrep", ["-c", "sleep"])).stdout).toBe("0\n");
  });

  test("init reaps what its host's processes leave behind", async () => {
    await using lab = await openLab();
    await using host = await lab.host("login-1");
    await host.run("sh", ["-c", "sleep 0.1 & sleep 0.1 &"]);
    await expect.poll(async () => (await host.run("pgrep", ["-c", "sleep"])).stdout).toBe("0\n"); // zombies count
  });

  test("refuses to run anything in a host that is off, and in a command that takes too long", async () => {
    await using lab = await openLab();
    await using host = await lab.host("login-1");
    await expect(host.run("sleep", ["1000"], { timeout: 200 })).rejects.toThrow("sleep 1000: not done in 200 ms");
    expect((await host.run("pgrep", ["-c", "sleep"])).stdout).toBe("0\n");
    const server = host.spawn("sleep", ["1000"]);
    await host.off();
    expect(server.kill()).toBe(false);
    await expect(host.run("true")).rejects.toThrow("login-1 is off");
  });

  test("a command for a host never runs in the machine's own root", async () => {
    const marker = join(tmpdir(), `rollcall-lab-${process.pid}`);
    const forged = new Namespace("forged", process.pid, "token", ["--mount"], spawn("true"));
    await expect(forged.run("touch", [marker])).rejects.toThrow("forged");
    const entered = Object.assign(new Namespace("forged", process.pid, "token", ["--mount"], spawn("true")), {
      verify: () => undefined, // as if the host had ended, and its pid were another's, between the look and the entry
    });
    expect(await entered.run("touch", [marker])).toMatchObject({ code: 97 });
    expect(existsSync(marker)).toBe(false);
  });

  test("a power cut takes what was not fsynced, and leaves what was", async () => {
    await using lab = await openLab();
    await using host = await lab.host("login-1");
    await using disk = await mountDisk(host, "/var/lib/rollcall", { mb: 32 });
    const bystander = host.spawn("sleep", ["1000"]);
    const ended = once(bystander, "exit");
    const writing = `
      const { closeSync, fsyncSync, openSync, writeFileSync } = fs;
      const fsync = (path) => { const fd = openSync(path); fsyncSync(fd); closeSync(fd); };
      writeFileSync("kept", "kept"); fsync("kept"); fsync(".");
      writeFileSync("lost", "lost");`;
    expect(await host.run("sh", ["-c", 'cd "$1" && node -e "$2"', "sh", disk.path, writing])).toMatchObject({
      code: 0,
    });
    expect((await host.run("ls", [disk.path])).stdout).toBe("kept\nlost\nlost+found\n");

    await disk.losePower();
    expect(await ended).toEqual([null, "SIGKILL"]);
    expect((await host.run("ls", [disk.path])).stdout).toBe("kept\nlost+found\n");
    expect((await host.run("cat", [`${disk.path}/kept`])).stdout).toBe("kept");
    await host.write(`${disk.path}/again`, "writable again");
  });

  test("leaves nothing behind: no process, namespace, mount, link or loop device; also when the test throws", async () => {
    const before = machine();
    let spaces: string[] = [];
    let image = "";
    const failing = async () => {
      await using lab = await openLab();
      const hosts = await Promise.all([lab.host("login-1"), lab.host("login-2")]);
      await mountDisk(hosts[0], "/var/lib/rollcall", { mb: 16 });
      image = (await hosts[0].run("sh", ["-c", "ls /run | grep ^disk-"])).stdout.trim();
      expect(loops()).toContain(image);
      hosts[1].spawn("setsid", ["sleep", "1000"]);
      spaces = hosts.flatMap(namespacesOf);
      throw new Error("a test fails");
    };
    await expect(failing()).rejects.toThrow("a test fails");
    await expectGone(spaces);
    await expect.poll(loops).not.toContain(image);
    expect(machine()).toEqual(before);
  });

  test("leaves nothing behind when its process is killed", async () => {
    const module = new URL("../lab/host.ts", import.meta.url);
    const script = `
      const { openLab } = await import(${JSON.stringify(module.href)});
      const lab = await openLab();
      const host = await lab.host("login-1");
      host.spawn("sleep", ["1000"]);
      console.log(host.root);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [root] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const spaces = namespacesOf({ root });
    child.kill("SIGKILL");
    await expectGone(spaces);
  });
});

const ada = "ada:x:20001:30000:Ada:/home/ada:/bin/bash";

async function addAda(host: Host): Promise<void> {
  await host.write("/etc/passwd.cache", `${ada}\n`);
  await host.write("/etc/group.cache", "people:*:30000:\nml:*:30001:ada\n");
  await host.write("/etc/shadow.cache", "ada:*:20000:0:99999:7:::\n", 0o640);
}

/** Waits for a line of a process. */
async function said(process: Inmate, line: string): Promise<void> {
  for await (const heard of createInterface({ input: process.stdout })) if (heard === line) return;
  throw new Error(`the process ended before it said ${line}`);
}

/** The ids of a host's own namespaces. */
function namespacesOf({ root }: Pick<Host, "root">): string[] {
  return ["mnt", "net", "uts", "ipc", "pid"].map((kind) => readlinkSync(root.replace(/root$/, `ns/${kind}`)));
}

/** No process is in any of these namespaces, and no mount is held: the kernel may take a moment. */
async function expectGone(spaces: readonly string[]): Promise<void> {
  expect(spaces.length).toBeGreaterThan(0);
  await expect.poll(() => spaces.filter((space) => inUse().has(space)), { timeout: 5_000 }).toEqual([]);
}

function inUse(): Set<string> {
  const pids = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry));
  return new Set(
    pids.flatMap((pid) => ["mnt", "net", "uts", "ipc", "pid"].map((kind) => link(`/proc/${pid}/ns/${kind}`))),
  );
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // a process that ended meanwhile
  }
}

/** The files behind the machine's loop devices. */
function loops(): string {
  const backing = readdirSync("/sys/block").map((device) => `/sys/block/${device}/loop/backing_file`);
  return backing
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, "utf8"))
    .join("");
}

/** What a lab could have changed on the machine. */
function machine() {
  return {
    mounts: readFileSync("/proc/self/mountinfo", "utf8"),
    links: readdirSync("/sys/class/net"),
    passwd: readFileSync("/etc/passwd", "utf8"),
    hosts: readFileSync("/etc/hosts", "utf8"),
    nsswitch: readFileSync("/etc/nsswitch.conf", "utf8"),
    etc: readdirSync("/etc"),
  };
}

/**
 * What we ship, held as we say: the agent in one file, with no checkout and no packages beside it, once as the DaemonSet's manifest confines
 * it and once as the unit file does, both read from deploy/. It enrols, serves a login, repairs what was edited, and resumes; with no
 * capability that its sinks do not need, on a read-only root, without a write to /etc.
 *
 * No Kubernetes and no systemd run here: `kubelet` and `systemd` are test/lab/confined.ts. A join token stands for the projected one, which
 * test/conformance/kubernetes.test.ts has.
 */

import { once } from "node:events";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { bundle } from "../../deploy/bundle.ts";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { loginPodWithHomes, confinementOf as ofPod } from "../deploy/pod.ts";
import { confinementOf as ofUnit, readUnit } from "../deploy/unit.ts";
import { type Confinement, refusals, spawnConfined } from "../lab/confined.ts";
import { type Host, openLab } from "../lab/host.ts";
import { ssh, startSshd } from "../lab/sshd.ts";
import { describeHosts } from "../lab/suite.ts";
import { Started } from "../processes/started.ts";
import { HostedPlane } from "./system.ts";

const deploy = (path: string) => fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));
const program = "/usr/lib/rollcall/rollcall-agent.mjs";

describeHosts("the agent as it is shipped", () => {
  test("serves a node from one file, as confined as the manifest and the unit say", async () => {
    await using lab = await openLab({ name: "packaging" });
    await using plane = await HostedPlane.start(lab);
    const file = await bundled();
    const inPod = await lab.host("in-pod");
    const inUnit = await lab.host("in-unit");
    for (const host of [inPod, inUnit]) {
      await host.write(program, file, 0o755);
      await host.write("/etc/rollcall/ca.pem", plane.ca);
      await host.write("/run/token/join-token", await plane.joinToken("login"), 0o600);
      await host.write("/etc/rollcall/policy.yaml", "homes: {below: [/home]}\n");
      await host.write("/etc/skel/.config/tool/settings", "hers\n", 0o600);
    }
    const starts: readonly [Host, Confinement][] = [
      [inPod, await asPod(inPod, plane)],
      [inUnit, await asUnit(inUnit, plane)],
    ];

    const ada = await plane.create("Users", { userName: "ada" });
    const group = await plane.create("Groups", { displayName: "slurm-users", members: [{ value: ada }] });
    await plane.office.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "/root/ada"]);
    const publicKey = (await plane.office.run("cat", ["/root/ada.pub"])).stdout.trim();
    await plane.client(DirectoryService).addSshKey({ user: "ada", publicKey });

    for (const [host, held] of starts) {
      const logIn = () => ssh(plane.office, host, "ada", "/root/ada", "id -un");
      {
        await using agent = new Started(spawnConfined(host, held));
        await agent.says(/"msg":"connected"/);
        await holding(plane, host, agent);
        expect(await privilegesOf(host), host.name).toEqual({
          NoNewPrivs: "1",
          CapBnd: mask(held),
          CapEff: mask(held),
        });
        // By this it gives memory back (agent/garbage.ts).
        expect((await host.run("pgrep", ["-af", program])).stdout, host.name).toContain("--expose-gc");
        // Before anybody logs in, whose PAM could make it.
        const home = "stat -c '%a %u:%g %F' . .config .config/tool .config/tool/settings";
        expect((await host.run("sh", ["-euc", `cd /home/ada; ${home}`])).stdout.split("\n"), agent.stderr).toEqual([
          "700 200000:200000 directory",
          ...["755 200000:200000 directory", "755 200000:200000 directory"],
          ...["600 200000:200000 regular file", ""],
        ]);
        await using sshd = await startSshd(host);
        expect(await logIn(), sshd.log().join("\n")).toMatchObject({ code: 0, stdout: "ada\n" });
        expect(await agent.end("SIGTERM"), agent.stderr).toBe(0);
      }
      // Somebody edits what is served, and the node starts anew, without the token that it came with.
      const edits = `
        cd /var/lib/rollcall/served
        sed -i s/:200000:/:0:/ nss/passwd.cache
        rm ssh/authorized_keys.d/ada /run/token/join-token`;
      expect(await host.run("sh", ["-euc", edits]), host.name).toMatchObject({ code: 0 });
      await using again = new Started(spawnConfined(host, held));
      const [repaired] = await again.says(/"files":\[.*"msg":"files were repaired"/);
      expect(repaired).toContain("ssh/authorized_keys.d/ada");
      await again.says(/"mode":1,.*"msg":"connected"/);
      expect((await host.run("id", ["-u", "ada"])).stdout).toBe("200000\n");
      {
        await using sshd = await startSshd(host);
        expect(await logIn(), sshd.log().join("\n")).toMatchObject({ code: 0, stdout: "ada\n" });
      }
      // What the capabilities are for: a leaver's processes have ended when the node acknowledges.
      const name = `leaver-${host.name}`;
      const leaver = await plane.create("Users", { userName: name });
      await plane.addMember(group, leaver);
      await holding(plane, host, again);
      const uid = (await host.run("id", ["-u", name])).stdout.trim();
      const left = new Started(host.spawn("setpriv", [`--reuid=${uid}`, "--clear-groups", "sleep", "600"]));
      const processes = async () => (await host.run("pgrep", ["-u", uid, "-a"])).stdout;
      await expect.poll(processes, { timeout: 10_000 }).toContain("sleep 600");
      await plane.patch("Users", leaver, { op: "replace", path: "active", value: false });
      await holding(plane, host, again);
      expect(await processes(), again.stderr).toBe("");
      await left[Symbol.asyncDispose]();
    }
    const log = await readFile(join(inUnit.root, refusals, "log"), "utf8");
    expect(log.match(/exited with 0/), "the log is of these agents").not.toBeNull();
    expect(log.match(/.*INJECTED.*/g), "calls that the unit's filter refuses").toBeNull();
  });
});

/**
 * The largest exposure that each unit may have, of 10; what systemd itself counts. docs/operations.md shows the figures. The
 * server's has 0.1 for setpriority, by which its threads with streams make themselves nicer (docs/decisions/0006).
 */
const exposures = { "rollcall-agent": 1.7, "rollcall-server": 1.2 };

describeHosts("the units", () => {
  test("are what systemd understands, and leave open what they say", async () => {
    await using lab = await openLab({ name: "units" });
    await using host = await lab.host("any");
    for (const path of [program, "/usr/lib/rollcall/bin/rollcall-server"]) await host.write(path, "#!/bin/sh\n", 0o755);
    // Debian's Node may be there or not.
    await host.run("ln", ["-s", "/bin/true", "/usr/bin/node"]);
    for (const [name, bound] of Object.entries(exposures)) {
      const path = `/etc/systemd/system/${name}.service`;
      await host.write(path, await readFile(deploy(`systemd/${name}.service`)));
      expect(await host.run("systemd-analyze", ["verify", path])).toEqual({ code: 0, stdout: "", stderr: "" });
      const { stdout } = await host.run("systemd-analyze", ["security", "--offline=true", "--no-pager", path]);
      const [said = "", exposure = ""] = /Overall exposure level for (?:\S+): ([0-9.]+) \w+/.exec(stdout) ?? [];
      expect(Number(exposure), stdout).toBeLessThanOrEqual(bound);
      expect(await readFile(deploy("../docs/operations.md"), "utf8"), said).toContain(`${name}.service: ${exposure}`);
    }
    for (const name of ["sessions", "homes"]) {
      const folder = "/etc/systemd/system/rollcall-agent.service.d";
      await host.write(`${folder}/${name}.conf`, await readFile(deploy(`systemd/drop-ins/${name}.conf`)));
    }
    const path = "/etc/systemd/system/rollcall-agent.service";
    expect(await host.run("systemd-analyze", ["verify", path])).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});

/** What `npm run bundle` makes. */
async function bundled(): Promise<Buffer> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-bundle-"));
  const path = join(folder.path, "rollcall-agent.mjs");
  await bundle(path);
  return readFile(path);
}

/** Runs the init container to its end, and says how the agent's is held. */
async function asPod(host: Host, plane: HostedPlane): Promise<Confinement> {
  const pod = await loginPodWithHomes();
  const [links = expect.fail("no init container")] = pod.initContainers;
  const [container = expect.fail("no container")] = pod.containers;
  // The kubelet makes what is of type DirectoryOrCreate.
  for (const { hostPath } of pod.volumes) {
    if (hostPath?.type === "DirectoryOrCreate") await host.run("mkdir", ["-p", hostPath.path]);
  }
  const environment = { ROLLCALL_SERVER: `${plane.host.name}:8444`, NODE_NAME: host.name };
  const surroundings = { environment, volumes: { "control-plane": "/etc/rollcall", token: "/run/token" } };
  const placing = new Started(spawnConfined(host, ofPod(pod, links, surroundings)));
  await once(placing.process, "close");
  expect(placing.stdout, placing.stderr).toContain("placed /host/etc/passwd.cache\n");
  const held = ofPod(pod, container, surroundings);
  const token = (arg: string) => arg.replace(/--kubernetes-token-file=(.*)token$/, "--join-token-file=$1join-token");
  return { ...held, command: held.command.map(token) };
}

async function asUnit(host: Host, plane: HostedPlane): Promise<Confinement> {
  const dropIns = ["sessions", "homes"].map((name) => deploy(`systemd/drop-ins/${name}.conf`));
  const unit = readUnit(deploy("systemd/rollcall-agent.service"), ...dropIns);
  await host.run("mkdir", ["-p", `/var/lib/${unit.get("StateDirectory")?.[0]}`]);
  const [before = ""] = unit.get("ExecStartPre") ?? [];
  const environment = { ROLLCALL_SERVER: `${plane.host.name}:8444` };
  const [path = "", ...args] = before.replace(/^\+/, "").split(" ");
  expect(await host.run(path, args)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("placed /etc/group.cache\n"),
  });
  return ofUnit(unit, host, { environment, credentials: "/run/token" });
}

/** Resolves once a node proved that it holds the head. */
async function holding(plane: HostedPlane, host: Host, agent: Started): Promise<void> {
  const head = await plane.head();
  const acked = async () => (await plane.node(host.name)).acked?.revision;
  for (let tries = 0; (await acked()) !== head; tries++) {
    if (tries > 400) throw new Error(`${host.name} does not hold r${head}: ${agent.stderr}`);
    await sleep(50);
  }
}

/** What the kernel says of the agent's privileges. */
async function privilegesOf(host: Host): Promise<Record<string, string>> {
  const script = `grep -E "^(NoNewPrivs|CapBnd|CapEff):" /proc/$(pgrep -of ^/usr/bin/node.*${program})/status`;
  const { stdout } = await host.run("sh", ["-euc", script]);
  return Object.fromEntries(
    [...stdout.matchAll(/^(\w+):\s*(\w+)$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );
}

const numbers: Readonly<Record<string, number>> = { chown: 0, kill: 5, setgid: 6, setuid: 7 };

function mask({ capabilities }: Confinement): string {
  const bits = capabilities.map((name) => 1 << (numbers[name] ?? expect.fail(`no number for ${name}`)));
  return bits
    .reduce((sum, bit) => sum + bit, 0)
    .toString(16)
    .padStart(16, "0");
}

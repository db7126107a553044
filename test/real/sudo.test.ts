/**
 * sudo rules with the real sudo as the judge: what `sudo -l -U` lists and `sudo -n` runs on a login host is what the access
 * rules say, at every moment of a change, and nothing once what took it away is acknowledged.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { Node_State } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { type Host, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";
import { HostedNode, HostedPlane } from "./system.ts";

describeHosts("sudo on a login host", () => {
  test("is what the rules say, in every moment, and gone with the ack of what takes it away", async () => {
    await using lab = await openLab({ name: "sudo" });
    await using plane = await HostedPlane.start(lab);
    const login = await lab.host("login-1");
    await using node = await HostedNode.join(plane, login, "login");
    const [ada, bob] = [
      await plane.create("Users", { userName: "ada", displayName: "Ada" }),
      await plane.create("Users", { userName: "bob", displayName: "Bob" }),
    ];
    const everybody = await plane.create("Groups", { displayName: "slurm-users" });
    const operators = await plane.create("Groups", { displayName: "operators" });
    for (const user of [ada, bob]) await plane.addMember(everybody, user);
    await plane.addMember(operators, ada);
    const { rules, sudoers } = tools(plane, login);

    await rules("operators", { commands: ["/usr/bin/id", "/bin/echo one two"] });
    await plane.rolledOut();
    expect(await sudoers()).toBe("%operators ALL=(ALL:ALL) NOPASSWD: /bin/echo one two, /usr/bin/id\n");
    expect((await login.run("stat", ["-L", "-c", "%a %U:%G", "/etc/sudoers.d/rollcall"])).stdout).toBe(
      "440 root:root\n",
    );
    expect(await login.run("visudo", ["-c"])).toMatchObject({ code: 0, stderr: "" });
    expect(await mayRun(login, "ada")).toEqual(["(ALL : ALL) NOPASSWD: /bin/echo one two, /usr/bin/id"]);
    expect(await mayRun(login, "bob")).toEqual([]);
    expect(await as(login, "ada", "sudo -n id -u")).toMatchObject({ code: 0, stdout: "0\n" });
    expect(await as(login, "ada", "sudo -n -u bob id -un")).toMatchObject({ code: 0, stdout: "bob\n" });
    expect(await as(login, "ada", "sudo -n echo one two")).toMatchObject({ code: 0 });
    expect(await as(login, "ada", "sudo -n echo one")).toMatchObject({ code: 1 });
    expect(await as(login, "ada", "sudo -n true")).toMatchObject({ code: 1 });
    expect(await as(login, "bob", "sudo -n id -u")).toMatchObject({ code: 1 });

    // While the file is replaced again and again, ada always may and bob never.
    const swapping = new AbortController();
    const looks = look(login, swapping.signal);
    for (let n = 0; n < 12; n++)
      await rules("operators", { commands: ["/usr/bin/id", ...(n % 2 ? ["/bin/true"] : [])] });
    await plane.rolledOut();
    swapping.abort();
    const seen = await looks;
    expect(seen.length).toBeGreaterThan(10);
    expect(
      seen.filter(({ ada }) => !ada),
      "ada was refused",
    ).toEqual([]);
    expect(
      seen.filter(({ bob }) => bob),
      "bob was let in",
    ).toEqual([]);
    expect(
      seen.filter(({ said }) => said !== ""),
      "sudo complained",
    ).toEqual([]);

    // The most that a rule may hold, as sudo reads it.
    const many = Array.from({ length: 64 }, (_, n) => `/usr/bin/program-${n} ${"x".repeat(200)}`);
    await rules("operators", { commands: many });
    await plane.rolledOut();
    expect((await mayRun(login, "ada")).join("").match(/program-/g)).toHaveLength(64);
    await rules("operators", { commands: ["ALL"], password: true });
    await plane.rolledOut();
    expect(await mayRun(login, "ada")).toEqual(["(ALL : ALL) PASSWD: ALL"]);
    expect(await as(login, "ada", "sudo -n id -u"), "nobody has a password").toMatchObject({ code: 1 });
    await rules("operators", { commands: ["ALL"] });
    await plane.rolledOut();

    // Who leaves the group: a new session at once; one that is open keeps its groups unless sudo.conf asks for fresh ones.
    const old = as(login, "ada", "until [ -e /tmp/go ]; do sleep 0.05; done; sudo -n id -u");
    await login.write("/etc/sudo.conf", "Set group_source dynamic\n");
    await plane.patch("Groups", operators, { op: "remove", path: `members[value eq "${ada}"]` });
    await plane.rolledOut();
    expect(await mayRun(login, "ada")).toEqual([]);
    expect(await as(login, "ada", "sudo -n id -u")).toMatchObject({ code: 1 });
    await login.write("/tmp/go", "");
    expect(await old, "a session from before, with group_source dynamic").toMatchObject({ code: 1, stdout: "" });

    await plane.addMember(operators, ada);
    await plane.rolledOut();
    expect(await as(login, "ada", "sudo -n id -u")).toMatchObject({ code: 0 });
    await plane
      .client(ClusterService)
      .removeRule({ rule: { group: "operators", grant: { case: "sudo", value: {} } }, urgent: true });
    await plane.rolledOut();
    expect(await mayRun(login, "ada")).toEqual([]);
    expect(await as(login, "ada", "sudo -n id -u")).toMatchObject({ code: 1 });
    expect(await sudoers()).toBe("");
    expect(await login.run("visudo", ["-c"])).toMatchObject({ code: 0, stderr: "" });

    // Without visudo a grant waits, by name, and comes by itself; what takes away needs nobody.
    await rules("operators", { commands: ["/usr/bin/id", "/bin/true"] });
    await plane.rolledOut();
    await login.run("mv", ["/usr/sbin/visudo", "/usr/sbin/visudo.away"]);
    await rules("operators", { commands: ["/usr/bin/id"] });
    await plane.rolledOut();
    expect(await mayRun(login, "ada")).toEqual(["(ALL : ALL) NOPASSWD: /usr/bin/id"]);
    await rules("operators", { commands: ["ALL"] });
    const reason = await refusal(plane);
    expect(reason).toMatch(/sudo: verify: visudo could not be run/);
    expect(await mayRun(login, "ada")).toEqual(["(ALL : ALL) NOPASSWD: /usr/bin/id"]);
    await login.run("mv", ["/usr/sbin/visudo.away", "/usr/sbin/visudo"]);
    await plane.rolledOut();
    expect(await mayRun(login, "ada")).toEqual(["(ALL : ALL) NOPASSWD: ALL"]);

    // What a stranger writes into the file is gone at the next start, also when nobody can be asked.
    await node.process.end("SIGKILL");
    await login.run("sh", ["-c", "chmod 640 $1; echo 'bob ALL=(ALL) NOPASSWD: ALL' >>$1; chmod 440 $1", "sh", file]);
    expect(await mayRun(login, "bob")).toEqual(["(ALL) NOPASSWD: ALL"]);
    await node.start();
    expect(await mayRun(login, "bob")).toEqual([]);
    expect(await mayRun(login, "ada")).toEqual(["(ALL : ALL) NOPASSWD: ALL"]);
  });
});

const file = "/var/lib/rollcall/served/sudo/rollcall";

function tools(plane: HostedPlane, login: Host) {
  const clusters = plane.client(ClusterService);
  type Sudo = { readonly commands: string[]; readonly password?: boolean };
  return {
    rules: async (group: string, sudo: Sudo): Promise<void> => {
      await clusters.putRule({ rule: { group, grant: { case: "sudo", value: sudo } } });
    },
    sudoers: async () => (await login.run("cat", ["/etc/sudoers.d/rollcall"])).stdout,
  };
}

/** What `sudo -l -U` lists for somebody. */
async function mayRun(login: Host, user: string): Promise<string[]> {
  const { stdout } = await login.run("sudo", ["-l", "-U", user]);
  const [, list = ""] = stdout.split("may run the following commands");
  return list
    .replaceAll(/\\?\n {8,}/g, " ")
    .split("\n")
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** Runs a shell's line in a session of somebody's. */
function as(login: Host, user: string, line: string) {
  return login.run("su", [user, "-s", "/bin/sh", "-c", `cd /; ${line}`]);
}

interface Look {
  readonly ada: boolean;
  readonly bob: boolean;
  readonly said: string;
}

/** Asks sudo without a pause who may run id. */
async function look(login: Host, signal: AbortSignal): Promise<Look[]> {
  const seen: Look[] = [];
  while (!signal.aborted) {
    const [ada, bob] = await Promise.all(
      ["ada", "bob"].map((name) => login.run("sudo", ["-l", "-U", name, "/usr/bin/id"])),
    );
    if (!ada || !bob) continue;
    seen.push({ ada: ada.code === 0, bob: bob.code === 0, said: ada.stderr + bob.stderr });
  }
  return seen;
}

async function refusal(plane: HostedPlane): Promise<string> {
  for (const end = Date.now() + 20_000; Date.now() < end; await sleep(50)) {
    const { state, refused } = await plane.node("login-1");
    if (state === Node_State.REFUSED) return refused?.reason ?? "";
  }
  return "none";
}

/**
 * The main job with real parts: what the identity provider says by SCIM is an account on a login host, found by glibc and let
 * in by sshd; what it takes back is gone there once the rollout is complete; and no login needs the control plane.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { type Host, openLab } from "../lab/host.ts";
import { ssh, startSshd } from "../lab/sshd.ts";
import { describeHosts } from "../lab/suite.ts";
import { HostedNode, HostedPlane } from "./system.ts";

/** How often what was revoked is tried. */
const tries = 5;

describeHosts("a person at a login host", () => {
  test("comes by SCIM, logs in by key, loses key and account at once, and needs no control plane", async () => {
    await using lab = await openLab({ name: "login" });
    await using plane = await HostedPlane.start(lab);
    const login = await lab.host("login-1");
    const laptop = plane.office;
    await using node = await HostedNode.join(plane, login, "login");
    const directory = plane.client(DirectoryService);

    const ada = await plane.create("Users", { userName: "ada@example.org", displayName: "Ada Lovelace" });
    const bob = await plane.create("Users", { userName: "bob", displayName: "Bob" });
    const people = await plane.create("Groups", { displayName: "slurm-users" });
    for (const user of [ada, bob]) await plane.addMember(people, user);
    const [key = "", other = ""] = await Promise.all(["ada", "bob"].map((name) => newKey(laptop, name)));
    await directory.addSshKey({ user: "ada@example.org", publicKey: key });
    await directory.addSshKey({ user: "bob", publicKey: other });
    await plane.rolledOut();
    await using sshd = await startSshd(login);

    const { user } = await directory.getUser({ user: "ada@example.org" });
    const { uid } = user ?? { uid: 0 };
    const line = `ada:x:${uid}:${uid}:Ada Lovelace:/home/ada:/bin/bash\n`;
    expect(await login.run("getent", ["passwd", "ada"])).toMatchObject({ code: 0, stdout: line });
    expect(await login.run("getent", ["passwd", `${uid}`])).toMatchObject({ code: 0, stdout: line });
    expect((await login.run("getent", ["shadow", "ada"])).stdout).toMatch(/^ada:\*:/);
    const [, gid = ""] =
      /^slurm-users:x:(\d+):ada,bob\n$/.exec((await login.run("getent", ["group", "slurm-users"])).stdout) ?? [];
    const groups = `uid=${uid}(ada) gid=${uid}(ada) groups=${uid}(ada),${gid}(slurm-users)\n`;
    expect((await login.run("id", ["ada"])).stdout).toBe(groups);
    await expectHeld(login);

    const enter = (name: string, keyFile = name) => ssh(laptop, login, name, `/root/${keyFile}`, "id");
    expect(await enter("ada"), sshd.log().join("\n")).toMatchObject({ code: 0, stdout: groups });
    expect(await enter("bob")).toMatchObject({ code: 0 });
    expect(await enter("ada", "bob")).toMatchObject({ code: 255 });

    await directory.removeSshKey({ user: "ada@example.org", fingerprint: await fingerprintOf(laptop, "ada") });
    await plane.rolledOut();
    for (let n = 0; n < tries; n++)
      expect(await enter("ada"), `try ${n} after the key went`).toMatchObject({ code: 255 });
    expect(await login.run("getent", ["passwd", "ada"]), "who lost a key").toMatchObject({ code: 0 });

    await directory.addSshKey({ user: "ada@example.org", publicKey: key });
    await plane.rolledOut();
    expect(await enter("ada"), "the key came back").toMatchObject({ code: 0 });
    await plane.patch("Users", ada, { op: "Replace", path: "active", value: "False" });
    await plane.rolledOut();
    for (let n = 0; n < tries; n++) expect(await enter("ada"), `try ${n} after she left`).toMatchObject({ code: 255 });
    for (const database of ["passwd", "shadow", "group"]) {
      expect(await login.run("getent", [database, "ada"]), database).toMatchObject({ code: 2, stdout: "" });
    }
    expect((await login.run("getent", ["group", "slurm-users"])).stdout).toBe(`slurm-users:x:${gid}:bob\n`);

    // sshd itself knows when a key expires: nobody is left to tell this node.
    const expires = Date.now() + 12_000;
    const spare = await newKey(laptop, "spare");
    await directory.addSshKey({ user: "bob", publicKey: spare, expiresAt: timestampFromMs(expires) });
    await plane.rolledOut();
    expect(await enter("bob", "spare"), "before it expires").toMatchObject({ code: 0 });
    await plane.down("SIGKILL");
    expect(Date.now(), "the key has not expired yet").toBeLessThan(expires);
    expect(await enter("bob"), "without the control plane").toMatchObject({ code: 0 });
    expect(await login.run("getent", ["passwd", "bob"])).toMatchObject({ code: 0 });
    await sleep(expires + 1_500 - Date.now());
    expect(await enter("bob", "spare"), "after it expired").toMatchObject({ code: 255 });
    await node.process.end("SIGKILL");
    expect(await enter("bob"), "without the agent").toMatchObject({ code: 0 });
    expect(await enter("ada"), "without the agent").toMatchObject({ code: 255 });
  });
});

/** Modes and owners as sshd's StrictModes and glibc's readers want them; private is what is the agent's alone. */
async function expectHeld(login: Host): Promise<void> {
  const wanted: Readonly<Record<string, string>> = {
    "/etc/passwd.cache": "644 root:root",
    "/etc/passwd.cache.ixname": "644 root:root",
    "/etc/passwd.cache.ixuid": "644 root:root",
    "/etc/group.cache": "644 root:root",
    "/etc/group.cache.ixname": "644 root:root",
    "/etc/group.cache.ixgid": "644 root:root",
    "/etc/shadow.cache": "640 root:shadow",
    "/etc/shadow.cache.ixname": "640 root:shadow",
    "/etc/ssh/authorized_keys.d": "755 root:root",
    "/etc/ssh/authorized_keys.d/ada": "644 root:root",
    "/var/lib/rollcall": "755 root:root",
    "/var/lib/rollcall/served": "755 root:root",
    "/var/lib/rollcall/private": "700 root:root",
    "/var/lib/rollcall/stage": "700 root:root",
  };
  const { stdout } = await login.run("stat", ["-L", "-c", "%n|%a %U:%G", ...Object.keys(wanted)]);
  expect(
    Object.fromEntries(
      stdout
        .split("\n")
        .slice(0, -1)
        .map((line) => line.split("|")),
    ),
  ).toEqual(wanted);
}

async function newKey(laptop: Host, name: string): Promise<string> {
  await laptop.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", `/root/${name}`]);
  return (await laptop.run("cat", [`/root/${name}.pub`])).stdout.trim();
}

async function fingerprintOf(laptop: Host, name: string): Promise<string> {
  return (await laptop.run("ssh-keygen", ["-l", "-f", `/root/${name}.pub`])).stdout.split(" ")[1] ?? "";
}

/**
 * S1, A4: what was answered, and what was acknowledged, is on the disk. The power of an ext4 is cut under a real server and
 * under a real agent, right after the word was given and in the midst of work; and the server is killed.
 */

import { cp, mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn } from "../../agent/folders.ts";
import { recall } from "../../agent/memory.ts";
import type { Position } from "../../identity/position.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { type Host, openLab } from "../lab/host.ts";
import { type Disk, mountDisk } from "../lab/power.ts";
import { describeHosts } from "../lab/suite.ts";
import { HostedNode, HostedPlane } from "../real/system.ts";

/** How long the work goes on before each cut, in milliseconds. */
const moments = [120, 200, 310, 430, 560, 700];

const lanes = 4;

describeHosts("who loses their power", () => {
  test.concurrent("a control plane, also one that is killed, has every change that it answered with 2xx, and every revision", async () => {
    await using lab = await openLab({ name: "power" });
    let disk: Disk | undefined;
    await using plane = await HostedPlane.start(lab, async ({ host, data }) => {
      disk = await mountDisk(host, data, { mb: 64 });
    });
    // More people leave here than the guard lets go: what it holds back is no revision.
    await plane.client(ClusterService).setCluster({ guard: { people: 1_000_000 } });
    const group = await plane.create("Groups", { displayName: "slurm-users" });
    const ends = { "power cut": () => disk?.losePower(), "kill -9": () => plane.down("SIGKILL") };
    for (const [end, strike] of Object.entries(ends)) {
      for (const moment of moments) {
        const head = await plane.head();
        const work = new Work(plane, group, `${end.slice(0, 1)}${moment}`);
        await work.begun();
        await sleep(moment);
        // Before the strike: an fdatasync that FS_IOC_SHUTDOWN overtakes may return 0 with nothing written, and so let the
        // server answer when its power is gone already. None that returned before was ever lost (0 of 307,000).
        const { users, revisions } = work.answered();
        await strike();
        await work.ended();
        const where = `a ${end} after ${moment} ms and ${revisions} answered changes`;
        await plane.up();
        expect(await plane.head(), where).toBeGreaterThanOrEqual(head + BigInt(revisions));
        const members = await membersOf(plane, group);
        for (const user of users) {
          const { status, body } = await plane.scim("GET", `/Users/${user.id}`);
          expect(status, `${user.name} after ${where}`).toBe(200);
          expect([user.described, user.person.asked], `${user.name} after ${where}`).toContain(body["displayName"]);
          if (user.member) expect(members, `${user.name} after ${where}`).toContain(user.id);
        }
      }
    }
  });

  test.concurrent("a node holds what the server was told that it holds, at once and through glibc, and resumes where it was", async () => {
    await using lab = await openLab({ name: "power" });
    await using plane = await HostedPlane.start(lab);
    const { node, disk } = await joinOnDisk(plane, await lab.host("login-1"));
    await using _ = node;
    const group = await plane.create("Groups", { displayName: "slurm-users" });
    for (let round = 0; round < 4; round++) {
      const name = `user${round}`;
      const team = `team${round}`;
      await plane.create("Groups", { displayName: team });
      const value = { commands: ["/usr/bin/id"] };
      await plane.client(ClusterService).putRule({ rule: { group: team, grant: { case: "sudo", value } } });
      await plane.addMember(group, await plane.create("Users", { userName: name }));
      const promised = await ackedAt(plane, node, await plane.head());
      await disk.losePower();
      expect((await rememberedBy(node)).revision).toBeGreaterThanOrEqual(promised);
      expect(await node.host.run("getent", ["passwd", name]), "before the agent is back").toMatchObject({ code: 0 });
      expect((await node.host.run("cat", ["/etc/sudoers.d/rollcall"])).stdout).toContain(`%${team} ALL=`);
      expect(await node.start()).toBe("up-to-date");
      expect(node.process.stderr).not.toContain("the memory starts anew");
    }
  });

  test.concurrent("a node resumes by delta from the midst of work, and comes to hold what others hold", async () => {
    await using lab = await openLab({ name: "power" });
    await using plane = await HostedPlane.start(lab);
    const { node, disk } = await joinOnDisk(plane, await lab.host("login-1"));
    await using _ = node;
    await using other = await HostedNode.join(plane, await lab.host("login-2"), "login");
    const group = await plane.create("Groups", { displayName: "slurm-users" });
    await plane.addMember(group, await plane.create("Users", { userName: "first" }));
    await plane.rolledOut();
    for (const moment of moments) {
      const work = new Work(plane, group, `u${moment}`);
      await sleep(moment);
      const promised = (await plane.node(node.host.name)).acked?.revision ?? 0n;
      await disk.losePower();
      const where = `a power cut after ${moment} ms, at r${promised} or later`;
      expect((await rememberedBy(node)).revision, where).toBeGreaterThanOrEqual(promised);
      expect(await node.host.run("getent", ["passwd", "first"]), where).toMatchObject({ code: 0 });
      expect(["delta", "up-to-date"], where).toContain(await node.start());
      await work.stop();
      await plane.rolledOut();
      expect(await servedBy(node.host), where).toBe(await servedBy(other.host));
    }
  });
});

/** One person of the work: what was answered about them, and what was asked last. */
interface Person {
  readonly name: string;
  readonly id: string;
  described: string;
  asked: string;
  member: boolean;
}

/** A person as the answers said until some moment; what was asked since then may be true too. */
interface Answered extends Readonly<Person> {
  readonly person: Readonly<Person>;
}

/** Changes without a pause: people come, become members, get a key and are described anew, until the server is gone. */
class Work {
  readonly #plane: HostedPlane;
  readonly #group: string;
  readonly #users: Person[] = [];
  readonly #running: Promise<PromiseSettledResult<void>[]>;
  #revisions = 0;
  #stopped = false;

  constructor(plane: HostedPlane, group: string, prefix: string) {
    this.#plane = plane;
    this.#group = group;
    this.#running = Promise.allSettled(Array.from({ length: lanes }, (_, lane) => this.#run(`${prefix}-${lane}`)));
  }

  /** Resolves once something was answered. */
  async begun(): Promise<void> {
    while (this.#revisions === 0) await sleep(1);
  }

  /** What was answered until now. */
  answered(): { readonly users: readonly Answered[]; readonly revisions: number } {
    return { users: this.#users.map((person) => ({ ...person, person })), revisions: this.#revisions };
  }

  /** Resolves when the server is gone; 500 is its word for a disk without power. @throws Error if it refused something. */
  async ended(): Promise<void> {
    const failures = (await this.#running).flatMap((lane) => (lane.status === "rejected" ? [String(lane.reason)] : []));
    const refusals = failures.filter((failure) => /^Error: (POST|PATCH) \S+ 4\d\d/.test(failure));
    if (refusals.length > 0) throw new Error(refusals.join("; "));
  }

  /** @throws Error if anything failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const lane of await this.#running) if (lane.status === "rejected") throw lane.reason;
  }

  async #run(prefix: string): Promise<void> {
    const directory = this.#plane.client(DirectoryService);
    for (let n = 0; !this.#stopped; n++) {
      const name = `${prefix}-${n}`;
      const described = `${name} is new`;
      const id = await this.#plane.create("Users", { userName: name, displayName: described });
      const person = { name, id, described, asked: described, member: false };
      this.#users.push(person);
      await this.#plane.addMember(this.#group, id);
      this.#revisions++;
      person.member = true;
      await directory.addSshKey({ user: name, publicKey: ed25519Line(name) });
      this.#revisions++;
      person.asked = `${name} is known`;
      await this.#plane.patch("Users", id, { op: "replace", path: "displayName", value: person.asked });
      this.#revisions++;
      person.described = person.asked;
      if (n % 3 === 2) {
        await this.#plane.patch("Users", id, { op: "replace", path: "active", value: false });
        this.#revisions++;
      }
    }
  }
}

async function membersOf(plane: HostedPlane, group: string): Promise<string[]> {
  const { body } = await plane.scim("GET", `/Groups/${group}`);
  return (body["members"] as { value: string }[]).map(({ value }) => value);
}

async function joinOnDisk(plane: HostedPlane, host: Host): Promise<{ node: HostedNode; disk: Disk }> {
  const disk = await mountDisk(host, "/var/lib/rollcall", { mb: 64 });
  return { disk, node: await HostedNode.join(plane, host, "login") };
}

/** Resolves, as soon as the server shows it, with the revision that a node holds: at least this one. */
async function ackedAt(plane: HostedPlane, node: HostedNode, least: bigint): Promise<bigint> {
  for (;;) {
    const revision = (await plane.node(node.host.name)).acked?.revision ?? 0n;
    if (revision >= least) return revision;
    await sleep(1);
  }
}

/** The position that the next start of its agent will find, read from a copy. */
async function rememberedBy({ host, state }: HostedNode): Promise<Position> {
  await using copy = await mkdtempDisposable(join(tmpdir(), "rollcall-memory-"));
  const folders = foldersIn(copy.path);
  await cp(foldersIn(join(host.root, state)).private, folders.private, { recursive: true });
  await realDisk.folder(folders.stage, 0o700);
  const { memory, warning } = await recall(realDisk, folders);
  expect(warning).toBeUndefined();
  return memory.at;
}

/** All that readers find on a host, sorted. */
async function servedBy(host: Host): Promise<string> {
  const script = `
    for map in passwd group shadow; do getent -s cache $map | sort; done
    cd /etc/ssh/authorized_keys.d && grep . *`;
  const { code, stdout, stderr } = await host.run("sh", ["-euc", script]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

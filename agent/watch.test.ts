import { setImmediate as breath } from "node:timers/promises";
import { pino } from "pino";
import { describe, expect, test, vi } from "vitest";
import type { Resource } from "../identity/resource.ts";
import { start } from "./apply.ts";
import type { Clock } from "./clock.ts";
import { Lease, type MachineClock } from "./lease.ts";
import type { Tended } from "./links.ts";
import { Gate } from "./policy/gate.ts";
import { type Policy, unstated } from "./policy/policy.ts";
import { Replica } from "./replica.ts";
import { key, member, person, stepTo, sudo, team } from "./sample.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { nssSink } from "./sinks/nss/sink.ts";
import { sshSink } from "./sinks/ssh.ts";
import { sudoSink } from "./sinks/sudo/sink.ts";
import type { Check } from "./sinks/sudo/visudo.ts";
import { type Drift, Watch } from "./watch.ts";

const content = [person(1), person(2), team(1), member(1, 1), key(1, 0), key(2, 1), sudo(1)];
const served = "/state/served";
const minute = 60_000;
const clean = { came: [], left: [], changed: [] };

class TestClock implements Clock, MachineClock {
  readonly boot = "boot";
  wall = 1_000_000;
  up = 0;
  now = () => this.wall;
  uptime = () => this.up;
  elapsed = () => this.up;
  random = () => 0.5;
  sleep = async () => undefined;

  pass(ms: number): void {
    this.wall += ms;
    this.up += ms;
  }
}

async function watched(
  options: { policy?: Partial<Policy>; links?: () => Promise<Tended>; content?: Resource[]; check?: Check } = {},
) {
  const disk = new SimulatedDisk();
  const clock = new TestClock();
  const policy = { ...unstated, ...options.policy };
  const gate = new Gate(policy);
  const gids = new Map([["shadow", 42]]);
  const { ground } = await start({
    ...{ disk, gids, gate },
    state: "/state",
    sinks: (_, folder) => [
      nssSink(disk, folder, gids),
      sshSink(disk, folder, async () => undefined),
      sudoSink(disk, folder, options.check ?? (async () => undefined)),
    ],
  });
  const replica = new Replica(ground);
  await replica.apply(stepTo(ground.memory.copy, options.content ?? content));
  await replica.trust();
  const lease = new Lease(clock);
  const told: Drift[] = [];
  const watch = new Watch({
    ...{ replica, gate, lease, clock },
    log: pino({ level: "silent" }),
    links: options.links ?? (async () => ({ placed: [], inTheWay: [] })),
    every: { look: minute, reading: 60 * minute },
    told: (drift) => told.push(drift),
  });
  const after = async (ms: number): Promise<Drift> => {
    clock.pass(ms);
    await watch.turn();
    return watch.drift;
  };
  return { disk, clock, ground, replica, lease, gate, watch, told, after };
}

describe("A10: a foreign edit is found by a look, repaired and told", () => {
  const files = [
    "nss/passwd.cache",
    "nss/passwd.cache.ixname",
    "nss/passwd.cache.ixuid",
    "nss/shadow.cache",
    "nss/shadow.cache.ixname",
    "nss/group.cache",
    "nss/group.cache.ixname",
    "nss/group.cache.ixgid",
    "ssh/authorized_keys.d/user1",
    "sudo/rollcall",
  ];

  test.each(files)("%s: appended to, emptied, gone, its mode or group changed", async (file) => {
    const spoil: [string, (bytes: Buffer) => Parameters<SimulatedDisk["plant"]>[1], { mode: number; gid?: number }?][] =
      [
        ["appended to", (bytes) => Buffer.concat([bytes, Buffer.from("intruder:x:0:0::/:/bin/sh\n")])],
        ["emptied", () => Buffer.alloc(0)],
        ["gone", () => undefined],
        ["opened", (bytes) => bytes, { mode: 0o666 }],
      ];
    for (const [how, change, holding] of spoil) {
      const { disk, watch, after } = await watched();
      const path = `${served}/${file}`;
      const before = await disk.read(path);
      const { mode = 0, gid = 0, bytes = Buffer.alloc(0) } = before ?? {};
      disk.plant(path, change(bytes), holding ?? { mode, gid });
      expect((await after(minute / 2)).count, "it is not time yet").toBe(0);
      const drift = await after(minute);
      expect(drift, how).toMatchObject({ count: 1, lastAt: 1_000_000 + 1.5 * minute, faults: [] });
      expect(drift.files, how).toContain(file);
      expect(await disk.read(path), how).toMatchObject({ mode, gid });
      // The whole is what it was: nss files may be laid anew, what they say is the same.
      expect(watch.drift.strays).toEqual([]);
      expect((await after(2 * minute)).count, `${how}, and then all is well`).toBe(1);
    }
  });

  test("a shadow file that another group may read is the right one's again", async () => {
    for (const file of ["nss/shadow.cache", "nss/shadow.cache.ixname"]) {
      const { disk, after } = await watched();
      const before = await disk.read(`${served}/${file}`);
      disk.plant(`${served}/${file}`, before?.bytes, { mode: before?.mode ?? 0, gid: 7 });
      expect(await after(2 * minute)).toMatchObject({ count: 1, files: expect.arrayContaining([file]) });
      expect(await disk.read(`${served}/${file}`)).toMatchObject({ gid: 42 });
    }
  });

  test("a stranger's file of keys is taken away; what opens no login is left and named until it goes", async () => {
    const { disk, after } = await watched();
    disk.plant(`${served}/ssh/authorized_keys.d/intruder`, Buffer.from("ssh-ed25519 AAAA\n"));
    disk.plant(`${served}/nss/passwd.cache.bak`, Buffer.from("theirs"));
    expect(await after(2 * minute)).toMatchObject({
      count: 1,
      files: ["ssh/authorized_keys.d/intruder"],
      strays: ["nss/passwd.cache.bak"],
    });
    expect([...disk.files().keys()]).not.toContain(`${served}/ssh/authorized_keys.d/intruder`);
    expect(disk.files().get(`${served}/nss/passwd.cache.bak`)).toBe("theirs");
    expect((await after(2 * minute)).count).toBe(1);
    disk.plant(`${served}/nss/passwd.cache.bak`, undefined);
    expect(await after(2 * minute)).toMatchObject({ count: 1, strays: [] });
  });

  test("a file that was only touched is no drift", async () => {
    const { disk, after } = await watched();
    const path = `${served}/ssh/authorized_keys.d/user1`;
    disk.plant(path, (await disk.read(path))?.bytes);
    expect(await after(2 * minute)).toMatchObject({ count: 0, files: [] });
  });

  test("what no look can see, a reading finds within the hour", async () => {
    const { disk, after } = await watched();
    const path = `${served}/ssh/authorized_keys.d/user1`;
    disk.rot(path, Buffer.from("ssh-ed25519 AAAA\n"));
    expect((await after(2 * minute)).count).toBe(0);
    expect(await after(90 * minute)).toMatchObject({ count: 1, files: ["ssh/authorized_keys.d/user1"] });
  });
});

test("of a hundred that were mended, that are foreign, or that stand in a link's place, twenty are named", async () => {
  const many = Array.from({ length: 100 }, (_, n) => `n${n}`);
  const { disk, after } = await watched({
    content: many.flatMap((_, n) => [person(n), key(n, 1)]),
    links: async () => ({ placed: [], inTheWay: many }),
  });
  many.forEach((name, n) => {
    disk.plant(`${served}/ssh/authorized_keys.d/user${n}`, Buffer.from("ssh-ed25519 AAAA\n"));
    disk.plant(`${served}/nss/${name}`, Buffer.from("theirs"));
  });
  const { files, strays, faults } = await after(2 * minute);
  expect([files, strays, faults].map(({ length }) => length)).toEqual([20, 20, 20]);
});

test("an edit is found though something is applied during every look; what was applied is nobody's edit", async () => {
  const { disk, ground, replica, after } = await watched();
  const tree = disk.tree.bind(disk);
  let n = 10;
  vi.spyOn(disk, "tree").mockImplementation(async (folder) => {
    const found = await tree(folder);
    const applying = replica.apply(stepTo(ground.memory.copy, [...content, person(n), key(n++, 1)]));
    if (n % 2 === 0) await applying;
    return found;
  });
  expect(await after(2 * minute)).toMatchObject({ count: 0 });
  disk.plant(`${served}/ssh/authorized_keys.d/user1`, Buffer.from("ssh-ed25519 AAAA\n"));
  for (let looks = 1; looks <= 2; looks++) expect((await after(2 * minute)).count).toBe(1);
  expect(await after(2 * minute)).toMatchObject({ count: 1, files: ["ssh/authorized_keys.d/user1"], strays: [] });
});

test("who leaves does not wait for what others get and nobody can verify: that is named, and made up for", async () => {
  let works = true;
  const check = async () => {
    if (!works) throw Object.assign(new Error("visudo hangs"), { code: "ETIMEDOUT", errno: -110 });
  };
  const { disk, ground, replica, after } = await watched({ check });
  const { memory } = ground;
  const granted = () => disk.files().get(`${served}/sudo/rollcall`)?.includes("%team2 ");
  const names = () =>
    disk
      .files()
      .get(`${served}/nss/passwd.cache`)
      ?.match(/^user\d+/gm);
  let people: Resource[] = [person(20), person(21), person(22)];
  const to = () => replica.apply(stepTo(memory.copy, [...content, team(2), ...people, sudo(2, "ALL")]));
  await replica.apply(stepTo(memory.copy, [...content, ...people]));
  works = false;
  await expect(to(), "nobody leaves").rejects.toThrow("sudo: verify: visudo hangs");
  expect(memory.unfinished).toBeUndefined();
  for (const left of [20, 21]) {
    people = people.slice(1);
    const [waits] = (await to()).filter(({ sink }) => sink === "sudo");
    expect(waits?.isolated).toEqual([{ key: "sudo/70002", reason: expect.stringMatching(/^waits: .*visudo hangs$/) }]);
    expect(names()).not.toContain(`user${left}`);
    expect(granted()).toBe(false);
  }
  expect((await after(10_000)).faults).toEqual([expect.stringContaining("visudo hangs")]);
  works = true;
  expect((await after(2 * minute)).faults).toEqual([]);
  expect(granted()).toBe(true);
  expect(replica.reports.find(({ sink }) => sink === "sudo")?.isolated).toEqual([]);

  // A start does not wait for it either.
  works = false;
  disk.plant(`${served}/sudo/rollcall`, undefined);
  const again = await start({ disk, state: "/state", gids: ground.gids, gate: ground.gate, sinks: () => ground.sinks });
  expect(again.fault).toBeUndefined();
  expect(again.repaired?.isOwed).toBe(true);
  const next = new Replica(again.ground, again.repaired);
  await expect(next.comply()).rejects.toThrow("visudo hangs");
  works = true;
  expect(await next.comply()).toBe(true);
  expect(await next.comply()).toBe(false);
  expect(granted()).toBe(true);
});

test("a memory that cannot be compacted is told at each step, and keeps none back", async () => {
  const { ground } = await watched();
  const { memory } = ground;
  vi.spyOn(memory, "bulky", "get").mockReturnValue(true);
  const full = Object.assign(new Error("no space"), { code: "ENOSPC", errno: -28 });
  vi.spyOn(memory, "compact").mockRejectedValue(full);
  const warned: string[] = [];
  const replica = new Replica(ground, undefined, (warning) => warned.push(warning.message));
  for (let n = 10; n < 12; n++) await replica.apply(stepTo(memory.copy, [...content, person(n)]));
  expect(replica.at).toEqual(memory.copy.at);
  expect(warned).toEqual(Array(2).fill("compact the memory: agent: record: no space"));
});

describe("a repair", () => {
  test("that fails is told and tried again, later each time; then it is told as mended", async () => {
    const { disk, clock, after, told } = await watched();
    disk.plant(`${served}/nss/group.cache`, undefined);
    disk.failing = "ENOSPC";
    expect(await after(2 * minute)).toMatchObject({ count: 0, faults: [expect.stringContaining("ENOSPC")] });
    const calls = disk.calls;
    await after(100);
    expect(disk.calls, "not at once").toBe(calls);
    await after(minute);
    expect(disk.calls).toBeGreaterThan(calls);
    expect(told).toHaveLength(1);
    disk.failing = undefined;
    expect(await after(2 * minute)).toMatchObject({ count: 1, faults: [] });
    expect(clock.up).toBeGreaterThan(0);
  });

  test("waits for an apply, and an apply for it", async () => {
    for (const first of ["apply", "mend"] as const) {
      const { ground, replica, disk, after } = await watched();
      const step = stepTo(ground.memory.copy, [...content, person(9), key(9, 9)]);
      const acts = { apply: () => replica.apply(step), mend: () => replica.mend() };
      disk.plant(`${served}/nss/passwd.cache.ixuid`, Buffer.from("x"));
      const { promise, resolve } = Promise.withResolvers<void>();
      disk.held = { call: "create", until: promise };
      const running = acts[first]();
      await breath();
      const { calls } = disk;
      const waiting = acts[first === "apply" ? "mend" : "apply"]();
      await breath();
      expect(disk.calls, `${first} first`).toBe(calls);
      disk.held = undefined;
      resolve();
      await Promise.all([running, waiting]);
      expect(replica.at).toEqual(step.to);
      expect((await after(2 * minute)).faults).toEqual([]);
      expect((await after(2 * minute)).faults).toEqual([]);
    }
  });

  test("takes nothing that an apply does during a look for a foreign edit", async () => {
    const { ground, replica, disk } = await watched();
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.held = { call: "tree", until: promise };
    const looking = replica.foreign();
    await replica.apply(stepTo(ground.memory.copy, [...content, person(9), key(9, 9)]));
    disk.held = undefined;
    resolve();
    expect(await looking).toEqual(clean);
    expect(await replica.foreign()).toEqual(clean);
  });

  test("is left to a step that is unfinished", async () => {
    const { ground, replica, disk, after } = await watched();
    const step = stepTo(ground.memory.copy, [...content, person(9)]);
    for (let n = 1; !ground.memory.unfinished; n++) {
      disk.fault = { kind: "errno", at: disk.calls + n, code: "EIO" };
      await replica.apply(step).catch(() => undefined);
    }
    const { calls } = disk;
    expect((await after(2 * minute)).count).toBe(0);
    expect(await replica.foreign()).toEqual(clean);
    expect(await replica.mend()).toBeUndefined();
    expect(disk.calls).toBe(calls);
    await replica.apply(step);
    expect(replica.at).toEqual(step.to);
    expect((await after(2 * minute)).count).toBe(0);
  });
});

test("links that were missing are drift, what is in the way is a fault for as long as it is there", async () => {
  let tended: Tended = { placed: ["/etc/passwd.cache"], inTheWay: ["/etc/group.cache is in the way: a file"] };
  const { after } = await watched({ links: async () => tended });
  expect(await after(2 * minute)).toMatchObject({
    count: 1,
    files: ["/etc/passwd.cache"],
    faults: ["/etc/group.cache is in the way: a file"],
  });
  tended = { placed: [], inTheWay: [] };
  expect(await after(2 * minute)).toMatchObject({ count: 1, faults: [] });
});

describe("A9: the server is silent", () => {
  const hour = 60 * minute;
  const rules = (disk: SimulatedDisk) => disk.files().get(`${served}/sudo/rollcall`);
  const others = (disk: SimulatedDisk) => new Map([...disk.files()].filter(([path]) => !path.includes("/sudo/")));

  test("sudo goes when the policy says so, and nothing else; it is back when the server is heard", async () => {
    const { disk, after, lease, gate, replica, ground } = await watched({ policy: { withdrawSudoAfter: 24 * hour } });
    const [granted, rest] = [rules(disk), others(disk)];
    expect(granted).toContain("%team1");
    await after(24 * hour);
    expect(rules(disk)).toBe(granted);
    await after(minute);
    expect(gate.isWithdrawn).toBe(true);
    expect(rules(disk)).toBe("");
    expect(others(disk)).toEqual(rest);
    expect(replica.reports.find(({ sink }) => sink === "policy")?.isolated).toEqual([
      { key: "sudo/70001", reason: "policy: sudo is withdrawn until the server is heard again (stale)" },
    ]);
    // Nor does it come back by a repair, or with a step.
    await replica.repair();
    await replica.apply(stepTo(ground.memory.copy, [...content, team(2), sudo(2)]));
    expect(rules(disk)).toBe("");
    lease.renew();
    expect((await after(1000)).count, "none of this was drift").toBe(0);
    expect(rules(disk)).toContain("%team1");
    expect(rules(disk)).toContain("%team2");
  });

  test("without such a policy it never goes, and no wall clock takes it away", async () => {
    const { disk, after } = await watched();
    await after(1000 * hour);
    expect(rules(disk)).toContain("%team1");
    const other = await watched({ policy: { withdrawSudoAfter: 24 * hour } });
    other.clock.wall += 10_000 * hour;
    await other.after(minute);
    expect(rules(other.disk)).toContain("%team1");
  });

  test("a withdrawal that fails is tried again until it is done", async () => {
    const { disk, after } = await watched({ policy: { withdrawSudoAfter: hour } });
    disk.failing = "EROFS";
    expect((await after(2 * hour)).faults).toEqual([expect.stringContaining("EROFS")]);
    disk.failing = undefined;
    expect((await after(2 * minute)).faults).toEqual([]);
    expect(rules(disk)).toBe("");
  });
});

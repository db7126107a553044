import { describe, expect, test } from "vitest";
import { origin } from "../identity/position.ts";
import { keyOf, type Resource } from "../identity/resource.ts";
import { ApplyError, apply, type Ground, repair, start } from "./apply.ts";
import { Gate } from "./policy/gate.ts";
import { unstated } from "./policy/policy.ts";
import { key, member, person, stepTo, sudo, team } from "./sample.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { type Aftermath, noFiles, type Sink } from "./sink.ts";
import { enumerate } from "./sinks/nss/reader.ts";
import { nssSink } from "./sinks/nss/sink.ts";
import { sshSink } from "./sinks/ssh.ts";
import { parseRules } from "./sinks/sudo/rule.ts";
import { sudoSink } from "./sinks/sudo/sink.ts";

const gids = new Map([["shadow", 42]]);
const sinks = (disk: SimulatedDisk) => (_: unknown, served: string) => [
  nssSink(disk, served),
  sshSink(disk, served, async () => undefined),
  sudoSink(disk, served, async () => undefined),
];

const open = (disk: SimulatedDisk) => start({ disk, state: "/state", sinks: sinks(disk), gids });

const old = [
  person(1),
  person(2),
  person(3),
  team(1),
  member(1, 1),
  key(1, 0),
  key(1, 1),
  key(2, 2),
  key(3, 3),
  sudo(1),
];
/** One leaves, one comes, one is renamed, a key goes, one comes, a group changes, and so does what it may run. */
const next = [
  person(1),
  person(3, { name: "renamed" }),
  person(4),
  team(1),
  team(2),
  member(1, 3),
  key(1, 1),
  key(3, 3),
  key(3, 5),
  key(4, 4),
  sudo(1, ["/bin/true"]),
  sudo(2, "ALL"),
];

async function at(content: readonly Resource[]): Promise<{ disk: SimulatedDisk; ground: Ground }> {
  const disk = new SimulatedDisk();
  const { ground } = await open(disk);
  await apply(ground, stepTo(ground.memory.copy, content));
  return { disk, ground };
}

/** What readers see: records and key files. */
function shown(disk: SimulatedDisk): Record<string, unknown> {
  const files = disk.files();
  const seen: Record<string, unknown> = {};
  for (const [path, text] of files) {
    if (/^\/state\/served\/(ssh|sudo)\//.test(path)) seen[path] = text;
  }
  for (const map of ["passwd", "shadow", "group"] as const) {
    seen[map] = enumerate(map, Buffer.from(files.get(`/state/served/nss/${map}.cache`) ?? "")).sort();
  }
  return seen;
}

const before = shown((await at(old)).disk);
const after = shown(
  await at(old).then(async ({ disk, ground }) => {
    await apply(ground, stepTo(ground.memory.copy, next));
    return disk;
  }),
);

test("a step is live, remembered and claimed", async () => {
  const { disk, ground } = await at(old);
  const applied = await apply(ground, stepTo(ground.memory.copy, next));
  expect(applied.at).toEqual(ground.memory.copy.at);
  expect(shown(disk)).not.toEqual(before);
  expect([...disk.files().keys()].filter((path) => path.startsWith("/state/stage/"))).toEqual([]);
  expect(applied.changed).toMatchInlineSnapshot(`
    [
      "ssh/authorized_keys.d/user2",
      "ssh/authorized_keys.d/user1",
      "ssh/authorized_keys.d/user3",
      "sudo/rollcall",
      "nss/shadow.cache",
      "nss/passwd.cache",
      "nss/group.cache",
      "nss/shadow.cache.ixname",
      "nss/passwd.cache.ixuid",
      "nss/passwd.cache.ixname",
      "nss/group.cache.ixgid",
      "nss/group.cache.ixname",
      "sudo/rollcall",
      "ssh/authorized_keys.d/renamed",
      "ssh/authorized_keys.d/user4",
    ]
  `);
});

test("A3: an index is replaced only when its data is durable, and nothing before the step is", async () => {
  const { disk, ground } = await at(old);
  disk.log.length = 0;
  await apply(ground, stepTo(ground.memory.copy, [...old, person(9)]));
  const order = disk.log
    .filter((call) => !/^(create|folder) /.test(call))
    .map((call) => call.replace("/state/", "").replace("served/nss/", ""));
  expect(order).toMatchInlineSnapshot(`
    [
      "append private/journal",
      "touch shadow.cache.ixname",
      "touch passwd.cache.ixuid",
      "touch passwd.cache.ixname",
      "touch group.cache.ixgid",
      "touch group.cache.ixname",
      "rename shadow.cache",
      "rename passwd.cache",
      "rename group.cache",
      "sync served/nss",
      "rename shadow.cache.ixname",
      "rename passwd.cache.ixuid",
      "rename passwd.cache.ixname",
      "rename group.cache.ixgid",
      "rename group.cache.ixname",
      "sync served/nss",
      "append private/journal",
    ]
  `);
});

test("A3: an index is made as new as its next data before that is live, or readers would scan", async () => {
  const { disk, ground } = await at(old);
  disk.log.length = 0;
  await apply(ground, stepTo(ground.memory.copy, [...old, person(1, { gecos: "Another" })]));
  expect(disk.log.map((call) => call.replace("/state/", "").replace("served/nss/", ""))).toMatchInlineSnapshot(`
    [
      "folder served/nss",
      "create stage/0.passwd.cache",
      "append private/journal",
      "touch passwd.cache.ixuid",
      "touch passwd.cache.ixname",
      "rename passwd.cache",
      "sync served/nss",
      "append private/journal",
    ]
  `);
});

describe("A6: killed or cut from power at any call, a start ends at the old or the new state, wholly", () => {
  for (const end of ["kill", "power cut"] as const) {
    for (const torn of [false, true]) {
      test(`${end}${torn ? ", half-way through a write" : ""}`, async () => {
        const ends = new Set<string>();
        for (let n = 1; ; n++) {
          const { disk, ground } = await at(old);
          const from = ground.memory.at.revision;
          disk.fault = { kind: "killed", at: disk.calls + n, torn };
          const acked = await apply(ground, stepTo(ground.memory.copy, next)).then(
            () => true,
            () => false,
          );
          const found = disk.after(end);
          const { ground: again, warning, fault } = await open(found);
          const where = `call ${n}: ${disk.log.at(-1)}`;
          expect(warning, where).toBeUndefined();
          expect(fault, where).toBeUndefined();
          const revision = again.memory.at.revision;
          expect(again.memory.unfinished, where).toBeUndefined();
          expect(shown(found), where).toEqual(revision === from ? before : after);
          // A4: what was acked is there.
          if (acked) expect(revision).toBe(from + 1n);
          ends.add(String(revision));
          if (acked) break;
        }
        expect(ends.size).toBe(2);
      });
    }
  }

  test("killed in the repair of a start, again and again", async () => {
    const { disk, ground } = await at(old);
    disk.fault = { kind: "killed", at: disk.calls + 30, torn: false };
    await apply(ground, stepTo(ground.memory.copy, next)).catch(() => undefined);
    let left = disk.after("kill");
    for (let n = 1; ; n++) {
      left.fault = { kind: "killed", at: n, torn: true };
      const started = await open(left).catch(() => undefined);
      left = left.after("kill");
      if (started && !started.fault) break;
    }
    const { ground: again } = await open(left);
    expect(shown(left)).toEqual(again.memory.at.revision === 1n ? before : after);
  });
});

describe("A6: who may run what is never more than before or after, wherever a step ends", () => {
  const people = [person(1), person(2)];
  test.each<[string, readonly Resource[], readonly Resource[]]>([
    ["a group gains a rule as one leaves it", [team(1), member(1, 1)], [team(1), member(1, 2), sudo(1)]],
    ["a group loses its rule as one joins it", [team(1), member(1, 1), sudo(1)], [team(1), member(1, 1), member(1, 2)]],
    [
      "two groups swap names",
      [team(1, "a"), team(2, "b"), member(1, 1), member(2, 2), sudo(1)],
      [team(1, "b"), team(2, "a"), member(1, 1), member(2, 2), sudo(1)],
    ],
    [
      "a rule gets other commands as the group gets other people",
      [team(1), member(1, 1), sudo(1, ["/bin/a", "/bin/b"])],
      [team(1), member(1, 2), sudo(1, ["/bin/b", "/bin/c"])],
    ],
  ])("%s", async (_, was, will) => {
    const ends = await Promise.all(
      [was, will].map(async (content) => mayRun((await at([...people, ...content])).disk)),
    );
    const most = new Set(ends.flat());
    for (let n = 1; ; n++) {
      const { disk, ground } = await at([...people, ...was]);
      disk.fault = { kind: "killed", at: disk.calls + n, torn: false };
      const step = stepTo(ground.memory.copy, [...people, ...will]);
      const done = await apply(ground, step).then(
        () => true,
        () => false,
      );
      for (const end of ["kill", "power cut"] as const) {
        const where = `${end} at call ${n}: ${disk.log.at(-1)}`;
        const left = disk.after(end);
        for (const grant of mayRun(left)) expect(most, where).toContain(grant);
        // The next start is killed too, anywhere.
        left.fault = { kind: "killed", at: n % 20, torn: false };
        await open(left).catch(() => undefined);
        for (const grant of mayRun(left)) expect(most, `${where}, and in the start after it`).toContain(grant);
      }
      if (done) break;
    }
    expect(most.size).toBeGreaterThan(0);
  });

  /** `NAME COMMAND` for everybody in a group that has a rule. */
  function mayRun(disk: SimulatedDisk): string[] {
    const text = (path: string) => Buffer.from(disk.files().get(`/state/served/${path}`) ?? "");
    const groups = enumerate("group", text("nss/group.cache")).map((line) => line.split(":"));
    return [...parseRules(text("sudo/rollcall")).values()].flatMap(({ group, commands }) => {
      const names = groups.find(([name]) => name === group)?.[3]?.split(",") ?? [];
      return names.flatMap((name) => Array.from(commands, (command) => `${name} ${command}`));
    });
  }
});

describe("A6: a call that fails", () => {
  test("leaves all as it was, or is finished by a repair; nothing is claimed in between", async () => {
    for (const code of ["ENOSPC", "EIO"]) {
      for (let n = 1; ; n++) {
        const { disk, ground } = await at(old);
        const from = ground.memory.at;
        const step = stepTo(ground.memory.copy, next);
        disk.fault = { kind: "errno", at: disk.calls + n, code };
        const error: unknown = await apply(ground, step).catch((reason: unknown) => reason);
        if (!(error instanceof ApplyError)) break;
        const where = `call ${n}: ${error.message}`;
        expect(error, where).toMatchObject({ errno: code, retryable: true });
        expect(ground.memory.at, where).toEqual(from);
        if (ground.memory.unfinished) {
          await repair(ground);
        } else {
          expect(shown(disk), where).toEqual(before);
          await apply(ground, step);
        }
        expect(ground.memory.at, where).toEqual(step.to);
        expect(shown(disk), where).toEqual(after);
        expect([...disk.files().keys()].filter((path) => path.includes("/stage/"))).toEqual([]);
      }
    }
  });

  test("says which sink, act, file and errno", async () => {
    const { disk, ground } = await at(old);
    const stepped = stepTo(ground.memory.copy, [...old, person(9)]);
    disk.fault = { kind: "errno", at: disk.calls + 4, code: "ENOSPC" };
    const error: unknown = await apply(ground, stepped).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ sink: "nss", act: "stage", path: "nss/passwd.cache", errno: "ENOSPC" });
    expect(String(error)).toContain("apply 1.r2: nss: stage nss/passwd.cache");
  });

  test("a sink that refuses is not asked again, and no file of any sink was replaced", async () => {
    const { disk, ground } = await at(old);
    const refusing: Sink = {
      ...asSink(ground.sinks[1]),
      name: "picky",
      verify: () => Promise.reject(new Error("line 3 is odd")),
    };
    const picky = { ...ground, sinks: [...ground.sinks, refusing] };
    const error: unknown = await apply(picky, stepTo(ground.memory.copy, next)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ sink: "picky", act: "verify", retryable: false });
    expect(shown(disk)).toEqual(before);
    expect(ground.memory.copy.at.revision).toBe(1n);
  });

  test("another step is not taken while one is unfinished", async () => {
    const { disk, ground } = await at(old);
    for (let n = 1; !ground.memory.unfinished; n++) {
      disk.fault = { kind: "errno", at: disk.calls + n, code: "EIO" };
      await apply(ground, stepTo(ground.memory.copy, next)).catch(() => undefined);
    }
    await expect(apply(ground, stepTo(ground.memory.copy, old))).rejects.toThrow("repair it first");
  });
});

describe("an act", () => {
  /** Ends what people who leave have running: a file each below /running, so that a kill may come in between. */
  const reaper = (disk: SimulatedDisk, told: Aftermath[] = []): Sink => ({
    name: "reaper",
    render: async () => noFiles,
    verify: async () => undefined,
    settled: () => undefined,
    repair: async () => noFiles,
    act: async (aftermath) => {
      told.push(aftermath);
      for (const { before, after } of aftermath.step?.edits ?? []) {
        if (before?.kind === "user" && !after) await disk.remove(`/running/${before.name}`);
        await disk.sync("/running");
      }
      return [];
    },
  });
  const openWith = (disk: SimulatedDisk, sink: Sink) =>
    start({ disk, state: "/state", sinks: (_, served) => [...sinks(disk)(_, served), sink], gids });
  const running = (disk: SimulatedDisk) => [...disk.files().keys()].filter((path) => path.startsWith("/running/"));

  async function busy(): Promise<SimulatedDisk> {
    const { disk } = await at(old);
    for (const name of ["user1", "user2", "user3"]) disk.plant(`/running/${name}`, Buffer.from("x"));
    return disk;
  }

  test.each(["kill", "power cut"] as const)(
    "is over before the step is done, whatever the %s interrupts",
    async (end) => {
      let redone = 0;
      for (let n = 1; ; n++) {
        const disk = await busy();
        const { ground } = await openWith(disk, reaper(disk));
        disk.fault = { kind: "killed", at: disk.calls + n, torn: false };
        const acked = await apply(ground, stepTo(ground.memory.copy, next)).then(
          () => true,
          () => false,
        );
        const found = disk.after(end);
        const told: Aftermath[] = [];
        const { ground: again, repaired } = await openWith(found, reaper(found, told));
        const where = `call ${n}: ${disk.log.at(-1)}`;
        const isNew = again.memory.at.revision === 2n;
        expect(running(found), where).toEqual(
          ["user1", ...(isNew ? [] : ["user2"]), "user3"].map((u) => `/running/${u}`),
        );
        if (told.at(-1)?.step) redone++;
        expect(told.at(-1)?.step?.to, where).toEqual(isNew && !acked ? repaired?.at : undefined);
        if (acked) break;
      }
      expect(redone).toBeGreaterThan(10);
    },
  );

  test("comes after every file, and sees the step as it was sent, though the policy hid it", async () => {
    const disk = await busy();
    const told: Aftermath[] = [];
    const { ground } = await openWith(disk, reaper(disk, told));
    disk.log.length = 0;
    const gate = new Gate({ ...unstated, reservedUsers: new Set(["user2", "user4"]) });
    await apply({ ...ground, gate }, stepTo(ground.memory.copy, next));
    expect(told.at(-1)?.step?.edits.map(({ key: name }) => name)).toContain("user/200002");
    expect([...(told.at(-1)?.shown ?? [])].map(keyOf)).not.toContain("user/200004");
    const acted = disk.log.indexOf("remove /running/user2");
    expect(disk.log.findLastIndex((call) => call.startsWith("sync /state/served"))).toBeLessThan(acted);
    expect(disk.log.lastIndexOf("append /state/private/journal")).toBeGreaterThan(acted);
  });

  test("that fails leaves the step unfinished by its name, keeps no other from acting, and is done again", async () => {
    const disk = await busy();
    const { ground } = await openWith(disk, reaper(disk));
    let isBroken = true;
    const broken: Sink = {
      ...reaper(disk),
      name: "broken",
      act: async () => {
        if (isBroken) throw new Error("3 processes are left");
        return [{ key: keyOf(person(1)), reason: "has no home" }];
      },
    };
    const both = { ...ground, sinks: [broken, ...ground.sinks] };
    const step = stepTo(ground.memory.copy, next);
    const error: unknown = await apply(both, step).catch((reason: unknown) => reason);
    expect(String(error)).toContain("apply 1.r2: broken: act: 3 processes are left");
    expect(error).toMatchObject({ sink: "broken", act: "act" });
    expect(ground.memory.at).toEqual(step.from);
    expect(ground.memory.unfinished).toEqual(step);
    expect(running(disk)).not.toContain("/running/user2");
    await expect(repair(both)).rejects.toThrow("3 processes are left");
    isBroken = false;
    const repaired = await repair(both);
    expect(repaired?.at).toEqual(step.to);
    expect(repaired?.isolated.get("broken")).toEqual([{ key: "user/200001", reason: "has no home" }]);
  });
});

function asSink(sink: Sink | undefined): Sink {
  if (!sink) throw new Error("there is no such sink");
  return {
    name: sink.name,
    render: sink.render.bind(sink),
    verify: sink.verify.bind(sink),
    settled: sink.settled.bind(sink),
    repair: sink.repair.bind(sink),
  };
}

describe("start", () => {
  test("A1: a damaged memory starts at origin and leaves what is served alone", async () => {
    const { disk } = await at(old);
    disk.plant("/state/private/base", Buffer.from("nonsense"));
    const { ground, warning, repaired } = await open(disk);
    expect(warning).toContain("the memory cannot be used");
    expect(repaired).toBeUndefined();
    expect(ground.memory.at).toEqual(origin);
    expect(shown(disk)).toEqual(before);
    // A5: the snapshot that follows takes away what it does not hold.
    await apply(ground, stepTo(ground.memory.copy, next, 2n));
    expect(shown(disk)).toEqual(after);
  });

  test("A10: a foreign edit is repaired", async () => {
    const { disk } = await at(old);
    disk.plant("/state/served/ssh/authorized_keys.d/intruder", Buffer.from("ssh-ed25519 AAAA\n"));
    disk.plant("/state/served/nss/passwd.cache", undefined);
    const { repaired } = await open(disk);
    expect(repaired?.changed).toContain("ssh/authorized_keys.d/intruder");
    expect(shown(disk)).toEqual(before);
  });

  test("a repair that fails is a fault, not the end", async () => {
    const { disk } = await at(old);
    disk.plant("/state/served/nss/passwd.cache", undefined);
    disk.fault = { kind: "errno", at: disk.calls + 9, code: "ENOSPC" };
    const { ground, fault } = await open(disk);
    expect(fault).toMatchObject({ errno: "ENOSPC", retryable: true });
    await repair(ground);
    expect(shown(disk)).toEqual(before);
  });

  test("A17: the stage is emptied", async () => {
    const { disk } = await at(old);
    disk.plant("/state/stage/17.passwd.cache", Buffer.from("left over"));
    await open(disk);
    expect(disk.files().has("/state/stage/17.passwd.cache")).toBe(false);
  });
});

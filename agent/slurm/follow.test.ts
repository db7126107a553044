import { pino } from "pino";
import { expect, test } from "vitest";
import { origin, type Position } from "../../identity/position.ts";
import type { Resource, ResourceKey } from "../../identity/resource.ts";
import { aJob, anAssociation, aUser } from "../../identity/testing.ts";
import type { Clock } from "../clock.ts";
import { foldersIn, prepareFolders } from "../folders.ts";
import { type SlurmPolicy, unstated } from "../policy/policy.ts";
import { SimulatedDisk } from "../simulated-disk.ts";
import { SlurmSink } from "./follow.ts";
import { Record } from "./record.ts";
import { SimulatedPrograms } from "./simulated-programs.ts";

const physics: Resource = { kind: "account", name: "physics", parent: undefined, description: "", limits: {} };
const ada = [aUser(1), { ...anAssociation("physics", 1, {}), isDefault: true }];
const at = (revision: bigint): Position => ({ ...origin, revision, epoch: { seq: 1n, id: "1".repeat(32) } });

/** A sink whose time passes only when it is told to. */
async function openSink(policy: Partial<SlurmPolicy> = {}) {
  const [disk, folders] = [new SimulatedDisk(), foldersIn("/state")];
  await prepareFolders(disk, folders);
  const { record } = await Record.open(disk, folders);
  const programs = new SimulatedPrograms();
  programs.known.set("user1", 200_001);
  const stop = new AbortController();
  const pauses: number[] = [];
  let asleep = Promise.withResolvers<void>();
  let awake = Promise.withResolvers<void>();
  const clock: Clock = {
    now: () => 0,
    elapsed: () => 0,
    random: () => 0.5,
    sleep: async (ms, signal) => {
      pauses.push(ms);
      asleep.resolve();
      await Promise.race([awake.promise, new Promise((resolve) => signal.addEventListener("abort", resolve))]);
    },
  };
  const replica = {
    at: origin,
    served: [] as Iterable<Resource>,
    policy: { ...unstated, slurm: { ...unstated.slurm, ...policy } },
  };
  const { signal } = stop;
  const sink = new SlurmSink({ replica, record, run: programs.run, clock, log: pino({ level: "silent" }), signal });
  const ended = sink.keep();
  await asleep.promise;
  /** What happens while it sleeps, and that it looked again because of it. */
  const looks = async (happens: () => void): Promise<void> => {
    asleep = Promise.withResolvers();
    happens();
    await asleep.promise;
  };
  return {
    sink,
    programs,
    pauses,
    looks,
    time: () =>
      looks(() => {
        awake.resolve();
        awake = Promise.withResolvers();
      }),
    /** A step becomes true on the node. */
    step: (revision: bigint, keys: readonly string[], served: readonly Resource[]): void => {
      const from = replica.at;
      Object.assign(replica, { at: at(revision), served });
      const edits = keys.map((key) => ({ key: key as ResourceKey, before: undefined, after: undefined }));
      sink.applied({ from, to: at(revision), edits });
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}

test("it follows what is applied, and says how far it is; what is no business of Slurm's costs no look", async () => {
  await using site = await openSink();
  expect(site.programs.slurm.calls).toEqual([]);
  await site.looks(() => site.step(2n, ["account/physics", "association/physics/200001"], [physics, ...ada]));
  expect(site.sink.health).toEqual({ sink: "slurm", revision: 2n, reason: "", lingering: [] });
  expect([...site.programs.slurm.associations.keys()]).toEqual(["physics/user1"]);
  const slept = site.pauses.length;
  site.step(3n, ["member/70000/200001"], [physics, ...ada]);
  expect(site.sink.health?.revision).toBe(3n);
  expect(site.pauses).toHaveLength(slept);
});

test("without slurmdbd it stays where it is, says why, and tries again, later each time", async () => {
  await using site = await openSink();
  site.programs.away = "sacctmgr: error: Sending PersistInit msg: Connection refused";
  await site.looks(() => site.step(2n, ["account/physics"], [physics]));
  await site.time();
  await site.time();
  expect(site.sink.health).toMatchObject({ revision: 0n, reason: expect.stringContaining("Connection refused") });
  const [first = 0, second = 0, third = 0] = site.pauses.slice(-3);
  expect(first < second && second < third).toBe(true);
  for (let n = 0; n < 8; n++) await site.time();
  expect(site.pauses.at(-1), "never for long").toBe(5_000);
  site.programs.away = undefined;
  await site.time();
  expect(site.sink.health).toEqual({ sink: "slurm", revision: 2n, reason: "", lingering: [] });
});

test("what somebody changed is put back on the timer, and said until the next look", async () => {
  await using site = await openSink();
  await site.looks(() => site.step(2n, ["account/physics"], [physics, ...ada]));
  expect(site.pauses.at(-1)).toBe(60_000);
  site.programs.slurm.associations.clear();
  await site.time();
  expect(site.sink.health?.reason).toBe("put back what somebody changed: add 1 user to physics");
  expect(site.programs.slurm.associations.size).toBe(1);
  await site.time();
  expect(site.sink.health?.reason).toBe("");
});

test("a removal that waits for jobs holds the revision back, and is looked at again in a moment", async () => {
  await using site = await openSink();
  await site.looks(() => site.step(2n, ["account/physics"], [physics, ...ada]));
  site.programs.slurm.jobs = [aJob("7", { user: 1, account: "physics" })];
  site.programs.fault = (call) => (call.startsWith("scancel") ? { says: "not yet" } : undefined);
  await site.looks(() => site.step(3n, ["association/physics/200001"], [physics, aUser(1)]));
  expect(site.sink.health).toEqual({
    sink: "slurm",
    revision: 2n,
    reason: "cancels 1 job of user1 in physics",
    lingering: [],
  });
  expect(site.pauses.at(-1)).toBe(1_000);
  site.programs.slurm.jobs = [];
  await site.time();
  expect(site.sink.health).toEqual({ sink: "slurm", revision: 3n, reason: "", lingering: [] });
});

test("jobs that may finish hold nobody else back: who left is named apart until they ended", async () => {
  await using site = await openSink();
  const finishing = { ...anAssociation("physics", 1, {}), isDefault: true, jobs: "finish" as const };
  await site.looks(() => site.step(2n, ["account/physics"], [physics, aUser(1), finishing]));
  site.programs.slurm.jobs = [aJob("7", { user: 1, account: "physics" })];
  await site.looks(() => site.step(3n, ["association/physics/200001"], [physics, aUser(1)]));
  const reason = "waits for 1 job of user1 in physics to finish";
  expect(site.sink.health).toEqual({ sink: "slurm", revision: 3n, reason, lingering: [200_001] });
  expect(site.programs.slurm.associations.size).toBe(1);
  expect(site.pauses.at(-1)).toBe(10_000);
  site.programs.slurm.jobs = [];
  await site.time();
  expect(site.sink.health).toEqual({ sink: "slurm", revision: 3n, reason: "", lingering: [] });
  expect(site.programs.slurm.associations.size).toBe(0);
});

test("nothing counts as true before Slurm was looked at, also if a step is no business of its", async () => {
  await using site = await openSink();
  site.programs.away = "sacctmgr: error: Unable to contact slurmdbd";
  await site.looks(() => site.step(1n, [], []));
  expect(site.sink.health).toMatchObject({ revision: 0n, reason: expect.stringContaining("Unable to contact") });
});

test("where there is no Slurm, it is in nobody's way until something is wanted of it", async () => {
  await using site = await openSink();
  site.programs.isAbsent = true;
  await site.looks(() => site.step(2n, ["user/200001"], [aUser(1)]));
  expect(site.sink.health).toEqual({ sink: "slurm", revision: 2n, reason: "", lingering: [] });
  await site.looks(() => site.step(3n, ["account/physics"], [physics, ...ada]));
  expect(site.sink.health).toMatchObject({ revision: 2n, reason: expect.stringContaining("is not installed") });
});

test("the node's own policy has it off: nothing is looked at, nothing said", async () => {
  await using site = await openSink({ enabled: false });
  await site.looks(() => site.step(2n, ["account/physics"], [physics, ...ada]));
  expect(site.sink.health).toBeUndefined();
  expect(site.programs.slurm.calls).toEqual([]);
});

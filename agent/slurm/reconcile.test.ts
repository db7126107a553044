import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseName } from "../../identity/name.ts";
import type { Resource } from "../../identity/resource.ts";
import { type SlurmWanted, wantedOf } from "../../identity/slurm-state.ts";
import { aJob, anAssociation, aUser } from "../../identity/testing.ts";
import { foldersIn, prepareFolders } from "../folders.ts";
import { SimulatedDisk } from "../simulated-disk.ts";
import { Away } from "./program.ts";
import { type Reconciled, reconcile } from "./reconcile.ts";
import { Record } from "./record.ts";
import { SimulatedPrograms } from "./simulated-programs.ts";

const account = (name: string): Resource => ({ kind: "account", name, parent: undefined, description: "", limits: {} });
const use = (name: string, user: number) => ({ ...anAssociation(name, user, {}), isDefault: false });
const people = (count: number): Resource[] =>
  Array.from({ length: count }, (_, n) => n).flatMap((n) => [aUser(n), use("physics", n)]);
const physics = (count: number): SlurmWanted => wantedOf([account("physics"), ...people(count)]);

/** An agent on its disk, beside one Slurm; made anew, it knows what the disk knows. */
class Ground {
  readonly disk = new SimulatedDisk();
  readonly programs = new SimulatedPrograms();

  constructor(known = 8) {
    for (let n = 0; n < known; n++) this.programs.known.set(`user${n}`, 200_000 + n);
  }

  async pass(wanted: SlurmWanted): Promise<Reconciled> {
    const folders = foldersIn("/state");
    await prepareFolders(this.disk, folders);
    const { record } = await Record.open(this.disk, folders);
    return reconcile({ run: this.programs.run, cluster: "hpc", record, adopts: false, tell: () => undefined }, wanted);
  }
}

describe("reconciling", () => {
  test("reads, does what is to do, and reads that it is so", async () => {
    const ground = new Ground();
    expect(await ground.pass(physics(3))).toMatchObject({ behind: [], foreign: [], soon: false });
    expect(ground.programs.slurm.calls).toHaveLength(2);
    expect(await ground.pass(physics(3))).toMatchObject({ behind: [], found: [] });
    expect(await ground.pass(physics(1))).toMatchObject({ behind: [] });
    expect([...ground.programs.slurm.associations.keys()]).toEqual(["physics/user0"]);
  });

  test("never takes an exit code for the truth: one that did nothing, one that did it and failed, nothing new", async () => {
    const ground = new Ground();
    ground.programs.slurm.run = () => undefined;
    expect((await ground.pass(physics(1))).behind).toEqual([
      "add 1 account below root: it is not so after the call",
      "add 1 user to physics: it is not so after the call",
    ]);
    const other = new Ground();
    other.programs.fault = () => ({ says: "Nothing new added." });
    expect((await other.pass(physics(1))).behind).not.toEqual([]);
  });

  test("one name that spoils a list fails alone, and is named", async () => {
    const ground = new Ground();
    ground.programs.fault = (call) =>
      call.includes("user5") ? { says: "sacctmgr: error: no user5 today" } : undefined;
    const { behind } = await ground.pass(physics(8));
    expect(behind).toEqual(["add 1 user to physics: sacctmgr: error: no user5 today"]);
    expect(ground.programs.slurm.associations.size).toBe(7);
  });

  test("a list of which nothing was new is one call, and no failure", async () => {
    const ground = new Ground();
    let count = 0;
    const { run } = ground.programs;
    const late = async (...call: Parameters<typeof run>) => {
      const outcome = await run(...call);
      if (!call[1].includes("user") || !call[1].includes("add")) return outcome;
      count++;
      return { code: 1, stdout: " Nothing new added.\n", stderr: "" };
    };
    Object.assign(ground.programs, { run: late });
    expect(await ground.pass(physics(8))).toMatchObject({ behind: [] });
    expect(count).toBe(1);
  });

  test("a lost reply, and a call that never arrived, end the pass; the next one finishes it, and nothing is twice or foreign", async () => {
    for (const fault of ["before", "after"] as const) {
      for (let at = 0; at < 4; at++) {
        const ground = new Ground();
        let count = 0;
        ground.programs.fault = () => (count++ === at ? fault : undefined);
        await ground.pass(physics(2)).catch(expectAway);
        await ground.pass(wantedOf([account("physics")])).catch(expectAway);
        expect(await ground.pass(wantedOf([account("physics")]))).toMatchObject({ behind: [], foreign: [] });
        expect(ground.programs.slurm.associations.size, `${fault} ${at}`).toBe(0);
      }
    }
  });

  test("slurmdbd that is down is said in its own words, and changes nothing", async () => {
    const ground = new Ground();
    ground.programs.away = "sacctmgr: error: Sending PersistInit msg: Connection refused";
    await expect(ground.pass(physics(1))).rejects.toThrow("Connection refused");
  });

  test("what slurmdbd that is down says is not said of one call, nor the other way round", async () => {
    const ground = new Ground();
    // A user can be called so, and slurmdbd names users in what it refuses.
    ground.programs.known.set("munged", 200_009);
    const wanted = wantedOf([
      account("physics"),
      ...people(2),
      { ...aUser(9), name: parseName("munged") },
      use("physics", 9),
    ]);
    ground.programs.fault = (call) =>
      call.includes("munged") ? { says: " Bad QOS\n  U = munged  A = physics  persist_conn" } : undefined;
    expect((await ground.pass(wanted)).behind).toHaveLength(1);
    expect([...ground.programs.slurm.associations.keys()]).toEqual(["physics/user0", "physics/user1"]);
  });

  test("jobs of who left are cancelled while accounting is away, of nobody else, and those that may finish are not", async () => {
    const ground = new Ground();
    const finishing = { ...use("physics", 2), jobs: "finish" as const };
    await ground.pass(wantedOf([account("physics"), ...people(2), aUser(2), finishing]));
    ground.programs.slurm.jobs = [0, 1, 2, 3].map((user) => aJob(`${user}`, { user, account: "physics" }));
    ground.programs.slurm.jobs.push(
      aJob("8", { user: 2, account: "physics", isQueued: true }),
      aJob("9", { user: 1, account: "legacy" }),
    );
    ground.programs.accountingAway = "sacctmgr: error: Sending PersistInit msg: Connection refused";
    await expect(ground.pass(physics(1))).rejects.toThrow("Connection refused");
    expect(ground.programs.slurm.jobs.map(({ id }) => id)).toEqual(["0", "2", "3", "9"]);
    expect(ground.programs.slurm.calls.filter((call) => call.startsWith("scancel"))).toEqual([
      "scancel 1",
      "scancel --state=PENDING 8",
    ]);
  });

  test("an account is not taken for unused by a listing that is older than it", async () => {
    const ground = new Ground();
    const { run } = ground.programs;
    let isNew = true;
    const listings = {
      run: async (...call: Parameters<typeof run>) => {
        const outcome = await run(...call);
        if (call[1].includes("account")) {
          return { ...outcome, stdout: `${outcome.stdout}fresh|rollcall|made by another cluster's agent\n` };
        }
        if (!call[1].includes("association") || isNew) {
          isNew &&= !call[1].includes("association");
          return outcome;
        }
        return { ...outcome, stdout: `${outcome.stdout}other|fresh|||root||||||||||||||\n` };
      },
    };
    Object.assign(ground.programs, listings);
    expect(await ground.pass(wantedOf([]))).toMatchObject({ behind: [], found: [] });
    expect(ground.programs.slurm.calls).toEqual([]);
  });

  test("a listing that lacks a user who has an association is not the truth: nothing is forgotten by it", async () => {
    const ground = new Ground();
    await ground.pass(physics(2));
    const { users } = ground.programs.slurm;
    const [user1] = [users.get("user1")];
    users.delete("user1");
    await expect(ground.pass(physics(0))).rejects.toThrow("does not list the user user1");
    if (user1) users.set("user1", user1);
    await ground.pass(wantedOf([]));
    expect(ground.programs.slurm.associations.size).toBe(0);
  });

  test("a listing without the cluster's root is not an empty cluster", async () => {
    const ground = new Ground();
    await ground.pass(physics(2));
    const { run } = ground.programs;
    const empty = {
      run: (...call: Parameters<typeof run>) =>
        call[1].includes("show") ? Promise.resolve({ code: 0, stdout: "", stderr: "" }) : run(...call),
    };
    Object.assign(ground.programs, empty);
    await expect(ground.pass(physics(2))).rejects.toThrow("does not list the cluster hpc");
    Object.assign(ground.programs, { run });
    await ground.pass(wantedOf([]));
    expect(ground.programs.slurm.associations.size).toBe(0);
  });
});

test("L2, L3: killed at any call, before or after its work, and started again, it ends as wanted and knows all that it made", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(4), fc.nat(6), fc.constantFrom("before" as const, "after" as const)), {
        minLength: 1,
        maxLength: 6,
      }),
      async (runs) => {
        const ground = new Ground();
        ground.programs.slurm.accounts.set("theirs", { description: "", organization: "uni" });
        ground.programs.slurm.places.set("theirs", { parent: "root", limits: {} });
        ground.programs.slurm.users.set("guest", { defaultAccount: "theirs", adminLevel: "none" });
        ground.programs.slurm.associations.set("theirs/guest", { account: "theirs", user: "guest", limits: {} });
        for (const [count, at, fault] of runs) {
          let calls = 0;
          ground.programs.fault = () => (calls++ === at ? fault : undefined);
          await ground.pass(physics(count)).catch(expectAway);
        }
        ground.programs.fault = () => undefined;
        await ground.pass(physics(2));
        expect(new Set(ground.programs.slurm.associations.keys())).toEqual(
          new Set(["theirs/guest", "physics/user0", "physics/user1"]),
        );
        await ground.pass(wantedOf([]));
        expect([...ground.programs.slurm.associations.keys()]).toEqual(["theirs/guest"]);
        expect([...ground.programs.slurm.accounts.keys()]).toEqual(["theirs"]);
      },
    ),
    { numRuns: 60 },
  );
});

test("a record that was damaged is put aside: what is there is left as it is", async () => {
  const ground = new Ground();
  await ground.pass(physics(1));
  const folders = foldersIn("/state");
  await ground.disk.append(`${folders.private}/slurm`, Buffer.from("x"));
  const { record, warning } = await Record.open(ground.disk, folders);
  expect(warning).toContain("its sum is wrong");
  expect(record.owned.associations.size).toBe(0);
  expect((await ground.pass(physics(1))).foreign).toEqual(["association physics/user0"]);
  await ground.pass(wantedOf([account("physics")]));
  expect([...ground.programs.slurm.associations.keys()]).toEqual(["physics/user0"]);
});

function expectAway(error: unknown): undefined {
  if (!(error instanceof Away)) throw error;
  return undefined;
}

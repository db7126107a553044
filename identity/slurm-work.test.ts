import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Resource } from "./resource.ts";
import { SimulatedSlurm } from "./simulated-slurm.ts";
import { argumentsOf } from "./slurm-call.ts";
import { type Owned, settled, wantedOf } from "./slurm-state.ts";
import { type Plan, planWork } from "./slurm-work.ts";
import { aJob, anAssociation, aUser } from "./testing.ts";

const nobody: Owned = { users: new Set(), associations: new Map() };

const account = (
  name: string,
  fields: { parent?: string; description?: string; limits?: Record<string, string> } = {},
) =>
  ({
    kind: "account",
    name,
    parent: fields.parent,
    description: fields.description ?? "",
    limits: fields.limits ?? {},
  }) as const;

const use = (name: string, user: number, fields: Partial<ReturnType<typeof anAssociation>> = {}) => ({
  ...anAssociation(name, user, {}),
  isDefault: false,
  ...fields,
});

/** Does what is planned until nothing is left to do. */
class Site {
  readonly slurm = new SimulatedSlurm();
  owned = nobody;
  adopts = false;
  unknown = new Set<string>();
  readonly elsewhere = new Set<string>();

  plan(resources: readonly Resource[]): Plan {
    const isKnown = (user: string) => !this.unknown.has(user);
    const { slurm, owned, adopts } = this;
    const state = { ...slurm.state(), elsewhere: { accounts: new Set<string>(), users: this.elsewhere } };
    return planWork({ state, owned, wanted: wantedOf(resources), isKnown, adopts });
  }

  settle(...resources: readonly Resource[]): Plan {
    for (let round = 0; round < 8; round++) {
      const plan = this.plan(resources);
      this.owned = plan.owned;
      if (plan.calls.length === 0) return plan;
      for (const call of plan.calls) this.slurm.run(call);
    }
    throw new Error(`it never ends:\n${this.slurm.calls.join("\n")}`);
  }

  said(): string[] {
    return this.slurm.calls.splice(0);
  }
}

describe("the calls that make Slurm what a copy wants", () => {
  test("accounts from the top, users by list, the default account first", () => {
    const site = new Site();
    site.settle(
      account("optics", { parent: "physics" }),
      account("physics", { description: "Physics (all)", limits: { fairshare: "7" } }),
      aUser(1),
      aUser(2),
      use("optics", 1, { limits: { maxjobs: "3" } }),
      use("physics", 1, { isDefault: true }),
      use("physics", 2, { isDefault: true, adminLevel: "operator" }),
    );
    expect(site.said()).toEqual([
      "sacctmgr -i add account name=physics cluster=hpc organization=rollcall parent=root description=Physics (all) fairshare=7",
      "sacctmgr -i add account name=optics cluster=hpc organization=rollcall parent=physics",
      "sacctmgr -i add user name=user1,user2 cluster=hpc account=physics",
      "sacctmgr -i add user name=user1 cluster=hpc account=optics maxjobs=3",
      "sacctmgr -i modify user where name=user2 set adminlevel=operator",
    ]);
  });

  test("what a rule no longer states is unset, and what somebody else changed is put back", () => {
    const site = new Site();
    const people = [account("physics"), aUser(1)];
    site.settle(...people, use("physics", 1, { limits: { maxjobs: "3", grptres: "cpu=4,mem=8G" } }));
    site.said();
    site.settle(...people, use("physics", 1, { limits: { grptres: "cpu=4" } }));
    expect(site.said()).toEqual([
      "sacctmgr -i modify user where name=user1 cluster=hpc account=physics partition= set maxjobs=-1 grptres=cpu=4,mem=-1",
    ]);
    site.slurm.associations.delete("physics/user1");
    const user = site.slurm.users.get("user1");
    if (user) user.adminLevel = "administrator";
    site.settle(...people, use("physics", 1));
    expect(site.said()).toEqual([
      "sacctmgr -i add user name=user1 cluster=hpc account=physics",
      "sacctmgr -i modify user where name=user1 set adminlevel=none",
    ]);
  });

  test("who leaves starts nothing more, loses jobs in that account alone, and then the association", () => {
    const site = new Site();
    const stays = [account("physics"), account("optics"), aUser(1), use("optics", 1, { isDefault: true })];
    site.settle(...stays, use("physics", 1));
    site.said();
    site.slurm.jobs = [
      aJob("1", { user: 1, account: "physics" }),
      aJob("2", { user: 1, account: "optics" }),
      aJob("3", { user: 2, account: "physics" }),
    ];
    expect(site.plan(stays).waiting).toEqual([{ what: "cancels 1 job of user1 in physics", for: "jobs" }]);
    site.settle(...stays);
    expect(site.said()).toEqual([
      "sacctmgr -i modify user where name=user1 cluster=hpc account=physics partition= set maxjobs=0 maxsubmitjobs=0",
      "scancel 1",
      "sacctmgr -i delete user where name=user1 cluster=hpc account=physics partition=",
    ]);
    expect(site.slurm.jobs.map(({ id }) => id)).toEqual(["2", "3"]);
  });

  test("jobs that may finish are waited for", () => {
    const site = new Site();
    const physics = account("physics");
    site.settle(physics, aUser(1), use("physics", 1, { jobs: "finish" }));
    site.said();
    site.slurm.jobs = [aJob("1", { user: 1, account: "physics" })];
    expect(site.settle(physics).waiting).toEqual([
      { what: "waits for 1 job of user1 in physics to finish", for: "finish", uid: 200_001 },
    ]);
    expect(site.said().join("\n")).not.toMatch(/scancel|delete/);
    site.slurm.jobs = [];
    site.settle(physics);
    expect(site.slurm.associations.size).toBe(0);
  });

  test("of jobs that may finish, those that have not started are cancelled: they never would", () => {
    const site = new Site();
    const physics = account("physics");
    site.settle(physics, aUser(1), use("physics", 1, { jobs: "finish" }));
    site.said();
    const theirs = { user: 1, account: "physics" };
    site.slurm.jobs = [
      aJob("1", theirs),
      aJob("2", { ...theirs, isQueued: true }),
      // Tasks of a job array, of which one runs: the others are listed under one number, which may be its own.
      aJob("1", { ...theirs, isQueued: true }),
      aJob("3", { ...theirs, isQueued: true, user: 2 }),
    ];
    expect(site.plan([physics]).waiting).toEqual([
      { what: "cancels 2 jobs of user1 in physics", for: "jobs" },
      { what: "waits for 1 job of user1 in physics to finish", for: "finish", uid: 200_001 },
    ]);
    site.settle(physics);
    expect(site.said().filter((call) => call.startsWith("scancel"))).toEqual(["scancel --state=PENDING 2 1"]);
    expect(site.slurm.jobs.map(({ id }) => id)).toEqual(["1", "3"]);
  });

  describe("somebody who goes on under another name", () => {
    const physics = account("physics");
    const [before, after] = [aUser(1), aUser(1, { name: "ada1" })];
    const goesOn = [physics, after, use("physics", 1, { limits: { maxjobs: "4" } })];
    const jobs = [
      aJob("1", { user: 1, account: "physics" }),
      aJob("2", { user: 1, account: "physics", isQueued: true }),
    ];

    test("is renamed with all that they have: jobs go on, also those that wait; what they leave meanwhile they leave", () => {
      const site = new Site();
      site.settle(physics, account("optics"), before, use("physics", 1, { isDefault: true }), use("optics", 1));
      site.said();
      site.slurm.jobs = jobs;
      site.settle(...goesOn, account("optics"));
      expect(site.said()).toEqual([
        "sacctmgr -i modify user where name=user1 set newname=ada1",
        "sacctmgr -i modify user where name=ada1 cluster=hpc account=optics partition= set maxjobs=0 maxsubmitjobs=0",
        "sacctmgr -i modify user where name=ada1 cluster=hpc account=physics partition= set maxjobs=4",
        "sacctmgr -i delete user where name=ada1 cluster=hpc account=optics partition=",
      ]);
      expect([site.slurm.jobs, [...site.slurm.users.keys()]]).toEqual([jobs, ["ada1"]]);
      expect(site.settle(physics)).toMatchObject({ owned: nobody });
      expect(site.slurm.users.size + site.slurm.jobs.length, "and leaves under the new name").toBe(0);
    });

    test("is renamed once, whether or not the call arrived", () => {
      for (const arrives of [true, false]) {
        const site = new Site();
        site.settle(physics, before, use("physics", 1));
        const { calls, owned } = site.plan(goesOn);
        site.owned = owned;
        if (arrives) for (const call of calls) site.slurm.run(call);
        site.said();
        site.settle(...goesOn);
        expect(site.said().length, String(arrives)).toBe(arrives ? 0 : 2);
        site.settle(physics);
        expect(site.slurm.users.size, "it was Rollcall's all the time").toBe(0);
      }
    });

    test("is renamed once the node knows the new name", () => {
      const site = new Site();
      site.settle(physics, before, use("physics", 1));
      site.unknown.add("ada1");
      site.said();
      site.slurm.jobs = jobs;
      expect(site.settle(...goesOn).waiting).toHaveLength(2);
      site.unknown.clear();
      site.settle(...goesOn);
      expect(site.said()).toEqual([
        "sacctmgr -i modify user where name=user1 set newname=ada1",
        "sacctmgr -i modify user where name=ada1 cluster=hpc account=physics partition= set maxjobs=4",
      ]);
    });

    test("and whose old name is somebody else's from then on", () => {
      const site = new Site();
      site.settle(physics, before, use("physics", 1));
      site.slurm.jobs = jobs;
      site.settle(...goesOn, aUser(2, { name: "user1" }), use("physics", 2));
      expect([...site.slurm.associations.keys()].toSorted()).toEqual(["physics/ada1", "physics/user1"]);
      expect(site.owned.associations.get("physics/ada1")).toMatchObject({ uid: 200_001 });
    });

    test("and whom somebody removed meanwhile is made anew", () => {
      const site = new Site();
      site.settle(physics, before, use("physics", 1));
      for (const made of [site.slurm.users, site.slurm.associations]) made.clear();
      site.said();
      site.settle(...goesOn);
      expect(site.said()).toEqual(["sacctmgr -i add user name=ada1 cluster=hpc account=physics maxjobs=4"]);
    });

    test("twice, the first time with jobs left under the old name", () => {
      const site = new Site();
      site.settle(physics, before, use("physics", 1));
      site.elsewhere.add("user1");
      site.slurm.jobs = jobs;
      site.settle(...goesOn);
      site.elsewhere.clear();
      site.said();
      site.settle(physics, aUser(1, { name: "countess1" }), use("physics", 1, { limits: { maxjobs: "4" } }));
      expect(site.said().filter((call) => call.includes("newname"))).toHaveLength(1);
      site.slurm.jobs = [];
      site.settle(physics, aUser(1, { name: "countess1" }), use("physics", 1));
      expect([...site.slurm.associations.keys()]).toEqual(["physics/countess1"]);
    });

    const physicsOf = (user: string) => ({ account: "physics", user, limits: {} });
    test.each<[string, (site: Site) => void]>([
      ["another cluster", ({ elsewhere }) => elsewhere.add("user1")],
      ["a user of the new name", ({ slurm }) => slurm.users.set("ada1", { defaultAccount: "", adminLevel: "none" })],
      [
        "somebody's association",
        ({ slurm }) => slurm.associations.set("root/user1", { ...physicsOf("user1"), account: "root" }),
      ],
      ["an association for a partition", ({ slurm }) => slurm.partitioned.set("physics/user1", physicsOf("user1"))],
      ["whoever made the user", (site) => (site.owned = { ...site.owned, users: new Set() })],
    ])(
      "whom %s stands in the way of has both names until the jobs are over: all of them, none is cancelled",
      (_, stand) => {
        const site = new Site();
        site.settle(physics, before, use("physics", 1));
        stand(site);
        site.said();
        site.slurm.jobs = jobs;
        expect(site.settle(...goesOn).waiting).toEqual([
          { what: "waits for 2 jobs of user1 in physics to finish", for: "finish", uid: 200_001 },
        ]);
        expect(site.said()).toEqual(["sacctmgr -i add user name=ada1 cluster=hpc account=physics maxjobs=4"]);
        site.slurm.jobs = [];
        site.settle(...goesOn);
        const left = [...site.slurm.associations.keys()].filter((key) => key.startsWith("physics/"));
        expect(left).toEqual(["physics/ada1"]);
      },
    );
  });

  test("nothing is removed while nobody says whether jobs run", () => {
    const site = new Site();
    site.settle(account("physics"), aUser(1), use("physics", 1));
    const state = { ...site.slurm.state(), jobs: undefined };
    const { calls, waiting } = planWork({
      state,
      owned: site.owned,
      wanted: wantedOf([]),
      isKnown: () => true,
      adopts: false,
    });
    expect(calls.flatMap(argumentsOf)).not.toContain("delete");
    expect(waiting).toHaveLength(1);
  });

  test("an association waits for its user to be known on the node", () => {
    const site = new Site();
    site.unknown.add("user1");
    const wanted = [account("physics"), aUser(1), use("physics", 1)];
    expect(site.settle(...wanted).waiting).toEqual([
      { what: "user1 is not known on this node (getent passwd)", for: "time" },
    ]);
    expect(site.slurm.associations.size).toBe(0);
    site.unknown.clear();
    site.settle(...wanted);
    expect(site.slurm.associations.size).toBe(1);
  });

  test("somebody on the way out has no association", () => {
    const site = new Site();
    site.settle(account("physics"), aUser(1), use("physics", 1));
    site.settle(account("physics"), { ...aUser(1), locked: true }, use("physics", 1));
    expect(site.slurm.associations.size).toBe(0);
  });

  test("accounts move in an order in which none is below itself, and go from the leaves on", () => {
    const site = new Site();
    site.settle(account("a"), account("b", { parent: "a" }), account("c", { parent: "b" }));
    site.settle(account("c"), account("b", { parent: "c" }), account("a", { parent: "b" }));
    expect([...site.slurm.places].map(([name, { parent }]) => `${name} below ${parent}`).toSorted()).toEqual([
      "a below b",
      "b below c",
      "c below root",
    ]);
    site.said();
    site.settle();
    expect(site.said()).toEqual([
      ...["a", "b", "c"].map((name) => `sacctmgr -i delete account where name=${name} cluster=hpc`),
      "sacctmgr -i delete account where name=a,b,c",
    ]);
    expect(site.slurm.accounts.size).toBe(0);
  });

  test("a dry run shows what a change would do to a Slurm that has what it should", () => {
    const before = [account("physics"), aUser(1), use("physics", 1), use("physics", 2), aUser(2)];
    const [state, owned] = settled("hpc", wantedOf(before));
    const wanted = wantedOf([...before.slice(0, 3), account("optics"), use("optics", 1)]);
    const { calls } = planWork({ state, owned, wanted, isKnown: () => true, adopts: false });
    expect(calls.map(({ what }) => what)).toEqual([
      "let nobody who leaves physics start jobs",
      "add 1 account below root",
      "add 1 user to optics",
      "remove 1 user from physics",
    ]);
    expect(planWork({ state, owned, wanted: wantedOf(before), isKnown: () => true, adopts: false }).calls).toEqual([]);
  });
});

describe("what others made", () => {
  const wanted = [
    account("physics", { description: "ours" }),
    account("optics"),
    aUser(1),
    use("physics", 1, { isDefault: true, limits: { maxjobs: "3" }, adminLevel: "operator" }),
    use("optics", 1),
  ];
  const made = () => {
    const site = new Site();
    site.slurm.accounts.set("physics", { description: "theirs", organization: "uni" });
    site.slurm.places.set("physics", { parent: "root", limits: { fairshare: "5" } });
    site.slurm.users.set("user1", { defaultAccount: "physics", adminLevel: "none" });
    site.slurm.associations.set("physics/user1", { account: "physics", user: "user1", limits: {} });
    return site;
  };

  test("is left as it is, and named", () => {
    const site = made();
    const before = site.slurm.state();
    const { foreign } = site.settle(...wanted);
    expect(foreign).toEqual(["account physics", "association physics/user1", "admin level of user user1"]);
    expect(site.said()).toEqual([
      "sacctmgr -i add account name=optics cluster=hpc organization=rollcall parent=root",
      "sacctmgr -i add user name=user1 cluster=hpc account=optics",
    ]);
    site.settle();
    const after = site.slurm.state();
    expect([...after.accounts]).toEqual([...before.accounts]);
    expect([...after.places]).toEqual([...before.places]);
    expect([...after.users]).toEqual([...before.users]);
    expect([...after.associations]).toEqual([...before.associations]);
  });

  test("is taken over where the node's own policy says so, and is Rollcall's from then on", () => {
    const site = made();
    site.adopts = true;
    expect(site.settle(...wanted).foreign).toEqual([]);
    expect(site.slurm.accounts.get("physics")).toEqual({ description: "ours", organization: "rollcall" });
    expect(site.slurm.associations.get("physics/user1")?.limits).toEqual({ maxjobs: "3" });
    site.adopts = false;
    site.settle();
    expect(site.slurm.accounts.size + site.slurm.associations.size).toBe(0);
  });

  test("keeps an account that is not wanted any more", () => {
    const site = new Site();
    site.settle(account("physics"));
    site.slurm.users.set("guest", { defaultAccount: "physics", adminLevel: "none" });
    site.slurm.associations.set("physics/guest", { account: "physics", user: "guest", limits: {} });
    site.said();
    expect(site.settle().foreign).toEqual(["what stands below the account physics, which is not wanted any more"]);
    expect(site.said()).toEqual([]);
  });

  test("for one partition stays as it is, beside what Rollcall keeps for all of them, and keeps its account", () => {
    const site = new Site();
    const physics = account("physics");
    site.settle(physics, aUser(1), use("physics", 1));
    const theirs = { account: "physics", user: "user1", limits: { maxjobs: "3" } };
    site.slurm.partitioned.set("physics/user1", theirs);
    site.settle(physics, aUser(1), use("physics", 1, { limits: { maxjobs: "7" } }));
    expect(site.slurm.associations.get("physics/user1")?.limits).toEqual({ maxjobs: "7" });
    expect(site.settle().foreign).toEqual(["what stands below the account physics, which is not wanted any more"]);
    expect([...site.slurm.associations.keys()]).toEqual([]);
    expect([...site.slurm.partitioned.values()]).toEqual([{ ...theirs, limits: { maxjobs: "3" } }]);
    expect(site.slurm.users.has("user1")).toBe(true);
  });

  test("of a user whom Rollcall made is theirs alone once Rollcall has nothing of the user any more", () => {
    const site = new Site();
    site.settle(account("physics"), aUser(1), use("physics", 1, { adminLevel: "operator" }));
    site.slurm.accounts.set("legacy", { description: "theirs", organization: "uni" });
    site.slurm.places.set("legacy", { parent: "root", limits: {} });
    site.slurm.associations.set("legacy/user1", { account: "legacy", user: "user1", limits: {} });
    site.settle();
    expect(site.slurm.users.get("user1")?.adminLevel, "what Rollcall gave goes").toBe("none");
    expect(site.owned.users.size).toBe(0);
    const user = site.slurm.users.get("user1");
    if (user) user.adminLevel = "administrator";
    site.settle();
    expect(site.slurm.users.get("user1")?.adminLevel).toBe("administrator");
  });

  test("with Rollcall's Organization, and a name that Rollcall never gives, is in nobody's way", () => {
    const site = new Site();
    for (const name of ["bad name!", "Physics,root"]) {
      site.slurm.accounts.set(name, { description: "", organization: "rollcall" });
      site.slurm.places.set(name, { parent: "root", limits: {} });
    }
    site.settle(account("optics"));
    site.settle();
    expect([...site.slurm.accounts.keys()]).toEqual(["bad name!", "Physics,root"]);
  });
});

describe("one accounting of several clusters", () => {
  const wanted = wantedOf([account("physics"), aUser(1), use("physics", 1, { isDefault: true })]);
  const elsewhere = { accounts: new Set(["physics"]), users: new Set(["user1"]) };
  const plan = (state: ReturnType<SimulatedSlurm["state"]>, owned = nobody) =>
    planWork({ state: { ...state, elsewhere }, owned, wanted, isKnown: () => true, adopts: false });

  test("an account that others made in another cluster is not made in this one, and holds up nobody", () => {
    const { slurm } = new Site();
    slurm.accounts.set("physics", { description: "", organization: "uni" });
    slurm.users.set("user1", { defaultAccount: "", adminLevel: "none" });
    expect(plan(slurm.state())).toMatchObject({ calls: [], waiting: [], foreign: ["account physics"] });
  });

  test("whom others made elsewhere has the default account here that the rules say", () => {
    const { slurm } = new Site();
    slurm.accounts.set("physics", { description: "physics", organization: "rollcall" });
    for (const name of ["physics", "optics"]) slurm.places.set(name, { parent: "root", limits: {} });
    slurm.accounts.set("optics", { description: "optics", organization: "uni" });
    slurm.users.set("user1", { defaultAccount: "optics", adminLevel: "none" });
    const mine = { account: "physics", user: "user1", limits: {} };
    slurm.associations.set("physics/user1", mine);
    const { associations } = wanted;
    const owned = { users: new Set<string>(), associations };
    expect(plan(slurm.state(), owned).calls.flatMap(argumentsOf).join(" ")).toBe(
      "-i modify user where name=user1 cluster=hpc set defaultaccount=physics",
    );
    slurm.associations.set("optics/user1", { ...mine, account: "optics" });
    expect(plan(slurm.state(), owned)).toMatchObject({ calls: [], foreign: ["default account of user user1"] });
  });

  test("whom another cluster uses is not taken over, whatever the node's policy says: the admin level holds there too", () => {
    const site = new Site();
    site.settle(account("physics"), aUser(1), use("physics", 1, { isDefault: true }));
    const user = site.slurm.users.get("user1");
    if (user) user.adminLevel = "operator";
    const found = { owned: nobody, wanted, isKnown: () => true, adopts: true };
    const shared = planWork({ ...found, state: { ...site.slurm.state(), elsewhere } });
    expect(shared).toMatchObject({ calls: [], foreign: ["admin level of user user1"] });
    const alone = planWork({ ...found, state: site.slurm.state() });
    expect(alone.calls.map(({ what }) => what)).toEqual(["give 1 user the admin level none"]);
  });

  test("what another cluster uses goes here alone; what none uses any more goes as such, a round later", () => {
    const site = new Site();
    site.settle(account("physics"), account("optics"));
    const none = { state: { ...site.slurm.state(), elsewhere }, owned: nobody, wanted: wantedOf([]), adopts: false };
    const { calls } = planWork({ ...none, isKnown: () => true });
    expect(calls.map((call) => argumentsOf(call).join(" "))).toEqual([
      "-i delete account where name=physics,optics cluster=hpc",
    ]);
    for (const call of calls) site.slurm.run(call);
    const after = planWork({ ...none, state: { ...site.slurm.state(), elsewhere }, isKnown: () => true });
    expect(after.calls.map((call) => argumentsOf(call).join(" "))).toEqual(["-i delete account where name=optics"]);
  });
});

const anyWanted = fc
  .record({
    parents: fc.tuple(...[0, 1, 2, 3].map(() => fc.option(fc.nat(3), { nil: undefined }))),
    named: fc.uniqueArray(fc.nat(3)),
    renamed: fc.uniqueArray(fc.nat(3)),
    uses: fc.uniqueArray(
      fc.record({
        account: fc.nat(3),
        user: fc.nat(3),
        jobs: fc.constantFrom("cancel" as const, "finish" as const),
        max: fc.nat(2),
      }),
      { selector: ({ account: a, user }) => `${a}/${user}` },
    ),
  })
  .map(({ parents, named, renamed, uses }): Resource[] => [
    ...[0, 1, 2, 3].map((n) => aUser(n, renamed.includes(n) ? { name: `other${n}` } : {})),
    ...named.map((n) => {
      const above = parents[n];
      return account(`a${n}`, above === undefined ? {} : { parent: `a${above}` });
    }),
    ...uses.map(({ account: a, user, jobs, max }) =>
      use(`a${a}`, user, { jobs, limits: max ? { maxjobs: `${max}` } : {} }),
    ),
  ]);

test("L3: whatever is wanted, one after the other, Slurm ends as the last of it; what others made is as it was", () => {
  fc.assert(
    fc.property(fc.array(anyWanted, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(3)), (history, jobs) => {
      const site = new Site();
      site.slurm.accounts.set("a0", { description: "theirs", organization: "uni" });
      site.slurm.places.set("a0", { parent: "root", limits: {} });
      site.slurm.users.set("user0", { defaultAccount: "a0", adminLevel: "none" });
      site.slurm.associations.set("a0/user0", { account: "a0", user: "user0", limits: { maxjobs: "9" } });
      for (const [n, resources] of history.entries()) {
        site.settle(...resources);
        site.slurm.jobs = jobs.map((user, job) =>
          aJob(`${n}${job}`, { user, account: `a${job % 4}`, isQueued: job % 3 === 0 }),
        );
      }
      site.slurm.jobs = [];
      const last = history.at(-1) ?? [];
      site.settle(...last);
      const { accounts, associations } = wantedOf(last);
      expect(new Set(site.slurm.associations.keys())).toEqual(new Set(["a0/user0", ...associations.keys()]));
      expect(site.slurm.associations.get("a0/user0")?.limits).toEqual({ maxjobs: "9" });
      expect(new Set(site.slurm.places.keys())).toEqual(new Set(["a0", ...accounts.keys()]));
      expect(site.slurm.places.get("a0")).toEqual({ parent: "root", limits: {} });
      for (const [name, { parent = "root" }] of accounts)
        if (name !== "a0") expect(site.slurm.places.get(name)?.parent).toBe(parent);
    }),
    { numRuns: 300 },
  );
});

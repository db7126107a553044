/**
 * Slurm with real parts: what the identity provider says is an association by which a job runs, on a compute host that knows its user only
 * from files that its own agent wrote; what it takes back stops the jobs first. And whatever happens to agent, daemons and replies on the
 * way, Slurm ends as the control plane says, and what others made is as it was.
 */

import { expect, test } from "vitest";
import { JobsOnLeave } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { hostileInputs } from "../hostile.ts";
import { openLab } from "../lab/host.ts";
import { Slurm, slurmPackages } from "../lab/slurm.ts";
import { describeHosts } from "../lab/suite.ts";
import { recordCalls, removeRule, start, tools, until } from "./slurm-cluster.ts";
import { HostedNode, HostedPlane } from "./system.ts";

/** How often a controller looks for what others changed. */
const policy = "slurm: {every: 5}\n";

describeHosts("a Slurm cluster", () => {
  test("has who may use it, runs their jobs, and ends as the control plane says, whatever happens on the way", async () => {
    await using lab = await openLab({ name: "slurm", packages: slurmPackages });
    const [controller, compute] = await Promise.all([lab.host("slurm-1"), lab.host("compute-1")]);
    await controller.write("/etc/rollcall/policy.yaml", policy);
    const calls = await recordCalls(controller);
    const [plane, slurm] = await Promise.all([HostedPlane.start(lab), Slurm.start(controller, [compute])]);
    await using _ = plane;
    await slurm.sacctmgr("-i", "add", "account", "legacy", "organization=uni", "description=by hand", "fairshare=3");
    await slurm.sacctmgr("-i", "add", "user", "guest", "account=legacy", "maxjobs=2");
    await slurm.sacctmgr("-i", "add", "user", "cleo", "account=legacy");
    const byHand = () =>
      slurm.show("association", "account,user,fairshare,maxjobs,parentname", "accounts=legacy", "WOPLimits");
    const before = await byHand();

    await using agent = await HostedNode.join(plane, controller, "controller");
    await using _compute = await HostedNode.join(plane, compute, "compute");
    const { rule, person, group, has, settled } = tools(plane, slurm, ["legacy|cleo", "legacy|guest"]);

    // Comes: the first srun works, on a host that knows her from files only.
    await rule("physics", { isDefault: true, limits: { maxjobs: "9" }, description: "Physics (all)" });
    await rule("optics", { parent: "physics", limits: { grptres: "cpu=8,mem=1537" } });
    await rule("thesis", { jobs: JobsOnLeave.FINISH });
    const ada = await person("ada");
    const [everybody, physics] = [await group("slurm-users", ada), await group("physics", ada)];
    await has(["physics|ada"]);
    expect(await slurm.show("account", "account,description,organization")).toEqual([
      "legacy|by hand|uni",
      "optics|optics|rollcall",
      "physics|physics (all)|rollcall",
      "root|default root account|root",
      "thesis|thesis|rollcall",
    ]);
    const uidOf = async (name: string) => (await controller.run("id", ["-u", name])).stdout.trim();
    const uid = await uidOf("ada");
    expect((await compute.run("getent", ["-s", "files", "passwd", "ada"])).code, "known from nss cache only").toBe(2);
    const first = await slurm.as(controller, "ada", "srun", "-A", "physics", "sh", "-c", "id -u; hostname");
    expect(first, first.stderr).toMatchObject({ code: 0, stdout: `${uid}\ncompute-1\n` });
    const { pathname: program } = new URL("../../bin/rollcall-agent", import.meta.url);
    const status = async () => (await controller.run(program, ["status"])).stdout;
    await until(async () => /^sink +slurm is true up to r[1-9]/m.test(await status()), true);

    // Moves: jobs of the account that is left go, those of the other stay.
    const optics = await group("optics", ada);
    await has(["optics|ada", "physics|ada"]);
    for (const account of ["optics", "physics"]) await start(slurm, "ada", account, "sleep 300");
    await until(() => slurm.jobs(), [`${uid}|optics|RUNNING`, `${uid}|physics|RUNNING`]);
    await plane.patch("Groups", physics, { op: "remove", path: `members[value eq "${ada}"]` });
    await has(["optics|ada"]);
    expect(await slurm.jobs()).toEqual([`${uid}|optics|RUNNING`]);
    expect(await slurm.show("user", "user,defaultaccount", "names=ada")).toEqual(["ada|optics"]);

    // Leaves: nothing starts any more, then the job, then the association; the node stays in service.
    await calls.forget();
    await plane.patch("Users", ada, { op: "Replace", path: "active", value: "False" });
    await has([]);
    await until(async () => (await controller.run("getent", ["passwd", "ada"])).code, 2);
    expect(await slurm.jobs()).toEqual([]);
    expect((await calls.changes()).map((call) => call.replace(/^scancel \d+$/, "scancel N"))).toEqual([
      "sacctmgr -i modify user where name=ada cluster=lab account=optics partition= set maxjobs=0 maxsubmitjobs=0",
      "scancel N",
      "sacctmgr -i delete user where name=ada cluster=lab account=optics partition=",
    ]);
    expect(await calls.known(), "identity goes last").toMatch(/^ada:/);
    expect(await slurm.show("user", "user")).toEqual(["cleo", "guest", "root"]);
    await until(async () => (await compute.run("getent", ["passwd", "ada"])).code, 2);
    await slurm.idle();

    // Leaves an account whose jobs may finish: nothing new starts, what waits to start is gone, and what runs ends by itself.
    const bob = await person("bob");
    await plane.addMember(everybody, bob);
    const thesis = await group("thesis", bob);
    await has(["thesis|bob"]);
    const bobsUid = await uidOf("bob");
    await start(slurm, "bob", "thesis", "until [ -e /tmp/go ]; do sleep 0.1; done; touch /tmp/finished");
    await until(() => slurm.jobs(), [`${bobsUid}|thesis|RUNNING`]);
    await start(slurm, "bob", "thesis", "true", ["--begin=now+1hour"]);
    // All tasks of an array but the first, which runs, are one line of squeue.
    await start(slurm, "bob", "thesis", "until [ -e /tmp/go ]; do sleep 0.1; done", ["--array=1-3%1"]);
    await until(async () => (await slurm.jobs()).filter((job) => job.endsWith("|RUNNING")).length, 2);
    await plane.patch("Groups", thesis, { op: "remove", path: `members[value eq "${bob}"]` });
    await until(async () => (await slurm.show("association", "maxsubmit", "users=bob")).join(), "0");
    await expect(start(slurm, "bob", "thesis", "true")).rejects.toThrow("AssocMaxSubmitJobLimit");
    await until(() => slurm.jobs(), [`${bobsUid}|thesis|RUNNING`, `${bobsUid}|thesis|RUNNING`]);
    expect(await slurm.associations()).toContain("thesis|bob");
    await compute.write("/tmp/go", "");
    await has([]);
    expect((await compute.run("ls", ["/tmp/finished"])).code).toBe(0);

    // Somebody changes what is Rollcall's: it is put back. Somebody's own is not touched, also of one whom a rule names.
    await plane.addMember(physics, bob);
    const cleo = await person("cleo");
    await plane.addMember(everybody, cleo);
    await plane.addMember(physics, cleo);
    await has(["physics|bob", "physics|cleo"]);
    await settled();
    await slurm.sacctmgr("-i", "modify", "user", "bob", "account=physics", "set", "maxjobs=77", "grptres=cpu=1");
    await slurm.sacctmgr("-i", "modify", "user", "bob", "set", "adminlevel=operator");
    await slurm.sacctmgr("-i", "modify", "account", "optics", "set", "parent=legacy");
    await slurm.sacctmgr("-i", "delete", "user", "cleo", "account=physics");
    await until(
      () => slurm.show("association", "account,user,maxjobs,grptres,parentname", "users=bob", "WOPLimits"),
      ["physics|bob|9||"],
    );
    await until(() => slurm.show("user", "user,adminlevel", "names=bob"), ["bob|None"]);
    await until(async () => (await slurm.show("association", "parentname", "accounts=optics")).join(), "physics");
    await agent.process.says(/somebody changed what Rollcall keeps in Slurm/);
    await has(["physics|bob", "physics|cleo"]);
    expect(await slurm.show("user", "user,defaultaccount", "names=cleo")).toEqual(["cleo|legacy"]);
    expect(await byHand()).toEqual(before);

    // Dies in the middle of a batch, after a call and before one; loses a reply. It starts again, and all is as it should be, once, and
    // its own: what it made before it died it takes away again.
    const many = await Promise.all(Array.from({ length: 12 }, (_, n) => person(`user${n}`)));
    const members = many.map((value) => ({ value }));
    const two = ["physics|bob", "physics|cleo"];
    await plane.patch("Groups", everybody, { op: "add", path: "members", value: members });
    await calls.goWrong("kill-after");
    await plane.patch("Groups", physics, { op: "add", path: "members", value: members });
    await agent.process.ended();
    await agent.start();
    await has([...two, ...many.map((_, n) => `physics|user${n}`)]);
    await calls.goWrong("kill-before");
    for (const id of many) {
      await plane.patch("Groups", physics, { op: "remove", path: `members[value eq "${id}"]` });
    }
    await agent.process.ended();
    await agent.start();
    await has(two);
    await calls.goWrong("lose");
    await plane.addMember(optics, bob);
    await has(["optics|bob", "physics|bob", "physics|cleo"]);

    // Is called otherwise, and the agent dies over it: what runs goes on, and what waits starts.
    const eve = await person("eve");
    for (const id of [everybody, physics]) await plane.addMember(id, eve);
    const three = ["optics|bob", "physics|bob", "physics|cleo"];
    await has([...three, "physics|eve"]);
    const evesUid = await uidOf("eve");
    await start(slurm, "eve", "physics", "until [ -e /tmp/go-on ]; do sleep 0.1; done; touch /tmp/ran");
    await start(slurm, "eve", "physics", "id -u >/tmp/started", ["--dependency=singleton", "--job-name=wrap"]);
    await until(() => slurm.jobs(), [`${evesUid}|physics|PENDING`, `${evesUid}|physics|RUNNING`]);
    await calls.goWrong("kill-after");
    await plane.client(DirectoryService).renameUser({ user: "eve", posixName: "evelyn" });
    await agent.process.ended();
    await agent.start();
    await has([...three, "physics|evelyn"]);
    expect(await slurm.jobs()).toEqual([`${evesUid}|physics|PENDING`, `${evesUid}|physics|RUNNING`]);
    await compute.write("/tmp/go-on", "");
    await until(() => slurm.jobs(), []);
    expect((await compute.run("cat", ["/tmp/ran", "/tmp/started"])).stdout).toBe(`${evesUid}\n`);
    await plane.patch("Users", eve, { op: "replace", path: "active", value: false });
    await has(three);

    // Daemons go and come: only Slurm waits.
    await slurm.down("slurmdbd");
    const dan = await person("dan");
    await plane.addMember(everybody, dan);
    await plane.addMember(physics, dan);
    await plane.rolledOut();
    expect((await controller.run("getent", ["passwd", "dan"])).code, "nss does not wait").toBe(0);
    await agent.process.says(/"reason":"sacctmgr: [^"]*Connection refused[^"]*","msg":"Slurm"/);
    await slurm.up("slurmdbd");
    await has(["optics|bob", "physics|bob", "physics|cleo", "physics|dan"]);
    await slurm.down("mariadbd");
    await plane.patch("Groups", physics, { op: "remove", path: `members[value eq "${dan}"]` });
    await agent.process.says(/Unable to connect to database/);
    await slurm.up("mariadbd");
    await has(["optics|bob", "physics|bob", "physics|cleo"]);

    // Names that mean more than themselves never reach a program.
    for (const [, value] of hostileInputs("slurm.name", "reject")) {
      const name = String(value);
      await rule("physics", { account: name }).catch(() => undefined);
      const { status, body } = await plane.scim("POST", "/Users", { userName: name, displayName: "x" });
      if (status === 201) for (const id of [everybody, physics]) await plane.addMember(id, String(body["id"]));
    }
    await plane.rolledOut();
    await plane.patch("Groups", physics, { op: "remove", path: `members[value eq "${bob}"]` });
    await until(async () => (await slurm.associations()).includes("physics|bob"), false);
    const words = (await calls.all()).flatMap((call) => call.split("\t"));
    expect(words.length).toBeGreaterThan(100);
    expect(words.filter((word) => !/^[A-Za-z0-9%|,.=_:()/ -]*$/.test(word))).toEqual([]);
    expect(words.filter((word) => /name=(|.*,)(root|.*[^a-z0-9_,-].*|)(,|$)/.test(word))).toEqual([]);

    // Everybody goes, and what others made is as it was.
    for (const account of ["physics", "optics", "thesis"]) await removeRule(plane, account);
    await until(() => slurm.show("account", "account"), ["legacy", "root"]);
    expect(await slurm.associations()).toEqual(["legacy|cleo", "legacy|guest"]);
    expect(await byHand()).toEqual(before);
    await slurm.idle();
  }, 400_000);
});

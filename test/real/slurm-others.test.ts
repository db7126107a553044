/**
 * Slurm with real parts where Rollcall is not alone: accounting that another cluster shares, accounts and associations that others made and
 * that are taken over by `rollcall import` and the node's word, and daemons that are away while somebody leaves.
 */

import { fromJsonString } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService, SlurmUse_State } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { ImportEstateResponseSchema } from "../../proto/gen/rollcall/v1/estate_pb.ts";
import { printMillis } from "../../proto/wire.ts";
import { openLab } from "../lab/host.ts";
import { Slurm, slurmPackages } from "../lab/slurm.ts";
import { describeHosts } from "../lab/suite.ts";
import { recordCalls, removeRule, start, tools, until } from "./slurm-cluster.ts";
import { HostedNode, HostedPlane } from "./system.ts";

const policy = (more = "") => `slurm: {every: 5${more}}\n`;

describeHosts("a Slurm that is not Rollcall's alone", () => {
  test("keeps what others made, gives over what it is told to, and loses leavers' jobs while accounting is away", async () => {
    await using lab = await openLab({ name: "slurm-others", packages: slurmPackages });
    const [controller, compute] = await Promise.all([lab.host("slurm-1"), lab.host("compute-1")]);
    await controller.write("/etc/rollcall/policy.yaml", policy());
    const calls = await recordCalls(controller);
    const [plane, slurm] = await Promise.all([HostedPlane.start(lab), Slurm.start(controller, [compute])]);
    await using _ = plane;
    const byHand = (...words: readonly string[]) => slurm.sacctmgr("-i", ...words);

    // Another cluster shares the accounting: it has people and an account of its own, and one whose name a rule here gives as well.
    await byHand("add", "cluster", "other");
    await byHand("add", "account", "shared,elsewhere", "cluster=other", "organization=uni", "fairshare=5");
    await byHand("add", "user", "ada", "cluster=other", "account=shared", "maxjobs=5", "adminlevel=operator");
    await byHand("add", "account", "chem", "cluster=lab", "organization=chemistry", "fairshare=3");
    await byHand("add", "user", "dora,emil", "cluster=lab", "account=chem", "maxjobs=4");
    await byHand("add", "qos", "long");
    const everything = "cluster,account,user,partition,parentname,fairshare,maxjobs,maxsubmit,grptres,qos";
    const elsewhere = async () => [
      ...(await slurm.show("association", everything, "cluster=other", "WOPLimits")),
      ...(await slurm.show("user", "user,adminlevel", "names=ada,root")),
      ...(await slurm.show("account", "account,organization,description", "names=shared,elsewhere")),
    ];
    const before = await elsewhere();
    const theirs = await slurm.show("association", everything, "cluster=lab", "accounts=chem", "WOPLimits");

    await using agent = await HostedNode.join(plane, controller, "controller");
    await using _compute = await HostedNode.join(plane, compute, "compute");
    const { rule, person, group, has, settled } = tools(plane, slurm, ["shared|ada"]);

    // What a rule would do is what it does. Ada is new here and known there: her default here is by rule, her admin level is theirs.
    const ada = await person("ada");
    const everybody = await group("slurm-users", ada);
    const physics = await group("physics", ada);
    await has(["chem|dora", "chem|emil"]);
    const account = { account: "physics", limits: { qos: "long", maxjobs: "9" }, accountLimits: { fairshare: "7" } };
    const grant = { case: "account", value: { ...account, isDefault: true } } as const;
    const asked = { rule: { group: "physics", grant }, dryRun: true };
    const { effects } = await plane.client(ClusterService).putRule(asked);
    await calls.forget();
    await rule("physics", grant.value);
    await has(["chem|dora", "chem|emil", "physics|ada"]);
    expect(effects.flatMap((effect) => effect.slurm.map(({ command }) => command))).toEqual(
      (await calls.changes()).map((call) => call.replace(" cluster=lab", "")),
    );
    expect(await slurm.show("association", "account,user,maxjobs,qos", "accounts=physics", "WOPLimits")).toEqual([
      "physics|ada|9|long",
      "physics|||",
    ]);
    expect(
      await slurm.show("association", "account,fairshare", "accounts=physics", "cluster=lab", "WOPLimits"),
    ).toContain("physics|7");
    await rule("slurm-users", { account: "optics", isDefault: true });
    await has(["chem|dora", "chem|emil", "optics|ada", "physics|ada"]);
    // By a call of its own, after the one that adds her there.
    await until(() => slurm.show("user", "user,defaultaccount,adminlevel", "names=ada"), ["ada|optics|Operator"]);
    // The other cluster starts to use the same name, and somebody has her in one partition here as well.
    await byHand("add", "account", "physics", "cluster=other", "fairshare=2");
    await byHand("add", "user", "ada", "cluster=other", "account=physics", "maxjobs=1");
    await byHand("add", "user", "ada", "cluster=lab", "account=physics", "partition=main", "maxjobs=2");
    const partitioned = () =>
      slurm.show("association", "account,user,partition,maxjobs", "cluster=lab", "accounts=physics", "users=ada");
    // A name that is others' there is not made here, and keeps nobody waiting.
    await group("elsewhere", ada);
    await rule("elsewhere", {});
    await until(async () => (await plane.node("slurm-1")).sinks[0]?.reason.includes("account elsewhere"), true);
    const directory = plane.client(DirectoryService);
    const uses = async () => (await directory.getUser({ user: "ada" })).user?.slurm[0]?.accounts ?? [];
    const settledUses = async () =>
      (await uses()).flatMap(({ account: name, state }) => (state === SlurmUse_State.SETTLED ? name : []));
    await until(settledUses, ["elsewhere", "optics", "physics"]);
    expect((await uses()).map(({ reason }) => reason)).toEqual([expect.stringContaining("account elsewhere"), "", ""]);
    await removeRule(plane, "elsewhere");

    // Taken over: the rules by the import, what they want by the controller's own word. Until that is said, nothing is touched.
    const [dora, emil] = [await person("dora"), await person("emil")];
    for (const id of [dora, emil]) await plane.addMember(everybody, id);
    const chem = await group("chem", dora, emil);
    await byHand("dump", "lab", "File=/tmp/lab.cfg");
    await plane.host.write("/root/lab.cfg", (await controller.run("cat", ["/tmp/lab.cfg"])).stdout);
    const imported = await plane.operate(
      "import",
      "--sacctmgr-dump",
      "/root/lab.cfg",
      "--cluster",
      "default",
      "-o",
      "json",
    );
    expect(imported).toMatchObject({ code: 0, stderr: "" });
    const report = fromJsonString(ImportEstateResponseSchema, imported.stdout);
    expect([report.applied, report.problems, report.rules]).toEqual([true, [], ["chem of chem"]]);
    await until(async () => (await plane.node("slurm-1")).sinks[0]?.reason.includes("association chem/dora"), true);
    expect(await slurm.show("association", everything, "cluster=lab", "accounts=chem", "WOPLimits")).toEqual(theirs);
    await agent.process.end();
    await controller.write("/etc/rollcall/policy.yaml", policy(", adopt: true"));
    await agent.start();
    await until(() => slurm.show("account", "organization", "names=chem"), ["rollcall"]);
    await until(
      () => slurm.show("association", "user,maxjobs", "cluster=lab", "accounts=chem", "WOPLimits"),
      ["dora|", "emil|", "|"],
    );
    await agent.process.end();
    await controller.write("/etc/rollcall/policy.yaml", policy());
    await agent.start();
    await plane.patch("Groups", chem, { op: "remove", path: `members[value eq "${emil}"]` });
    await until(async () => (await slurm.associations()).includes("chem|emil"), false);

    // Without munge nothing can be asked; nss goes on, and Slurm follows once it is back.
    await slurm.down("munged");
    const fay = await person("fay");
    await plane.addMember(everybody, fay);
    await agent.process.says(/"reason":"[^\n]*Munge encode failed[^\n]*"msg":"Slurm"/);
    expect((await controller.run("getent", ["passwd", "fay"])).code, "nss does not wait").toBe(0);
    await slurm.up("munged");
    await until(async () => (await slurm.associations()).includes("optics|fay"), true);

    // Leaves while accounting is away: the job goes, then, after the limit, the identity; the association when accounting is back.
    await settled();
    await plane.client(ClusterService).setCluster({ slurm: { cancelWithin: printMillis(5_000) } });
    await start(slurm, "fay", "optics", "sleep 300");
    await until(async () => (await slurm.jobs()).length, 1);
    await slurm.down("slurmdbd");
    await plane.patch("Users", fay, { op: "Replace", path: "active", value: "False" });
    await until(() => slurm.jobs(), []);
    expect((await controller.run("getent", ["passwd", "fay"])).code, "identity goes after the job").toBe(0);
    await until(async () => (await controller.run("getent", ["passwd", "fay"])).code, 2);
    await until(async () => (await compute.run("getent", ["passwd", "fay"])).code, 2);
    const { entries } = await plane.client(AuditService).listAudit({ action: "association.end" });
    expect(entries.map(({ after }) => (JSON.parse(after) as { without: unknown }).without)).toEqual([["slurm-1"]]);
    await slurm.up("slurmdbd");
    await until(async () => (await slurm.associations()).some((each) => each.endsWith("|fay")), false);
    await slurm.idle();

    // Everybody goes: the other cluster, and what is for one partition, are as they were; so is whom others made an administrator.
    const here = await partitioned();
    expect(here).toEqual(["physics|ada|main|2", "physics|ada||9"]);
    for (const name of ["physics", "optics", "chem"])
      await removeRule(plane, name === "optics" ? "slurm-users" : name, name);
    await until(() => slurm.show("account", "account"), ["elsewhere", "physics", "root", "shared"]);
    await until(async () => (await slurm.associations()).toSorted(), ["physics|ada", "physics|ada", "shared|ada"]);
    expect(await partitioned()).toEqual(["physics|ada|main|2"]);
    const after = await elsewhere();
    expect(after.filter((row) => !row.includes("|physics|"))).toEqual(before);
    expect(after.filter((row) => row.includes("|physics|"))).toEqual([
      "other|physics|ada|||1|1|||",
      "other|physics|||root|2||||",
    ]);
    void physics;
  }, 400_000);
});

/** Identity before Slurm on the way in, Slurm before identity on the way out; with limits, over restarts, and once. */

import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { nothing, shift } from "../../identity/digest.ts";
import type { Grant } from "../../identity/grant.ts";
import { keyOf, type Resource } from "../../identity/resource.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { printEffect } from "../../server/api/effect.ts";
import { listAudit } from "../../server/directory/audit.ts";
import { setCluster } from "../../server/directory/clusters.ts";
import { removeGroup } from "../../server/directory/groups.ts";
import { approveHold, listHolds } from "../../server/directory/holds.ts";
import { addKey } from "../../server/directory/keys.ts";
import { lockUser, unlockUser } from "../../server/directory/locks.ts";
import { putRule, removeRule } from "../../server/directory/rules.ts";
import { portray, removeUser } from "../../server/directory/users.ts";
import { Usher } from "../../server/rollout/usher.ts";
import { admin, scim } from "./directory.ts";
import { openSite, type Site } from "./site.ts";

const now = { dryRun: false, urgent: false };
const page = { offset: 0, limit: 100 };

function account(name: string, more: Partial<Extract<Grant, { kind: "account" }>> = {}): Grant {
  const plain = { parent: undefined, isDefault: false, adminLevel: "none", limits: {}, jobs: "cancel" } as const;
  return { kind: "account", account: name, ...plain, description: "", accountLimits: {}, ...more };
}

async function grant({ directory: { ctx } }: Site, group: string, what: Grant): Promise<void> {
  await putRule(ctx, admin, "default", { group, grant: what }, now);
}

/** A cluster whose `slurm-users` have the account physics, with a controller, a compute and a login node. */
async function physics(jobs: "cancel" | "finish" = "cancel") {
  const site = await openSite();
  await grant(site, "slurm-users", account("physics", { jobs }));
  const nodes = {
    ctl: await site.node("ctl", "controller"),
    c1: await site.node("c1", "compute"),
    l1: await site.node("l1", "login"),
  };
  const { directory } = site;
  const [ada = ""] = await directory.people("ada");
  await addKey(directory.ctx, admin, directory.org, "ada", ed25519Line("ada"));
  return { site, ...nodes, all: Object.values(nodes), ada };
}

/** As {@link physics}, with ada in it and known to everybody. */
async function working(jobs: "cancel" | "finish" = "cancel") {
  const made = await physics(jobs);
  const { site, all, ada } = made;
  const users = await site.directory.group("slurm-users", [ada]);
  await site.settle(...all);
  await site.settle(...all);
  expect(await accounts(site)).toEqual(["physics"]);
  return { ...made, users };
}

async function accounts(site: Site): Promise<string[]> {
  const found = await site.sent("controller", "association");
  return found.flatMap((each) => (each.kind === "association" ? [each.account] : [])).sort();
}

async function people(site: Site): Promise<string[]> {
  const found = await site.sent("login", "user");
  return found
    .flatMap((each) => (each.kind === "user" ? [`${each.name}${each.locked ? " (locked)" : ""}`] : []))
    .sort();
}

async function passages({ directory: { ctx, cluster } }: Site): Promise<string[]> {
  const found = await ctx.store.read((tx) => tx.passages.all(cluster));
  return found.map(({ way, key }) => `${way} ${key.split("/")[1]}`).sort();
}

async function stragglers({ directory: { ctx, org } }: Site) {
  const { entries } = await listAudit(ctx, org, { actor: "server", action: "association." }, undefined, 100);
  return entries.map(({ action, after }) => [action, (JSON.parse(after ?? "{}") as { without: string[] }).without]);
}

test("where nothing keeps Slurm, nothing waits: in and out in one revision each", async () => {
  await using site = await openSite();
  await grant(site, "slurm-users", account("physics"));
  await site.node("c1", "compute");
  const other = await site.node("ctl", "controller");
  // A controller that says that it has no such sink, once that is written.
  site.ledger.followed(other.entry, []);
  await site.ledger.save();
  const [ada = ""] = await site.directory.people("ada");
  const before = await site.head();
  await site.directory.group("slurm-users", [ada]);
  expect(await accounts(site)).toEqual(["physics"]);
  await site.directory.deactivate(ada);
  expect([await people(site), await accounts(site), await site.head()]).toEqual([[], [], before + 2n]);
  expect(await passages(site)).toEqual([]);
});

test("an association is sent when controller, compute and login node know its person, and not before; accounts go at once", async () => {
  const { site, ctl, c1, l1, ada } = await physics();
  await using _ = site;
  await site.directory.group("slurm-users", [ada]);
  expect([await people(site), await accounts(site)]).toEqual([["ada"], []]);
  expect(await site.sent("controller", "account")).toHaveLength(1);
  const brought = await site.head();
  for (const node of [c1, ctl, l1]) {
    await site.usher.look();
    expect(await accounts(site)).toEqual([]);
    await node.ack();
  }
  expect(await passages(site)).toEqual(["in physics"]);
  await site.usher.look();
  expect([await accounts(site), await passages(site), await site.head()]).toEqual([["physics"], [], brought + 1n]);
  expect(await stragglers(site)).toEqual([]);
  // Somebody who is known for long waits for nobody: the next account comes with the next look.
  await grant(site, "slurm-users", account("optics"));
  await site.usher.look();
  expect(await accounts(site)).toEqual(["optics", "physics"]);
});

test("a straggler is waited for until the limit, then named; a controller as long as it takes; who is not connected not at all", async () => {
  const { site, ctl, c1, l1, ada } = await physics();
  await using _ = site;
  l1.disconnect();
  await site.directory.group("slurm-users", [ada]);
  await c1.ack();
  site.directory.pass(3_600_000);
  await site.usher.look();
  expect(await accounts(site)).toEqual([]);
  await ctl.ack();
  await site.usher.look();
  expect([await accounts(site), await stragglers(site)]).toEqual([["physics"], []]);

  const [bob = ""] = await site.directory.people("bob");
  await setCluster(site.directory.ctx, admin, "default", { slurm: { knownWithinSeconds: 45 } });
  await site.directory.group("slurm-sudo", [bob]);
  await grant(site, "slurm-sudo", account("staff"));
  await ctl.ack();
  site.directory.pass(44_000);
  await site.usher.look();
  expect(await accounts(site)).toEqual(["physics"]);
  site.directory.pass(1_000);
  await site.usher.look();
  expect([await accounts(site), await stragglers(site)]).toEqual([
    ["physics", "staff"],
    [["association.release", ["c1"]]],
  ]);
  expect(site.warned).toMatchObject([{ nodes: ["c1"], associations: 1 }]);
});

test("a backup controller that is down keeps nobody waiting once the other one knows them", async () => {
  const { site, ctl, c1, l1, ada } = await physics();
  await using _ = site;
  (await site.node("ctl-b", "controller")).disconnect();
  await site.directory.group("slurm-users", [ada]);
  for (const node of [ctl, c1, l1]) await node.ack();
  await site.usher.look();
  expect(await accounts(site)).toEqual(["physics"]);
});

test("what the directory takes back while it waits never comes", async () => {
  const { site, all, ada } = await physics();
  await using _ = site;
  const users = await site.directory.group("slurm-users", [ada]);
  await removeRule(site.directory.ctx, admin, "default", "slurm-users", { kind: "account", account: "physics" }, now);
  expect(await passages(site)).toEqual([]);
  await grant(site, "slurm-users", account("physics"));
  expect(await passages(site)).toEqual(["in physics"]);
  // Nothing of her ever was in Slurm: she goes as if there were none.
  await site.directory.leave(users, ada);
  expect([await passages(site), await people(site)]).toEqual([[], []]);
  await site.settle(...all);
  expect(await accounts(site)).toEqual([]);
});

test("the default account moves when the new one is there; what else changes of the old one goes at once", async () => {
  const { site, all, c1, ctl, l1 } = await working();
  await using _ = site;
  const use = async () => {
    const found = await site.sent("controller", "association");
    const inOrder = found.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    return inOrder.flatMap((each) =>
      each.kind === "association" ? [[each.account, each.isDefault, each.limits]] : [],
    );
  };
  expect(await use()).toEqual([["physics", true, {}]]);
  await grant(site, "slurm-users", account("physics", { limits: { maxjobs: "1" } }));
  expect(await use()).toEqual([["physics", true, { maxjobs: "1" }]]);
  for (const node of [c1, ctl, l1]) node.disconnect();
  await grant(site, "slurm-users", account("optics", { isDefault: true }));
  expect(await use()).toEqual([["physics", true, { maxjobs: "1" }]]);
  await grant(site, "slurm-users", account("physics", { limits: { maxjobs: "2" } }));
  expect(await use()).toEqual([["physics", true, { maxjobs: "2" }]]);
  await site.settle(...all);
  expect(await use()).toEqual([
    ["optics", true, {}],
    ["physics", false, { maxjobs: "2" }],
  ]);
});

test("who leaves is locked at once, without keys, memberships and associations, and goes when Slurm has let go", async () => {
  const { site, ctl, all, ada } = await working();
  await using _ = site;
  const { ctx, cluster } = site.directory;
  const before = await site.head();
  await site.directory.deactivate(ada);
  const login = await site.sent("login");
  expect(login.filter(({ kind }) => kind !== "group" && kind !== "sudo")).toMatchObject([
    { kind: "user", locked: true },
  ]);
  expect([await accounts(site), await site.head()]).toEqual([[], before + 1n]);
  // It takes something away: streams are told of it without a wait.
  expect(await ctx.store.read((tx) => tx.log.removesAfter(cluster, before))).toBe(true);
  expect(await portray(ctx, site.directory.org, "ada")).toMatchObject({
    clusters: [],
    slurm: [{ isLeaving: true, uses: [{ way: "out", association: { account: "physics" } }] }],
  });
  expect((await ctx.store.read((tx) => tx.clusters.get(cluster)))?.people).toBe(0);
  for (const node of all) await node.ack();
  await site.usher.look();
  expect(await people(site)).toEqual(["ada (locked)"]);
  ctl.slurm(before);
  await site.usher.look();
  expect(await people(site)).toEqual(["ada (locked)"]);
  ctl.slurm(before + 1n);
  await site.usher.look();
  expect([await people(site), await passages(site), await site.head()]).toEqual([[], [], before + 2n]);
  expect(await stragglers(site)).toEqual([]);
});

test("somebody without keys, deleted at the provider, leaves the same way; a leaver is neither held nor counted twice", async () => {
  const { site, all } = await physics();
  await using _ = site;
  const { ctx, org, cluster } = site.directory;
  const ids = await site.directory.people(...Array.from({ length: 12 }, (_, n) => `u${n}`));
  const users = await site.directory.group("slurm-users", ids);
  await site.settle(...all);
  await site.settle(...all);
  const before = await site.head();
  for (const id of ids.slice(0, 3)) await removeUser(ctx, scim, org, id);
  // These stay members of the group, and are looked at again with it.
  for (const id of ids.slice(3, 6)) await site.directory.deactivate(id);
  expect(await ctx.store.read((tx) => tx.log.removesAfter(cluster, before))).toBe(true);
  const known = await people(site);
  expect(known.filter((name) => name.endsWith("(locked)"))).toHaveLength(5);
  const [hold] = await listHolds(ctx, "default", { done: false }, page);
  expect(hold?.subjects).toBe(1);
  await approveHold(ctx, admin, hold?.hold.id ?? "", { only: [], seen: 1 });
  expect((await people(site)).filter((name) => name.endsWith("(locked)"))).toHaveLength(6);
  // Looked at again, they are still the ones that went.
  await removeGroup(ctx, scim, org, users);
  const [held] = await listHolds(ctx, "default", { done: false }, page);
  expect(held?.subjects).toBe(7);
  await site.settle(...all);
  expect(await people(site)).toHaveLength(6);
});

test("whom the provider deleted is found by name, uid and id until Slurm has let go of them, and not afterwards", async () => {
  const { site, ctl, all, ada } = await working();
  await using _ = site;
  const { ctx, org } = site.directory;
  const { uid } = (await portray(ctx, org, "ada")).user;
  expect((await portray(ctx, org, `${uid}`)).user.userName).toBe("ada");
  await removeUser(ctx, scim, org, ada);
  for (const handle of ["ada", `${uid}`, ada]) {
    expect(await portray(ctx, org, handle)).toMatchObject({
      removed: true,
      user: { id: ada, name: "ada", uid, active: false },
      clusters: [],
      slurm: [{ isLeaving: true, uses: [{ way: "out", association: { account: "physics" } }] }],
    });
  }
  for (const node of all) await node.ack();
  ctl.slurm();
  await site.usher.look();
  for (const handle of ["ada", `${uid}`, ada, "slurm-users", "70000"]) {
    await expect(portray(ctx, org, handle), handle).rejects.toThrow(/no user has/);
  }
});

test("granted again meanwhile: unlocked, with the same uid, and the account comes back", async () => {
  const { site, all, ada } = await working();
  await using _ = site;
  const [before] = await site.sent("login", "user");
  await site.directory.deactivate(ada);
  await site.directory.deactivate(ada, true);
  expect(await site.sent("login", "user")).toEqual([before]);
  expect(await site.sent("login", "key")).toHaveLength(1);
  expect([await accounts(site), await passages(site)]).toEqual([[], ["in physics", "out physics"]]);
  await site.settle(...all);
  expect([await accounts(site), await passages(site)]).toEqual([["physics"], []]);
  await site.settle(...all);
  expect([await people(site), await accounts(site)]).toEqual([["ada"], ["physics"]]);
  // And taken away again while it waits: Slurm may have jobs from before still.
  await site.directory.deactivate(ada);
  await site.directory.deactivate(ada, true);
  await site.directory.deactivate(ada);
  expect([await people(site), await passages(site)]).toEqual([["ada (locked)"], ["out physics"]]);
});

test("jobs that shall be cancelled are waited for until the limit, and the controller named", async () => {
  const { site, ctl, all, ada } = await working();
  await using _ = site;
  await site.directory.deactivate(ada);
  for (const node of all) await node.ack();
  ctl.slurm(1n, [], "slurmdbd does not answer");
  site.directory.pass(59_000);
  await site.usher.look();
  expect(await people(site)).toEqual(["ada (locked)"]);
  site.directory.pass(1_000);
  await site.usher.look();
  expect([await people(site), await stragglers(site)]).toEqual([[], [["association.end", ["ctl"]]]]);
});

test("jobs that may finish are waited for as long as they take, and hold up nobody else", async () => {
  const { site, ctl, all, ada } = await working("finish");
  await using _ = site;
  const { ctx } = site.directory;
  await grant(site, "slurm-sudo", account("staff"));
  const [bob = ""] = await site.directory.people("bob");
  await site.directory.group("slurm-sudo", [bob]);
  await site.settle(...all);
  await site.settle(...all);
  const uid = (await portray(ctx, site.directory.org, "ada")).user.uid;
  await site.directory.deactivate(ada);
  for (const node of all) await node.ack();
  ctl.slurm(undefined, [uid]);
  site.directory.pass(86_400_000);
  await site.usher.look();
  expect(await people(site)).toEqual(["ada (locked)", "bob"]);
  await site.directory.deactivate(bob);
  for (const node of all) await node.ack();
  ctl.slurm(undefined, [uid]);
  await site.usher.look();
  expect(await people(site)).toEqual(["ada (locked)"]);
  await setCluster(ctx, admin, "default", { slurm: { finishWithinSeconds: 2 * 86_400 } });
  await site.usher.look();
  expect(await people(site)).toEqual(["ada (locked)"]);
  ctl.slurm();
  await site.usher.look();
  expect([await people(site), await stragglers(site)]).toEqual([[], []]);
});

test("who leaves one account and stays in the cluster loses just that; the jobs are waited for if they leave it later", async () => {
  const { site, ctl, all, ada } = await working();
  await using _ = site;
  await removeRule(site.directory.ctx, admin, "default", "slurm-users", { kind: "account", account: "physics" }, now);
  expect([await people(site), await accounts(site), await passages(site)]).toEqual([["ada"], [], ["out physics"]]);
  await site.directory.deactivate(ada);
  expect(await people(site)).toEqual(["ada (locked)"]);
  for (const node of all) await node.ack();
  ctl.slurm();
  await site.usher.look();
  expect(await people(site)).toEqual([]);
});

test("an admin's lock cuts access at once, jobs or not; sudo goes with the memberships", async () => {
  const { site, all, ada } = await working("finish");
  await using _ = site;
  const { ctx, org } = site.directory;
  await site.directory.group("slurm-sudo", [ada]);
  await site.settle(...all);
  await lockUser(ctx, admin, org, "ada", "laptop stolen");
  expect([await people(site), await site.sent("login", "member", "key")]).toEqual([["ada (locked)"], []]);
  await unlockUser(ctx, admin, org, "ada");
  expect([await people(site), (await site.sent("login", "member", "key")).length]).toEqual([["ada"], 3]);
});

test("a controller that is banned holds up nobody", async () => {
  const { site, ada } = await working("finish");
  await using _ = site;
  const [bob = ""] = await site.directory.people("bob");
  await site.directory.group("slurm-sudo", [bob]);
  await grant(site, "slurm-sudo", account("staff"));
  await site.directory.deactivate(ada);
  await site.usher.look();
  expect([await people(site), await passages(site)]).toEqual([
    ["ada (locked)", "bob"],
    ["in staff", "out physics"],
  ]);
  await site.ledger.ban(admin, site.directory.cluster, "ctl");
  await site.usher.look();
  expect([await people(site), await accounts(site), await passages(site)]).toEqual([["bob"], ["staff"], []]);
});

test("a server that starts between the two revisions goes on where the other one stopped", async () => {
  const { site, all, ada } = await working();
  await using _ = site;
  const [bob = ""] = await site.directory.people("bob");
  await grant(site, "slurm-sudo", account("staff"));
  await site.directory.group("slurm-sudo", [bob]);
  await site.directory.deactivate(ada);
  const { usher } = await site.restart();
  await usher.look();
  expect([await people(site), await accounts(site)]).toEqual([["ada (locked)", "bob"], []]);
  for (const node of all) {
    await node.connect();
    await node.ack();
    if (node.role === "controller") node.slurm();
  }
  await usher.look();
  expect([await people(site), await accounts(site), await passages(site)]).toEqual([["bob"], ["staff"], []]);
});

test("several that see the same release it once", async () => {
  const { site, ctl, all, ada } = await working();
  await using _ = site;
  const ids = await site.directory.people(...Array.from({ length: 40 }, (_, n) => `u${n}`));
  await site.directory.group("slurm-sudo", ids);
  await grant(site, "slurm-sudo", account("staff"));
  await site.directory.deactivate(ada);
  for (const node of all) await node.ack();
  ctl.slurm();
  const before = await site.head();
  const silent = { warn: () => undefined, error: () => undefined };
  const ushers = Array.from({ length: 8 }, () => new Usher(site.directory.ctx, site.ledger, silent));
  await Promise.all(ushers.map((usher) => usher.look()));
  // One that let forty in, one that let ada out.
  expect([(await accounts(site)).length, await people(site), await site.head()]).toEqual([
    40,
    expect.not.arrayContaining(["ada (locked)"]),
    before + 2n,
  ]);
});

test("somebody in several groups has one association an account, of all that they state; nodes can prove it", async () => {
  await using site = await openSite();
  const { ctx, cluster } = site.directory;
  const [ada = ""] = await site.directory.people("ada");
  for (const name of ["alpha", "beta", "slurm-users"]) await site.directory.group(name, [ada]);
  const of = (limits: Readonly<Record<string, string>>, more = {}) => account("physics", { limits, ...more });
  await grant(site, "beta", of({ fairshare: "7", maxjobs: "2" }, { adminLevel: "operator" }));
  await grant(site, "alpha", of({ qos: "long", maxjobs: "1" }, { jobs: "finish" }));
  await grant(site, "slurm-users", account("optics", { isDefault: true }));
  await grant(site, "alpha", account("zoo", { isDefault: true }));
  const uses = await site.sent("controller", "association");
  expect(uses.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))).toMatchObject([
    { account: "optics", isDefault: true, adminLevel: "none", limits: {}, jobs: "cancel" },
    {
      account: "physics",
      isDefault: false,
      adminLevel: "operator",
      limits: { fairshare: "7", maxjobs: "2", qos: "long" },
      jobs: "finish",
    },
    { account: "zoo", isDefault: false },
  ]);
  const held = await site.sent("controller");
  const head = (await ctx.store.read((tx) => tx.clusters.get(cluster)))?.head.controller;
  expect(head?.digest).toBe(shift(nothing, held, []));
  // Looked at again, it is the same.
  await site.directory.leave(await site.directory.group("other", [ada]), ada);
  await putRule(ctx, admin, "default", { group: "beta", grant: { kind: "group" } }, now);
  expect((await ctx.store.read((tx) => tx.clusters.get(cluster)))?.head.controller).toEqual(head);
});

test("a dry run shows what the change would cause, and nothing of what waits already", async () => {
  const { site, ada } = await physics();
  await using _ = site;
  const { ctx } = site.directory;
  await site.directory.group("slurm-users", [ada]);
  expect(await passages(site)).toEqual(["in physics"]);
  const ask = async (grant: Grant) => {
    const [effect] = await putRule(ctx, admin, "default", { group: "slurm-users", grant }, { ...now, dryRun: true });
    return [
      effect?.waiting.map(({ key }) => key.split("/")[1]),
      effect && printEffect(effect).slurm.map((call) => call.command),
    ];
  };
  expect(await ask(account("zoo"))).toEqual([
    ["zoo"],
    ["sacctmgr -i add account name=zoo organization=rollcall parent=root", "sacctmgr -i add user name=ada account=zoo"],
  ]);
  const [changed] = await ask(account("physics", { limits: { maxjobs: "1" } }));
  expect(changed).toEqual(["physics"]);
  expect(await putRule(ctx, admin, "default", { group: "slurm-users", grant: account("physics") }, now)).toEqual([]);
});

test("a dry run says what would follow, what of it later, and what the controller would do in Slurm; it leaves nothing behind", async () => {
  const { site } = await working();
  await using _ = site;
  const { ctx } = site.directory;
  const dry = { dryRun: true, urgent: false };
  const rule = { group: "slurm-users", grant: account("optics", { parent: "physics", limits: { maxjobs: "3" } }) };
  const [effect] = await putRule(ctx, admin, "default", rule, dry);
  const kinds = (edits: readonly { after: Resource | undefined }[] = []) => edits.map(({ after }) => after?.kind);
  expect([kinds(effect?.edits), kinds(effect?.waiting)]).toEqual([["account"], ["association", "association"]]);
  expect(effect && printEffect(effect).slurm.map(({ command }) => command)).toEqual([
    "sacctmgr -i add account name=optics organization=rollcall parent=physics",
    "sacctmgr -i add user name=ada account=optics maxjobs=3",
    "sacctmgr -i modify user where name=ada set defaultaccount=optics",
  ]);
  const what = { kind: "account", account: "physics" } as const;
  const [gone] = await removeRule(ctx, admin, "default", "slurm-users", what, dry);
  expect(gone?.slurm.map((call) => call.what)).toEqual([
    "let nobody who leaves physics start jobs",
    "remove 1 user from physics",
    "remove 1 account",
  ]);
  expect(await passages(site)).toEqual([]);
});

test("a fleet that takes long to look at is not looked at all the time, and who waits is let in", async () => {
  const { site, ctl, c1, l1, ada } = await physics();
  await using _site = site;
  let looks = 0;
  const slow = {
    onChange: (listener: (cluster: string) => void) => site.ledger.onChange(listener),
    each(cluster: string) {
      looks += 1;
      for (const end = performance.now() + 20; performance.now() < end; );
      return site.ledger.each(cluster);
    },
  };
  const usher = new Usher(site.directory.ctx, slow, pino({ level: "silent" }));
  usher.start();
  await site.directory.group("slurm-users", [ada]);
  const began = performance.now();
  while (performance.now() - began < 1_500) {
    // The login node does not know her yet: she waits, and is looked at.
    for (const node of [ctl, c1]) await node.ack();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  // A tenth of the time at most, and once a second whatever happens.
  expect(looks).toBeGreaterThan(1);
  expect(looks).toBeLessThanOrEqual(Math.ceil((performance.now() - began) / 200) + 3);
  await l1.ack();
  await vi.waitFor(async () => expect(await accounts(site)).toEqual(["physics"]), { timeout: 10_000 });
  await usher[Symbol.asyncDispose]();
});

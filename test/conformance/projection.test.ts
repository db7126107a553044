/**
 * The projection costs what the change is, and equals what looking at everything from the start would give: after any
 * history of edits, nothing is missing, left over or out of date. What waits for its turn in Slurm is the only thing that may
 * be missing, and who waits for Slurm, locked and with nothing, the only one who may be left over; in the end neither is.
 */

import fc from "fast-check";
import { expect, test } from "vitest";
import { accountsOf } from "../../identity/account-tree.ts";
import { nothing, shift } from "../../identity/digest.ts";
import type { Grant } from "../../identity/grant.ts";
import { keyOf, print, type Resource } from "../../identity/resource.ts";
import { roles } from "../../identity/scope.ts";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { setCluster } from "../../server/directory/clusters.ts";
import { removeGroup, updateGroup } from "../../server/directory/groups.ts";
import { approveHold, listHolds } from "../../server/directory/holds.ts";
import { addKey, removeKey } from "../../server/directory/keys.ts";
import { lockUser, unlockUser } from "../../server/directory/locks.ts";
import { putRule, removeRule } from "../../server/directory/rules.ts";
import { removeUser, updateUser } from "../../server/directory/users.ts";
import { accessOf } from "../../server/projection/access.ts";
import { projectGroup, projectUser } from "../../server/projection/project.ts";
import { everything } from "../../server/store/search.ts";
import { runs } from "../processes/postgres.ts";
import { admin, openDirectory, scim, type TestDirectory } from "./directory.ts";
import { openSite, type Site, type SiteNode } from "./site.ts";

const all = { offset: 0, limit: 1000 };
const now = { dryRun: false, urgent: true };

const grants: readonly Grant[] = [
  { kind: "login" },
  { kind: "group" },
  { kind: "sudo", password: false, commands: "ALL" },
  { kind: "sudo", password: true, commands: ["/usr/bin/id"] },
  account("physics", undefined, true),
  account("optics", "physics", false),
  account("optics", "physics", true),
  account("physics", undefined, false, "finish"),
];

function account(
  name: string,
  parent: string | undefined,
  isDefault: boolean,
  jobs: "cancel" | "finish" = "cancel",
): Grant {
  const plain = { adminLevel: "none", limits: {}, description: "", accountLimits: {} } as const;
  return { kind: "account", account: name, parent, isDefault, jobs, ...plain };
}

const userNames = ["ada", "bob", "cy", "dee"];
const groupNames = ["slurm-users", "slurm-sudo", "lab", "ring"];

/** One random act; whom it concerns is a number that is folded into those who are there. */
const anyAct = fc.record({
  act: fc.constantFrom(
    ...([
      "user",
      "user",
      "activate",
      "rename",
      "remove user",
      "group",
      "group",
      "join",
      "join",
      "join",
      "leave",
      "nest",
    ] as const),
    ...([
      "rename group",
      "remove group",
      "key",
      "remove key",
      "lock",
      "unlock",
      "rule",
      "rule",
      "remove rule",
      "home",
    ] as const),
    ...(["look", "look", "ack", "ack", "settle", "controller", "ban", "late"] as const),
  ),
  a: fc.nat(3),
  b: fc.nat(3),
  grant: fc.constantFrom(...grants),
  active: fc.boolean(),
});

type Act = typeof anyAct extends fc.Arbitrary<infer T> ? T : never;

test("for any history, what the nodes are sent is what projecting everybody from the start gives", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyAct, { minLength: 20, maxLength: 60 }), async (acts) => {
      await using site = await openSite();
      const { directory } = site;
      const users = new Map<string, string>();
      const groups = new Map<string, string>();
      const nodes: SiteNode[] = [await site.node("c1", "compute"), await site.node("ctl", "controller")];
      for (const act of acts) {
        await perform(directory, act, users, groups, { site, nodes }).catch(refused);
        await approveAll(directory);
        const { sent, waiting, leaving } = await passing(site);
        const whole = await fromScratch(directory);
        const expected = whole.map(print).sort();
        expect(withPut(sent, waiting).map(print).sort(), JSON.stringify(act)).toEqual(expected);
        // Who leaves has something that Slurm holds, and nothing else.
        for (const { uid } of leaving) expect(sent.filter((each) => "uid" in each && each.uid === uid)).toEqual([]);
        const { people } = await directory.ctx.store.read(async (tx) => {
          return (await tx.clusters.get(directory.cluster)) ?? { people: -1 };
        });
        expect(people).toBe(whole.filter(({ kind }) => kind === "user").length);
      }
      const live = nodes.filter(({ entry }) => !entry.node.banned);
      for (const node of live) if (!node.entry.link) await node.connect();
      for (let turn = 0; turn < 3; turn++) await site.settle(...live);
      const { sent, waiting, leaving } = await passing(site);
      expect([waiting, leaving]).toEqual([[], []]);
      expect(sent.map(print).sort()).toEqual((await fromScratch(directory)).map(print).sort());
    }),
    { numRuns: runs(20), endOnFailure: true },
  );
});

/** What nodes are sent of those who are in, what waits for its turn, and who is on the way out. S4: the heads prove it all. */
async function passing({ directory }: Site) {
  const { ctx, cluster } = directory;
  const { all, head } = await ctx.store.read(async (tx) => {
    return { all: await tx.passages.all(cluster), head: (await tx.clusters.get(cluster))?.head };
  });
  for (const role of roles) {
    const held = await ctx.store.read((tx) => tx.log.snapshot(cluster, role));
    expect(head?.[role].digest).toBe(shift(nothing, held, []));
  }
  const nodes = await directory.nodes();
  const leaving = nodes.flatMap((each) => (each.kind === "user" && each.locked ? [each] : []));
  for (const { uid } of leaving) {
    expect(all.some(({ way, association }) => way === "out" && association.uid === uid)).toBe(true);
  }
  const waiting = all.filter(({ way }) => way === "in").map(({ association }) => association);
  return { sent: nodes.filter((each) => each.kind !== "user" || !each.locked), waiting, leaving };
}

function withPut(resources: readonly Resource[], puts: readonly Resource[]): Resource[] {
  return [...new Map([...resources, ...puts].map((each) => [keyOf(each), each])).values()];
}

/** Adding one to a group of many, and changing one of many, writes the rows of one. */
test("adding one person to a group of a thousand sends one resource; changing one writes as many rows as in a small group", async () => {
  const written = await Promise.all(
    [10, 1000].map(async (count) => {
      await using directory = await openDirectory();
      const { ctx, org } = directory;
      const ids = await directory.people(...Array.from({ length: count }, (_, i) => `u${i}`));
      const [late = ""] = await directory.people("late");
      await directory.group("slurm-users", [...ids, late]);
      const lab = await directory.group("lab", ids);
      await putRule(ctx, admin, "default", { group: "lab", grant: { kind: "group" } }, now);
      const before = await rowCounts(directory);
      await directory.join(lab, late);
      await updateUser(ctx, scim, org, ids[0] ?? "", (user) => ({ ...user, fullName: "Ada" }));
      await directory.deactivate(ids[1] ?? "");
      const after = await rowCounts(directory);
      return Object.fromEntries(Object.entries(after).map(([table, rows]) => [table, rows - (before[table] ?? 0)]));
    }),
  );
  expect(written[1]).toEqual(written[0]);
  expect(written[0]).toMatchObject({ log: 1 + 1 + 3, revisions: 3 });
});

async function perform(
  { ctx, org, ...directory }: TestDirectory,
  { act, a, b, grant, active }: Act,
  users: Map<string, string>,
  groups: Map<string, string>,
  { site, nodes }: { site: Site; nodes: SiteNode[] },
): Promise<void> {
  const live = nodes.filter(({ entry }) => !entry.node.banned);
  const node = live[a % live.length];
  const user = [...users.values()][a] ?? "";
  const userName = [...users.keys()][a] ?? "";
  const group = [...groups.values()][b] ?? "";
  const key = ed25519Line(`key ${b}`);
  switch (act) {
    case "user": {
      const name = userNames[a] ?? "";
      const [id = ""] = await directory.people(name);
      users.set(name, id);
      return;
    }
    case "activate":
      return directory.deactivate(user, active);
    case "rename":
      await updateUser(ctx, scim, org, user, (now) => ({ ...now, fullName: `Name ${b}` }));
      return;
    case "remove user":
      users.delete(userName);
      return removeUser(ctx, scim, org, user);
    case "group": {
      const name = groupNames[b] ?? "";
      groups.set(name, await directory.group(name, user === "" ? [] : [user]));
      return;
    }
    case "join":
      return directory.join(group, user);
    case "leave":
      return directory.leave(group, user);
    case "nest":
      return directory.join(group, [...groups.values()][a] ?? "");
    case "rename group":
      await updateGroup(ctx, scim, org, group, [{ kind: "set-display-name", displayName: groupNames[a] ?? "" }]);
      return;
    case "remove group":
      for (const [name, id] of groups) if (id === group) groups.delete(name);
      return removeGroup(ctx, scim, org, group);
    case "key":
      await addKey(ctx, admin, org, userName, key);
      return;
    case "remove key":
      return removeKey(ctx, admin, org, userName, fingerprint(parseSshKey(key)));
    case "lock":
      await lockUser(ctx, admin, org, userName, "because");
      return;
    case "unlock":
      await unlockUser(ctx, admin, org, userName);
      return;
    case "rule":
      await putRule(ctx, admin, "default", { group: groupNames[a] ?? "", grant }, now);
      return;
    case "remove rule":
      await removeRule(ctx, admin, "default", groupNames[a] ?? "", grant, now);
      return;
    case "look":
      return site.usher.look();
    case "ack":
      if (node?.entry.link) await node.ack();
      return;
    case "settle":
      node?.slurm(undefined, active ? [] : [200_000 + b]);
      return;
    case "controller":
      nodes.push(await site.node(`ctl-${nodes.length}`, "controller"));
      return;
    case "ban":
      if (node?.role === "controller") await site.ledger.ban(admin, site.directory.cluster, node.name);
      return;
    case "late":
      node?.disconnect();
      site.directory.pass(40_000);
      return;
    case "home":
      await setCluster(ctx, admin, "default", { home: `/home/${b}/{name}`, guard: { percent: 100, people: 1000 } });
  }
}

/** What the guard holds is what is missing in between: approved, nothing is. */
async function approveAll({ ctx }: TestDirectory): Promise<void> {
  for (const { hold } of await listHolds(ctx, "default", { done: false }, all)) {
    await approveHold(ctx, admin, hold.id, { only: [], seen: undefined });
  }
}

/** Refusals are fine, wrong states are not. */
function refused(error: unknown): void {
  if (!(error instanceof Error) || error.name !== "Refusal") throw error;
}

async function fromScratch({ ctx, org, cluster }: TestDirectory): Promise<Resource[]> {
  return ctx.store.read(async (tx) => {
    const found = await tx.clusters.get(cluster);
    if (!found) throw new Error("the cluster is gone");
    const { name, settings } = await tx.clusters.orgOf(org);
    const rules = await tx.clusters.rules(cluster);
    const access = accessOf(found, rules, name, settings);
    const { users } = await tx.users.list(org, undefined, everything, all);
    const { groups } = await tx.groups.list(org, undefined, everything, all);
    const ids = users.map(({ id }) => id);
    const locked = await tx.locks.among(org, ids);
    const memberships = await tx.groups.of(ids);
    const keys = await tx.keys.ofMany(ids);
    const people = users
      .filter(({ id }) => !locked.has(id))
      .flatMap((user) => {
        const of = (memberships.get(user.id) ?? []).map(({ group }) => group);
        return projectUser(user, of, keys.get(user.id) ?? [], access);
      });
    const whole = [...accountsOf(rules), ...groups.flatMap((group) => projectGroup(group, access)), ...people];
    expect(new Set(whole.map(keyOf)).size).toBe(whole.length);
    return whole;
  });
}

async function rowCounts({ ctx, cluster }: TestDirectory): Promise<Record<string, number>> {
  return ctx.store.read(async (tx) => {
    const head = (await tx.clusters.get(cluster))?.head.login.revision ?? 0n;
    const revisions = await tx.log.revisions(cluster, { offset: 0, limit: 10_000 });
    const log = revisions.reduce((sum, { puts, removals }) => sum + puts + removals, 0);
    return { log, revisions: Number(head) };
  });
}

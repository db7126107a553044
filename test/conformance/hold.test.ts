/** The guard and its holds: a mass removal waits, a single one never does (S10). */

import { expect, test } from "vitest";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { setCluster } from "../../server/directory/clusters.ts";
import { createGroup, removeGroup, updateGroup } from "../../server/directory/groups.ts";
import { approveHold, getHold, listHeld, listHolds, rejectHold } from "../../server/directory/holds.ts";
import { addKey, removeKey } from "../../server/directory/keys.ts";
import { lockUser } from "../../server/directory/locks.ts";
import { putRule, removeRule } from "../../server/directory/rules.ts";
import { portray, removeUser } from "../../server/directory/users.ts";
import { admin, openDirectory, scim, type TestDirectory } from "./directory.ts";

const everyHold = { done: true };
const page = { offset: 0, limit: 1000 };
const everything = { only: [], seen: undefined };
const now = { dryRun: false, urgent: false };

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `u${String(i).padStart(3, "0")}`);
}

async function staffed(directory: TestDirectory, count: number) {
  const ids = await directory.people(...numbered(count));
  return { ids, group: await directory.group("slurm-users", ids) };
}

async function held({ ctx }: TestDirectory): Promise<string[]> {
  const [hold] = await listHolds(ctx, "default", { done: false }, page);
  return hold ? (await listHeld(ctx, hold.hold.id, page)).map(({ subject }) => subject).sort() : [];
}

test("480 of 500 deactivated in a burst: five leave, the rest waits, and an operator decides", async () => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  const { ids } = await staffed(directory, 500);
  await Promise.all(ids.slice(0, 480).map((id) => directory.deactivate(id)));
  expect(await directory.names()).toHaveLength(495);
  const [hold] = await listHolds(ctx, "default", { done: false }, page);
  expect(hold).toMatchObject({ cluster: "default", subjects: 475, hold: { state: "pending" } });
  const id = hold?.hold.id ?? "";
  expect(hold?.hold.reason).toMatch(/lose access; 5 may within 600 s/);

  const [first, second] = await held(directory);
  await approveHold(ctx, admin, id, { only: [first ?? "", second ?? ""], seen: 475 });
  expect(await directory.names()).toHaveLength(493);
  expect(await directory.names()).not.toContain(first);
  await expect(approveHold(ctx, admin, id, { only: [], seen: 475 })).rejects.toThrow(/keeps 473 subjects now, not 475/);

  await rejectHold(ctx, admin, id);
  expect(await directory.names()).toHaveLength(493);
  const [kept, gone, there] = ["u479", first ?? "", "u499"];
  expect(await portray(ctx, directory.org, kept)).toMatchObject({ clusters: ["default"], held: ["default"] });
  expect(await portray(ctx, directory.org, gone)).toMatchObject({ clusters: [], held: [] });
  expect(await portray(ctx, directory.org, there)).toMatchObject({ clusters: ["default"], held: [] });
  expect(await listHolds(ctx, "default", { done: false }, page)).toMatchObject([
    { subjects: 473, hold: { state: "rejected" } },
  ]);
  await expect(rejectHold(ctx, admin, id)).rejects.toThrow(/rejected, not pending/);

  await approveHold(ctx, admin, id, everything);
  expect(await directory.names()).toHaveLength(20);
  expect(await listHolds(ctx, "default", everyHold, page)).toMatchObject([{ subjects: 0, hold: { state: "done" } }]);
  await expect(approveHold(ctx, admin, id, everything)).rejects.toThrow(/keeps nothing any more/);
});

test("one percent of a large cluster may go", async () => {
  await using directory = await openDirectory();
  const { ids } = await staffed(directory, 1000);
  for (const id of ids.slice(0, 12)) await directory.deactivate(id);
  expect(await directory.names()).toHaveLength(990);
});

test("a change that alone is too much is held whole, and everything else flows on", async () => {
  await using directory = await openDirectory();
  const { ids, group } = await staffed(directory, 20);
  await directory.leave(group, ...ids.slice(0, 10));
  expect(await directory.names()).toHaveLength(20);
  expect(await held(directory)).toHaveLength(10);
  const [late] = await directory.people("late");
  await directory.join(group, late ?? "");
  expect(await directory.names()).toContain("late");
  for (const id of ids.slice(10, 15)) await directory.deactivate(id);
  expect(await directory.names()).toHaveLength(16);
});

test("after the window, people may go again", async () => {
  await using directory = await openDirectory();
  const { ids } = await staffed(directory, 20);
  for (const id of ids.slice(0, 6)) await directory.deactivate(id);
  expect(await directory.names()).toHaveLength(15);
  directory.pass(600_000);
  for (const id of ids.slice(6, 11)) await directory.deactivate(id);
  expect(await directory.names()).toHaveLength(10);
  expect(await held(directory)).toEqual(["u005"]);
});

test("what the directory grants again is no longer held, and goes by itself later", async () => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  const { ids, group } = await staffed(directory, 20);
  await directory.leave(group, ...ids.slice(0, 10));
  await directory.join(group, ...ids.slice(0, 9));
  expect(await held(directory)).toEqual(["u009"]);
  await directory.join(group, ids[9] ?? "");
  expect(await listHolds(ctx, "default", everyHold, page)).toMatchObject([{ hold: { state: "done" } }]);
  await directory.deactivate(ids[0] ?? "");
  expect(await directory.names()).not.toContain("u000");
});

test("one command may grant again what is held and take from somebody else", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const { ids, group } = await staffed(directory, 20);
  await directory.leave(group, ...ids.slice(0, 10));
  const members = [ids[0] ?? "", ...ids.slice(10, 19)];
  await updateGroup(ctx, scim, org, group, [{ kind: "set-members", members }]);
  expect(await held(directory)).toEqual(numbered(10).slice(1));
  expect(await directory.names()).not.toContain("u019");
});

test("a hold keeps people who are removed from the directory, and lets them go whole", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const { ids, group } = await staffed(directory, 20);
  await addKey(ctx, admin, org, "u000", ed25519Line("1"));
  await directory.leave(group, ...ids);
  await removeUser(ctx, scim, org, ids[0] ?? "");
  expect(await directory.nodes("key")).toHaveLength(1);
  expect(await held(directory)).toContain("u000");
  const [hold] = await listHolds(ctx, "default", everyHold, page);
  await approveHold(ctx, admin, hold?.hold.id ?? "", { only: ["u000"], seen: undefined });
  expect(await directory.nodes("key")).toEqual([]);
  expect(await directory.names()).not.toContain("u000");
});

test("a key that is removed by itself goes at once, though its owner is held", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const { ids, group } = await staffed(directory, 20);
  await addKey(ctx, admin, org, "u000", ed25519Line("1"));
  await directory.leave(group, ...ids);
  await removeKey(ctx, admin, org, "u000", fingerprint(parseSshKey(ed25519Line("1"))));
  expect(await directory.nodes("key")).toEqual([]);
  expect(await directory.names()).toContain("u000");
});

test("an admin's lock never waits", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const { ids, group } = await staffed(directory, 20);
  await directory.leave(group, ...ids.slice(0, 10));
  await lockUser(ctx, admin, org, "u000", "stolen laptop");
  await lockUser(ctx, admin, org, "u019", "stolen laptop");
  expect(await directory.names()).not.toContain("u000");
  expect(await directory.names()).not.toContain("u019");
  expect(await held(directory)).toHaveLength(9);
});

test("a group that is removed stays while members of it are held, and cannot be approved without them", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const { ids, group } = await staffed(directory, 20);
  await directory.leave(group, ...ids);
  await removeGroup(ctx, scim, org, group);
  expect(await directory.nodes("group")).toMatchObject([{ name: "slurm-users" }]);
  const [hold] = await listHolds(ctx, "default", everyHold, page);
  const id = hold?.hold.id ?? "";
  await expect(approveHold(ctx, admin, id, { only: ["%slurm-users"], seen: undefined })).rejects.toThrow(
    /approve them/,
  );
  await approveHold(ctx, admin, id, everything);
  expect(await directory.nodes()).toEqual([]);
});

test("an operator's rule waits too, unless it is urgent; a dry run says so and does nothing", async () => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  await staffed(directory, 20);
  const login = { kind: "login" } as const;
  const [would] = await removeRule(ctx, admin, "default", "slurm-users", login, { dryRun: true, urgent: false });
  expect(would?.held).toHaveLength(41);
  expect(await directory.names()).toHaveLength(20);
  expect(await held(directory)).toEqual([]);
  await removeRule(ctx, admin, "default", "slurm-users", login, now);
  expect(await directory.names()).toHaveLength(20);
  expect(await held(directory)).toHaveLength(21);
  await putRule(ctx, admin, "default", { group: "slurm-users", grant: login }, now);
  expect(await held(directory)).toEqual([]);
  await removeRule(ctx, admin, "default", "slurm-users", login, { dryRun: false, urgent: true });
  expect(await directory.nodes()).toEqual([]);
});

test("an operator's urgent word passes the guard, and a provider has none", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const { ids, group } = await staffed(directory, 20);
  const members = ids.slice(0, 10);
  await updateGroup(ctx, { ...scim, urgent: true }, org, group, [{ kind: "remove-members", members }]);
  expect(await directory.names()).toHaveLength(20);
  const local = await createGroup(ctx, admin, org, { displayName: "locals", externalId: undefined, members: [] });
  await putRule(ctx, admin, "default", { group: "locals", grant: { kind: "login" } }, now);
  const people = await directory.people(...Array.from({ length: 10 }, (_, n) => `l${n}`));
  await updateGroup(ctx, admin, org, local.id, [{ kind: "add-members", members: people }]);
  await updateGroup(ctx, admin, org, local.id, [{ kind: "remove-members", members: people.slice(0, 8) }]);
  expect(await directory.names()).toHaveLength(30);
  await updateGroup(ctx, { ...admin, urgent: true }, org, local.id, [{ kind: "set-members", members: [] }]);
  expect(await directory.names()).toHaveLength(28);
});

test("the guard's numbers are the operator's", async () => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  const { ids } = await staffed(directory, 20);
  await setCluster(ctx, admin, "default", { guard: { people: 2, windowSeconds: 60 } });
  for (const id of ids.slice(0, 4)) await directory.deactivate(id);
  expect(await directory.names()).toHaveLength(18);
  directory.pass(60_000);
  await directory.deactivate(ids[4] ?? "");
  expect(await directory.names()).toHaveLength(17);
  await expect(setCluster(ctx, admin, "default", { guard: { people: -1 } })).rejects.toThrow(/guard.people/);
  await expect(setCluster(ctx, admin, "default", { guard: { percent: 101 } })).rejects.toThrow(/guard.percent/);
  await expect(setCluster(ctx, admin, "default", { guard: { windowSeconds: 0 } })).rejects.toThrow(/guard.window/);
});

test("a sudo group that loses all its members at once, or one after the other, keeps the last", async () => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  const { ids } = await staffed(directory, 6);
  const wheel = await directory.group("slurm-sudo", ids.slice(0, 3));
  const sudoers = async () => (await directory.nodes("sudo", "member")).length - 6;
  expect(await sudoers()).toBe(4);
  await directory.leave(wheel, ...ids.slice(0, 3));
  expect(await sudoers()).toBe(4);
  expect(await held(directory)).toEqual(["u000", "u001", "u002"]);
  const [hold] = await listHolds(ctx, "default", everyHold, page);
  expect(hold?.hold.reason).toMatch(/sudo would have no member left/);
  await directory.join(wheel, ...ids.slice(0, 3));

  await directory.leave(wheel, ids[0] ?? "");
  await directory.leave(wheel, ids[1] ?? "");
  await directory.deactivate(ids[2] ?? "");
  expect(await sudoers()).toBe(2);
  expect(await held(directory)).toEqual(["u002"]);
});

test("the one member of a sudo group is a single removal, and never waits", async () => {
  await using directory = await openDirectory();
  const { ids } = await staffed(directory, 6);
  await directory.group("slurm-sudo", ids.slice(0, 1));
  await directory.deactivate(ids[0] ?? "");
  expect(await directory.names()).not.toContain("u000");
});

test("a hold that is not there is not found", async () => {
  await using directory = await openDirectory();
  await expect(getHold(directory.ctx, "7")).rejects.toThrow(/no hold "7"/);
  await expect(approveHold(directory.ctx, admin, "7", everything)).rejects.toThrow(/no hold/);
});

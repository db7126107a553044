/**
 * What every store engine must hold, asked of a real SQLite file through the directory's own commands. The invariants are
 * ARCHITECTURE's S1, S3, S4, S5 and proto/README.md's P6.
 */

import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commit, emptyCopy, prepare, prepareSnapshot } from "../../identity/copy.ts";
import { cut } from "../../identity/delta.ts";
import { nothing, shift } from "../../identity/digest.ts";
import type { Position } from "../../identity/position.ts";
import { print, type Resource } from "../../identity/resource.ts";
import { roles } from "../../identity/scope.ts";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { takeId } from "../../server/directory/allocation.ts";
import { seed } from "../../server/directory/clusters.ts";
import { compactLogs } from "../../server/directory/compaction.ts";
import type { Context } from "../../server/directory/context.ts";
import { createGroup, removeGroup, updateGroup } from "../../server/directory/groups.ts";
import { addKey, removeKey } from "../../server/directory/keys.ts";
import { createUser, removeUser, updateUser } from "../../server/directory/users.ts";
import { openStore } from "../../server/store/engine.ts";
import { everything } from "../../server/store/search.ts";
import { newDatabase, runs } from "../processes/postgres.ts";

const scim = { kind: "scim", connection: "okta" } as const;

async function openDirectory() {
  const folder = await mkdtemp(join(tmpdir(), "rollcall-store-"));
  let time = 1_700_000_000_000;
  const store = await openStore(await newDatabase(folder), () => time++);
  const ctx: Context = {
    store,
    now: () => time++,
    newId: randomUUID,
    newSecret: () => randomBytes(32).toString("base64url"),
  };
  await seed(ctx);
  const { org, cluster } = await store.read(async (tx) => {
    const found = await tx.clusters.byName("default");
    if (!found) throw new Error("no cluster default");
    return { org: found.org, cluster: found.id };
  });
  return {
    ctx,
    org,
    cluster,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

const person = (userName: string) => ({ userName, externalId: undefined, active: true, fullName: "", attributes: {} });

/** One random act on a directory of a few people and two groups; refusals are fine, wrong states are not. */
const anyAct = fc.record({
  act: fc.constantFrom(
    ...([
      "create",
      "remove",
      "flip",
      "rename",
      "join",
      "leave",
      "key",
      "unkey",
      "group",
      "ungroup",
      "regroup",
    ] as const),
  ),
  who: fc.nat(3),
  group: fc.constantFrom("slurm-users", "ml"),
});

type Directory = Awaited<ReturnType<typeof openDirectory>>;

async function carryOut(
  { ctx, org }: Directory,
  { act, who, group }: typeof anyAct extends fc.Arbitrary<infer T> ? T : never,
) {
  const userName = `user${who}@example.org`;
  const { user, found } = await ctx.store.read(async (tx) => ({
    user: await tx.users.byUserName(org, userName),
    found: await tx.groups.byDisplayName(org, group),
  }));
  const key = ed25519Line(`${who}`);
  switch (act) {
    case "create":
      return user ? undefined : createUser(ctx, scim, org, person(userName));
    case "remove":
      return user && removeUser(ctx, scim, org, user.id);
    case "flip":
      return user && updateUser(ctx, scim, org, user.id, (current) => ({ ...current, active: !current.active }));
    case "rename":
      return (
        user &&
        updateUser(ctx, scim, org, user.id, (current) => ({ ...current, fullName: `${current.fullName}x`.slice(-5) }))
      );
    case "join":
      return user && found && updateGroup(ctx, scim, org, found.id, [{ kind: "add-members", members: [user.id] }]);
    case "leave":
      return user && found && updateGroup(ctx, scim, org, found.id, [{ kind: "remove-members", members: [user.id] }]);
    case "key":
      return user && addKey(ctx, { kind: "admin" }, org, userName, key).catch(() => undefined);
    case "unkey":
      return (
        user && removeKey(ctx, { kind: "admin" }, org, userName, fingerprint(parseSshKey(key))).catch(() => undefined)
      );
    case "group":
      return found
        ? undefined
        : createGroup(ctx, scim, org, { displayName: group, externalId: undefined, members: [] });
    case "ungroup":
      return found && removeGroup(ctx, scim, org, found.id);
    case "regroup":
      return (
        found &&
        updateGroup(ctx, scim, org, found.id, [{ kind: "set-display-name", displayName: "slurm-users" }]).catch(
          () => undefined,
        )
      );
  }
}

describe("the log", () => {
  test("P6, S4: for any history, every delta leads from its snapshot to the other, and no revision is skipped", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyAct, { maxLength: 25 }), fc.nat(4), async (acts, share) => {
        await using directory = await openDirectory();
        const { ctx, cluster } = directory;
        for (const role of roles) expect((await held(directory, role)).position.revision).toBe(1n);
        const seen = new Map<string, { position: Position; resources: Resource[] }[]>(roles.map((role) => [role, []]));
        for (const act of acts) {
          await carryOut(directory, act);
          for (const role of roles) {
            const now = await held(directory, role);
            const states = seen.get(role) ?? [];
            const last = states.at(-1)?.position.revision ?? 1n;
            expect([last, last + 1n]).toContain(now.position.revision);
            expect(now.position.digest).toBe(shift(nothing, now.resources, []));
            if (now.position.revision !== last || states.length === 0) states.push(now);
          }
        }
        // What was overtaken is forgotten up to some revision, in two goes: what is left is enough for every delta to later ones.
        const { revision: head } = (await held(directory, "login")).position;
        const horizon = (head * BigInt(share)) / 4n;
        for (const upTo of [horizon / 2n, horizon]) {
          await ctx.store.write((tx) => tx.log.compact(cluster, upTo, 1_000n));
        }
        for (const role of roles) {
          const states = seen.get(role) ?? [];
          for (const [index, from] of states.entries()) {
            // To the next revision, and to the last one: both ends of what a slow node may lack.
            for (const to of new Set([states[index + 1], states.at(-1)])) {
              if (!to || to === from || to.position.revision < horizon) continue;
              const copy = emptyCopy();
              commit(copy, prepareSnapshot(copy, from.position, from.resources));
              const [since, until] = [from.position.revision, to.position.revision];
              const changes = await ctx.store.read((tx) => tx.log.changes(cluster, role, since, until));
              commit(copy, prepare(copy, cut(from.position, to.position, changes)));
              expect([...copy.resources.values()].map(print).sort()).toEqual(to.resources.map(print).sort());
            }
          }
        }
      }),
      { numRuns: runs(60) },
    );
  });

  test("forgets what was overtaken long ago, and nothing else: not what a guard counts, nor who was ever told", async () => {
    await using directory = await openDirectory();
    const { ctx, org, cluster } = directory;
    const user = await createUser(ctx, scim, org, person("ada"));
    await createGroup(ctx, scim, org, { displayName: "slurm-users", externalId: undefined, members: [user.id] });
    const rename = (fullName: string) => updateUser(ctx, scim, org, user.id, (current) => ({ ...current, fullName }));
    for (let n = 0; n < 120; n++) await rename(`Ada ${n}`);
    const rows = async () => (await ctx.store.read((tx) => tx.tables.after("log", undefined, 10_000))).length;
    const before = await rows();
    expect(before).toBeGreaterThan(120);
    const keys = [`user/${user.uid}`];
    const told = await ctx.store.read((tx) => tx.estate.everTold(org, keys));
    const { committedAt } = (await ctx.store.read((tx) => tx.log.revision(cluster, 60n))) ?? { committedAt: 0 };
    expect(await compactLogs(ctx, 0)).toBe(0);
    const gone = await compactLogs(ctx, committedAt + 1);
    expect(gone).toBeGreaterThan(50);
    expect(await rows()).toBe(before - gone);
    expect(await compactLogs(ctx, committedAt + 1)).toBe(0);
    await compactLogs(ctx, Number.MAX_SAFE_INTEGER);
    expect(await rows()).toBeLessThan(10);
    await removeUser(ctx, scim, org, user.id);
    await compactLogs(ctx, Number.MAX_SAFE_INTEGER);
    expect(await ctx.store.read((tx) => tx.estate.everTold(org, keys))).toEqual(told);
    // The digest of each revision stays: it is what tells a node's position from that of a log that never was.
    const { revisions } = await ctx.store.read(async (tx) => ({
      revisions: await tx.log.revisions(cluster, { offset: 0, limit: 1000 }),
    }));
    expect(revisions.length).toBeGreaterThan(120);
  });

  test("a controller is sent no keys", async () => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const user = await createUser(ctx, scim, org, person("ada"));
    await createGroup(ctx, scim, org, { displayName: "slurm-users", externalId: undefined, members: [user.id] });
    await addKey(ctx, { kind: "admin" }, org, "ada", ed25519Line("ada"));
    expect((await held(directory, "login")).resources.map(({ kind }) => kind).sort()).toEqual([
      "group",
      "key",
      "member",
      "user",
    ]);
    expect((await held(directory, "controller")).resources.map(({ kind }) => kind).sort()).toEqual([
      "group",
      "member",
      "user",
    ]);
  });
});

async function held({ ctx, cluster }: Directory, role: (typeof roles)[number]) {
  return ctx.store.read(async (tx) => {
    const found = await tx.clusters.get(cluster);
    if (!found) throw new Error("the cluster is gone");
    return { position: found.head[role], resources: await tx.log.snapshot(cluster, role) };
  });
}

describe("S3: an id is one person's for ever", () => {
  test("through any history of removing and making again", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyAct, { maxLength: 40 }), async (acts) => {
        await using directory = await openDirectory();
        const { ctx, org } = directory;
        const subjects = new Map<string, string>();
        for (const act of acts) {
          await carryOut(directory, act);
          const { users, groups } = await ctx.store.read(async (tx) => ({
            users: (await tx.users.list(org, undefined, everything, { offset: 0, limit: 100 })).users,
            groups: (await tx.groups.list(org, undefined, everything, { offset: 0, limit: 100 })).groups,
          }));
          for (const { id, uid, name } of users) claim(subjects, [`id ${uid}`, `name ${name}`], id);
          for (const { id, gid, name } of groups) claim(subjects, [`id ${gid}`, `name ${name}`], id);
        }
      }),
      { numRuns: runs(100) },
    );
  });
});

function claim(subjects: Map<string, string>, claims: readonly string[], subject: string): void {
  for (const what of claims) {
    expect(subjects.get(what) ?? subject, `${what} has two subjects`).toBe(subject);
    subjects.set(what, subject);
  }
}

describe("S5: parallel commands", () => {
  test("20 creates of one userName make one user, one uid and 19 refusals", async () => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => createUser(ctx, scim, org, person("Ada@x"))));
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const { total } = await ctx.store.read((tx) => tx.users.list(org, undefined, everything, { offset: 0, limit: 1 }));
    expect(total).toBe(1);
  });

  test("40 member edits of one group lose none", async () => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const group = await createGroup(ctx, scim, org, { displayName: "slurm-users", externalId: undefined, members: [] });
    const users = await Promise.all(
      Array.from({ length: 40 }, (_, n) => createUser(ctx, scim, org, person(`user${n}`))),
    );
    await Promise.all(
      users.map(({ id }) => updateGroup(ctx, scim, org, group.id, [{ kind: "add-members", members: [id] }])),
    );
    expect(await ctx.store.read((tx) => tx.groups.memberIds(group.id))).toHaveLength(40);
    expect((await held(directory, "login")).resources.filter(({ kind }) => kind === "member")).toHaveLength(40);
  });

  test("a command that is refused half-way leaves nothing behind", async () => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const before = await held(directory, "login");
    const group = { displayName: "slurm-users", externalId: undefined, members: ["nobody"] };
    await expect(createGroup(ctx, scim, org, group)).rejects.toThrow(/no user or group "nobody"/);
    expect(await held(directory, "login")).toEqual(before);
    expect(
      (await ctx.store.read((tx) => tx.groups.list(org, undefined, everything, { offset: 0, limit: 1 }))).total,
    ).toBe(0);
    const made = await createGroup(ctx, scim, org, { ...group, members: [] });
    expect(made.gid).toBe(70_000);
  });
});

test("a user outside every login group is in no cluster; inactive is out at once", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const ada = await createUser(ctx, scim, org, person("ada"));
  expect((await held(directory, "login")).resources).toEqual([]);
  await createGroup(ctx, scim, org, { displayName: "SLURM-Users", externalId: undefined, members: [ada.id] });
  expect((await held(directory, "login")).resources).toHaveLength(3);
  await updateUser(ctx, scim, org, ada.id, (current) => ({ ...current, active: false }));
  expect((await held(directory, "login")).resources.map(({ kind }) => kind)).toEqual(["group"]);
});

test("only its own connection changes what SCIM made, and none what an admin made", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const local = await createUser(ctx, { kind: "admin" }, org, person("local"));
  const other = await createUser(ctx, { kind: "scim", connection: "entra" }, org, person("other"));
  for (const { id } of [local, other]) {
    await expect(removeUser(ctx, scim, org, id)).rejects.toMatchObject({ reason: "not-found" });
    await expect(updateUser(ctx, scim, org, id, (user) => user)).rejects.toMatchObject({ reason: "not-found" });
  }
  await expect(createUser(ctx, scim, org, person("LOCAL"))).rejects.toMatchObject({ reason: "conflict" });
});

test("a snapshot is the state at its making, though it is first read later; the store goes on", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  await createUser(ctx, scim, org, person("ada"));
  const page = { offset: 0, limit: 10 };
  const names = async (reader: Pick<Context["store"], "read">) =>
    (await reader.read((tx) => tx.users.list(org, undefined, everything, page))).users.map(({ userName }) => userName);
  {
    await using before = await ctx.store.snapshot();
    await createUser(ctx, scim, org, person("bob"));
    await using after = await ctx.store.snapshot();
    await createUser(ctx, scim, org, person("cyd"));
    expect(await Promise.all([before, after, before, ctx.store].map(names))).toEqual([
      ["ada"],
      ["ada", "bob"],
      ["ada"],
      ["ada", "bob", "cyd"],
    ]);
    await expect(before.read((tx) => tx.users.remove("x"))).rejects.toThrow(/read-?only/);
  }
  expect(await names(ctx.store)).toEqual(["ada", "bob", "cyd"]);
});

test("a range that is used up refuses, and takes nothing beyond its end", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const take = (last: number) => ctx.store.write((tx) => takeId(tx, org, { first: 300_000, last }, "someone"));
  expect([await take(300_001), await take(300_001)]).toEqual([300_000, 300_001]);
  await expect(take(300_001)).rejects.toMatchObject({ reason: "exhausted" });
  expect(await take(300_010)).toBe(300_002);
});

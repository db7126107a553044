/** Adopting an estate: numbers and names that files on the cluster's disks carry stay whose they are (S3). */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseGrant } from "../../identity/grant.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { listAudit } from "../../server/directory/audit.ts";
import { listHolds } from "../../server/directory/holds.ts";
import { type EstateFile, type ImportOptions, importEstate } from "../../server/directory/import.ts";
import { putRule } from "../../server/directory/rules.ts";
import { createUser } from "../../server/directory/users.ts";
import { everything } from "../../server/store/search.ts";
import { hostileInputs } from "../hostile.ts";
import { runs } from "../processes/postgres.ts";
import { admin, openDirectory, person, scim, type TestDirectory } from "./directory.ts";

const wanted: ImportOptions = { dryRun: false, create: false, cluster: undefined };
const page = { offset: 0, limit: 1000 };

const passwd = (...lines: string[]): EstateFile => file("passwd", lines);
const group = (...lines: string[]): EstateFile => file("group", lines);

function file(kind: EstateFile["kind"], lines: readonly string[]): EstateFile {
  return { kind, name: kind, text: lines.map((line) => `${line}\n`).join("") };
}

/** An account as an export of a directory says it, with more lines. */
function ldif(name: string, uid: number, gid: number, ...more: string[]): EstateFile {
  return file("ldif", [
    `dn: uid=${name}`,
    "objectClass: posixAccount",
    `uid: ${name}`,
    `uidNumber: ${uid}`,
    `gidNumber: ${gid}`,
    `homeDirectory: /home/${name}`,
    "loginShell: /bin/bash",
    ...more,
  ]);
}

function account(name: string, uid: number, gid = uid): string {
  return `${name}:x:${uid}:${gid}:${name}:/home/${name}:/bin/bash`;
}

async function people({ ctx, org }: TestDirectory) {
  const { users } = await ctx.store.read((tx) => tx.users.list(org, undefined, everything, page));
  return users.map(({ userName, name, uid, gid, home, origin }) => ({
    userName,
    name,
    uid: Number(uid),
    gid,
    home,
    origin,
  }));
}

test("accounts are matched by mapping, name and e-mail, and keep their numbers; a second import changes nothing", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const mail = { attribute: "emails", place: 0, value: "carol@example.org" };
  await directory.people("ada@example.org", "b.ob@example.org");
  await createUser(ctx, scim, org, { ...person("c123"), values: [mail] });
  const lab = await directory.group("lab", []);
  const files = [
    passwd("root:x:0:0:root:/root:/bin/bash", account("ada", 5001), account("bob", 5002, 6000), account("carol", 5003)),
    group("root:x:0:", "ada:x:5001:", "lab:x:6000:ada,bob", "old:x:6001:"),
    file("map", ["bob b.ob@example.org"]),
    ldif("carol", 5003, 5003, "mail: Carol@example.org"),
  ];
  const dry = await importEstate(ctx, admin, org, files, { ...wanted, dryRun: true });
  expect(dry).toMatchObject({
    applied: false,
    problems: [],
    plan: { system: 2, closed: [{ name: "old", numbers: [6001] }] },
  });
  expect((await people(directory)).map(({ uid }) => uid)).toEqual([200_000, 200_001, 200_002]);

  expect(await importEstate(ctx, admin, org, files, wanted)).toMatchObject({ applied: true, problems: [] });
  expect(await people(directory)).toMatchObject([
    { userName: "ada@example.org", name: "ada", uid: 5001, gid: undefined, home: "/home/ada", origin: "scim:okta" },
    { userName: "b.ob@example.org", name: "bob", uid: 5002, gid: 6000 },
    { userName: "c123", name: "carol", uid: 5003 },
  ]);
  expect(await ctx.store.read((tx) => tx.groups.get(org, lab))).toMatchObject({ name: "lab", gid: 6000 });

  const again = await importEstate(ctx, admin, org, files, wanted);
  expect(again.problems).toEqual([]);
  expect(again.plan).toMatchObject({ people: [], groups: [], closed: [], unchanged: 4 });
  // What was closed is nobody's, and what was given back to nobody neither.
  const [late] = await directory.people("old@example.org");
  const { users } = await ctx.store.read((tx) => tx.users.list(org, undefined, everything, page));
  expect(users.find(({ id }) => id === late)).toMatchObject({ name: "old2", uid: 200_003 });
});

test("with --create, those who match nobody become local users and groups, with keys and members, on the nodes at once", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const exported = ldif("ada", 5001, 6000, "cn: Ada Lovelace", `sshPublicKey: ${ed25519Line("ada")}`);
  const files = [exported, group("slurm-users:x:6000:ada")];
  const { problems, effects } = await importEstate(ctx, admin, org, files, { ...wanted, create: true });
  expect(problems).toEqual([]);
  expect(effects).toHaveLength(1);
  const told = await directory.nodes("user", "group", "member", "key");
  expect(told.sort((a, b) => (a.kind < b.kind ? -1 : 1))).toMatchObject([
    { kind: "group", name: "slurm-users", gid: 6000 },
    { kind: "key", uid: 5001 },
    { kind: "member", gid: 6000, uid: 5001 },
    { kind: "user", name: "ada", uid: 5001, gid: 6000, gecos: "Ada Lovelace" },
  ]);
  expect(await listHolds(ctx, "default", { done: true }, page)).toEqual([]);
});

test("every problem is told at once, and one is enough that nothing is written", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const [ada = ""] = await directory.people("ada@example.org", "bob@example.org");
  await directory.group("slurm-users", [ada]);
  const before = await people(directory);
  const files = [
    passwd(
      account("ada", 5001),
      account("bob", 5002, 27),
      account("Eve", 5003),
      account("dan", 200_001),
      account("joe", 5005),
      account("jim", 5005),
      "kim:x:5006:5006::/root:/bin/evil",
      "short:x",
      account("fine", 5009),
    ),
    group("eve:x:6001:", "joe2:x:5005:", "ml:x:65535:"),
  ];
  const { problems, applied } = await importEstate(ctx, admin, org, files, { ...wanted, create: true });
  expect(applied).toBe(false);
  const told = problems.map(({ file: name, line, field }) => `${name}:${line} ${field}`).sort();
  expect(told).toEqual([
    "group:1 name",
    "group:2 gid",
    "group:3 gid",
    "passwd:1 uid",
    "passwd:2 gid",
    "passwd:3 name",
    "passwd:4 uid",
    "passwd:6 uid",
    "passwd:7 home",
    "passwd:7 shell",
    "passwd:8 line",
  ]);
  expect(problems.find(({ line, file: name }) => name === "passwd" && line === 1)?.rule).toMatch(/nodes know ada/);
  expect(await people(directory)).toEqual(before);
});

test("a Slurm dump gives rules to groups of its accounts' names, and never an admin level", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const [ada = ""] = await directory.people("ada");
  await directory.group("slurm-users", [ada]);
  await directory.group("Physics", [ada]);
  const dump = file("sacctmgr-dump", [
    "Cluster - 'hpc':Fairshare=1",
    "Parent - 'root'",
    "User - 'root':DefaultAccount='root':AdminLevel='Administrator'",
    "Account - 'physics':Description='p':Organization='p'",
    "Account - 'old':Description='o':Organization='o'",
    "Parent - 'physics'",
    "User - 'ada':DefaultAccount='physics':AdminLevel='Operator'",
  ]);
  await expect(importEstate(ctx, admin, org, [dump], wanted)).rejects.toThrow(/needs the cluster/);
  const { problems, slurm } = await importEstate(ctx, admin, org, [dump], { ...wanted, cluster: "default" });
  expect(problems).toEqual([]);
  expect(slurm).toMatchObject({ unmatched: ["old"], admins: ["ada"] });
  const told = await directory.nodes("account", "association");
  expect(told.sort((a, b) => (a.kind < b.kind ? -1 : 1))).toMatchObject([
    { kind: "account", name: "physics", parent: undefined },
    { kind: "association", account: "physics", isDefault: true, adminLevel: "none" },
  ]);
  const stranger = file("sacctmgr-dump", ["Parent - 'physics'", "User - 'mallory':DefaultAccount='physics'"]);
  const refused = await importEstate(ctx, admin, org, [stranger], { ...wanted, cluster: "default" });
  expect(refused.problems).toMatchObject([{ field: "user", value: "mallory" }]);
});

describe("hostile inputs", () => {
  // In a file everything is text: what is another type elsewhere, or has line breaks, is something else here.
  const cases = [
    ...hostileInputs("login", "reject").map(([title, name]) => [title, { name }] as const),
    ...hostileInputs("uid", "reject").map(([title, uid]) => [title, { uid }] as const),
    ...hostileInputs("home", "reject").map(([title, home]) => [title, { home }] as const),
    ...hostileInputs("shell", "reject").map(([title, shell]) => [title, { shell }] as const),
    ...hostileInputs("gid", "reject").map(([title, gid]) => [title, { gid }] as const),
  ];

  const isOneField = (value: unknown): boolean =>
    (typeof value === "string" && !value.includes("\n")) || typeof value === "number";

  test.each(cases.filter(([, value]) => Object.values(value).every(isOneField)))("%s", async (_, value) => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const usual = { name: "mallory", uid: 5001, gid: undefined, home: "/home/m", shell: "/bin/bash" };
    const { name, uid, gid = uid, home, shell } = { ...usual, ...value };
    const line = [name, "x", uid, gid, "", home, shell].map(String).join(":");
    const { plan, applied } = await importEstate(ctx, admin, org, [passwd(line)], { ...wanted, create: true });
    // A comment, or a number of the system that is left alone; everything else is a problem.
    if (applied) expect(plan.system === 1 || line.startsWith("#")).toBe(true);
    expect(await people(directory)).toEqual([]);
  });

  test.each(hostileInputs("group", "reject").filter(([, value]) => isOneField(value)))("group %s", async (_, name) => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const options = { ...wanted, create: true };
    const { problems } = await importEstate(ctx, admin, org, [group(`${String(name)}:x:6001:`)], options);
    expect(problems).not.toEqual([]);
  });

  // In LDIF, a value with line breaks is base64.
  test.each(
    hostileInputs("sshKey", "reject", "convert-or-reject", "reject-or-strip").filter(
      ([, value]) => typeof value === "string",
    ),
  )("sshKey %s", async (_, key) => {
    await using directory = await openDirectory();
    const { ctx, org } = directory;
    const exported = ldif("ada", 5001, 5001, `sshPublicKey:: ${Buffer.from(String(key)).toString("base64")}`);
    const { problems } = await importEstate(ctx, admin, org, [exported], { ...wanted, create: true });
    expect(problems).toMatchObject([{ line: 1, field: expect.stringMatching(/^sshpublickey$/i), value: "" }]);
    expect(await people(directory)).toEqual([]);
  });
});

test("an operator's rules outlast an import, and what it adds is in the audit, with keys and members", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const [ada = ""] = await directory.people("ada");
  await directory.group("Physics", [ada]);
  await directory.group("Optics", [ada]);
  const limits = { maxjobs: "5" };
  const grant = parseGrant({
    kind: "account",
    account: "physics",
    isDefault: true,
    adminLevel: "operator",
    limits,
  });
  await putRule(ctx, admin, "default", { group: "physics", grant }, { dryRun: false, urgent: false });
  const files = [
    file("sacctmgr-dump", ["Parent - 'root'", "Account - 'physics'", "Parent - 'physics'", "Account - 'optics'"]),
    ldif("bob", 5002, 5002, `sshPublicKey: ${ed25519Line("bob")}`),
    group("lab:x:6000:bob,ada"),
  ];
  const { problems, slurm } = await importEstate(ctx, admin, org, files, {
    ...wanted,
    create: true,
    cluster: "default",
  });
  expect([problems, slurm.kept]).toEqual([[], ["physics"]]);
  const rules = await ctx.store.read((tx) => tx.clusters.rules(directory.cluster));
  expect(rules.filter((rule) => rule.grant.kind === "account")).toMatchObject([
    { group: "Optics", grant: { account: "optics", parent: "physics", adminLevel: "none" } },
    { group: "physics", grant },
  ]);
  const { entries } = await listAudit(ctx, org, {}, undefined, 1000);
  const told = entries.map(({ action, after }) => `${action} ${after ?? ""}`).join("\n");
  expect(told).toMatch(/rule\.add .*optics/);
  expect(told).toMatch(/user\.adopt .*"keys":\["SHA256:/);
  expect(told).toMatch(/group\.join .*"members":\["[^"]+","[^"]+"\]/);

  const taken = ldif("eve", 5003, 5003, `sshPublicKey: ${ed25519Line("bob")}`);
  expect(await importEstate(ctx, admin, org, [taken], { ...wanted, create: true })).toMatchObject({
    applied: false,
    problems: [{ field: "sshPublicKey" }],
  });
});

test("for any estate and directory, either nothing is written, or every number is one's and no other's was changed", async () => {
  const anyLine = fc.record({
    name: fc.constantFrom("ada", "bob", "cy", "dee", "eve"),
    uid: fc.integer({ min: 5000, max: 5004 }),
    primary: fc.constantFrom(undefined, 5000, 6000, 6001, 6002, 70_000, 70_001),
  });
  const anyTeam = fc.record({
    name: fc.constantFrom("lab", "physics", "physics_lab", "slurm-users", "ada", "new"),
    gid: fc.constantFrom(5001, 6000, 6001, 6002),
  });
  const anyFiles = fc.record({
    lines: fc.array(anyLine, { maxLength: 4 }),
    teams: fc.uniqueArray(anyTeam, { maxLength: 3, selector: ({ name }) => name }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.constantFrom("ada", "bob", "cy"), { maxLength: 3 }),
      fc.array(anyFiles, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (users, imports, create) => {
        await using directory = await openDirectory();
        const { ctx, org } = directory;
        const ids = await directory.people(...users);
        await directory.group("slurm-users", ids.slice(0, 1));
        await directory.group("physics", ids.slice(1));
        // Its POSIX name is another than its display name: the files may have either, or both.
        await directory.group("Physics_Lab", []);
        const owners = new Map<string, string>();
        for (const { lines, teams } of imports) {
          const before = [await people(directory), await groupsOf(directory)];
          const files = [
            passwd(...lines.map(({ name, uid, primary }) => account(name, uid, primary ?? uid))),
            group(...teams.map(({ name, gid }) => `${name}:x:${gid}:ada`)),
          ];
          const { applied, plan } = await importEstate(ctx, admin, org, files, { ...wanted, create });
          const [users_, groups] = [await people(directory), await groupsOf(directory)];
          if (!applied) expect([users_, groups]).toEqual(before);
          if (applied) {
            // Once is enough: what was imported is as it should be.
            const again = await importEstate(ctx, admin, org, files, { ...wanted, create });
            expect(again).toMatchObject({ applied: true, plan: { people: [], groups: [], closed: [] } });
          }
          const touched = new Set(plan.people.map(({ person: whom, name }) => whom?.userName ?? name));
          expect(users_.filter(({ userName }) => !touched.has(userName))).toEqual(
            before[0]?.filter((each) => "userName" in each && !touched.has(each.userName)),
          );
          const gids = new Set([...groups.map(({ gid }) => gid)]);
          for (const { gid } of users_) if (gid !== undefined) expect(gids).toContain(gid);
          for (const [number, owner] of [
            ...users_.map(({ uid, userName }) => [uid, `user ${userName}`] as const),
            ...groups.map(({ gid, displayName }) => [gid, `group ${displayName}`] as const),
          ]) {
            expect(owners.get(`${number}`) ?? owner).toBe(owner);
            owners.set(`${number}`, owner);
          }
        }
      },
    ),
    { numRuns: runs(80) },
  );
});

async function groupsOf({ ctx, org }: TestDirectory) {
  const groups = await ctx.store.read((tx) => tx.estate.groups(org));
  return groups.map(({ displayName, name, gid }) => ({ displayName, name, gid }));
}

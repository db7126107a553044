/**
 * POSIX identities (S3): a number or a name is one subject's for ever, whatever is done to whom in which order; and what
 * an org's rules make of what is stated.
 */

import fc from "fast-check";
import { expect, test } from "vitest";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { editAccount, localInput, renameAccount } from "../../server/directory/accounts.ts";
import { createGroup, removeGroup, updateGroup } from "../../server/directory/groups.ts";
import { importEstate } from "../../server/directory/import.ts";
import { addKey, expireKeys } from "../../server/directory/keys.ts";
import { lockUser, unlockUser } from "../../server/directory/locks.ts";
import { createOrg, setOrg } from "../../server/directory/orgs.ts";
import { createUser, removeUser, updateUser } from "../../server/directory/users.ts";
import { everything } from "../../server/store/search.ts";
import { admin, openDirectory, person, scim, type TestDirectory } from "./directory.ts";

const page = { offset: 0, limit: 1000 };
const acts = [
  "create",
  "create",
  "local",
  "remove",
  "re-create",
  "rename",
  "lock",
  "unlock",
  "group",
  "drop group",
  "import",
  "supplied",
] as const;
const anyAct = fc.record({ act: fc.constantFrom(...acts), who: fc.nat(5), n: fc.nat(30) });

test("through any history, no number and no name has two subjects, and none changes but a name that is renamed", async () => {
  let done = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(anyAct, { minLength: 60, maxLength: 120 }), async (history) => {
      await using directory = await openDirectory();
      const { ctx, org } = directory;
      // A small range, so that numbers run short and adopted ones stand in the way.
      await setOrg(ctx, admin, "default", { userIds: { first: 5000, last: 5040 } });
      const owners = new Map<number, string>();
      const names = new Map<string, string>();
      const numberOf = new Map<string, number>();
      const nameOf = new Map<string, string>();
      for (const { act, who, n } of history) {
        const renamed = await perform(directory, act, `p${who}`, n).then(
          () => act === "rename" || act === "import",
          refused,
        );
        done += 1;
        const subjects = await ctx.store.read(async (tx) => {
          const { users } = await tx.users.list(org, undefined, everything, page);
          const { groups } = await tx.groups.list(org, undefined, everything, page);
          return [
            ...users.map(({ id, name, uid }) => ({ id, name, number: Number(uid) })),
            ...groups.map(({ id, name, gid }) => ({ id, name, number: Number(gid) })),
          ];
        });
        for (const { id, name, number } of subjects) {
          expect(owners.get(number) ?? id, `${act} ${number}`).toBe(id);
          expect(names.get(name) ?? id, `${act} ${name}`).toBe(id);
          // An import is the one way to another number, and only for somebody whom no node ever knew.
          if (act !== "import") expect(numberOf.get(id) ?? number).toBe(number);
          if (!renamed) expect(nameOf.get(id) ?? name).toBe(name);
          owners.set(number, id);
          names.set(name, id);
          numberOf.set(id, number);
          nameOf.set(id, name);
        }
      }
    }),
    { numRuns: 30, endOnFailure: true },
  );
  expect(done).toBeGreaterThan(1800);
});

async function perform(directory: TestDirectory, act: (typeof acts)[number], name: string, n: number) {
  const { ctx, org } = directory;
  const userName = `${name}@example.org`;
  const found = await ctx.store.read((tx) => tx.users.byUserName(org, userName));
  const group = await ctx.store.read((tx) => tx.groups.byDisplayName(org, `g${n % 4}`));
  switch (act) {
    case "create":
      return directory.people(userName);
    case "local":
      return createUser(ctx, admin, org, localInput({ ...local, userName: `l${n}`, uidNumber: undefined }));
    case "supplied":
      return createUser(ctx, scim, org, { ...person(userName), uidNumber: 5000 + n });
    case "remove":
      return removeUser(ctx, admin, org, found?.id ?? "").catch(() => removeUser(ctx, scim, org, found?.id ?? ""));
    case "re-create":
      await removeUser(ctx, scim, org, found?.id ?? "");
      return directory.people(userName);
    case "rename":
      return renameAccount(ctx, admin, org, userName, `n${n}`);
    case "lock":
      return lockUser(ctx, admin, org, userName, "because");
    case "unlock":
      return unlockUser(ctx, admin, org, userName);
    case "group":
      return createGroup(ctx, scim, org, {
        displayName: `g${n % 4}`,
        externalId: undefined,
        members: found ? [found.id] : [],
      });
    case "drop group":
      return removeGroup(ctx, scim, org, group?.id ?? "");
    case "import": {
      const text = `${name}:x:${5000 + n}:${5000 + n}::/home/${name}:/bin/bash\n`;
      const files = [{ kind: "passwd", name: "passwd", text } as const];
      return importEstate(ctx, admin, org, files, { dryRun: false, create: n % 2 === 0, cluster: undefined });
    }
  }
}

const local = { displayName: "", givenName: "", familyName: "", email: "", home: undefined, shell: undefined } as const;

function refused(error: unknown): false {
  if (error instanceof Error && error.name === "Refusal") return false;
  throw error;
}

async function nameOf({ ctx, org }: TestDirectory, input: ReturnType<typeof person>): Promise<string> {
  return (await createUser(ctx, scim, org, input)).name;
}

test("names are made by the org's rule, from what is stated, with a ladder for the second of a name", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  await setOrg(ctx, admin, "default", { userNames: "{name.givenName:1}{name.familyName}", spaces: "dash" });
  const ada = { ...person("x1"), attributes: { name: { givenName: "Ada", familyName: "Lovelace" } } };
  expect(await nameOf(directory, ada)).toBe("alovelace");
  expect(await nameOf(directory, { ...ada, userName: "x2" })).toBe("alovelace2");
  await expect(nameOf(directory, person("x3"))).rejects.toThrow(/name.givenName is missing: the org's rule/);
  const { name } = await createGroup(ctx, scim, org, { displayName: "Test SCIM", externalId: undefined, members: [] });
  expect(name).toBe("test-scim");
  await expect(setOrg(ctx, admin, "default", { userNames: "fixed" })).rejects.toThrow(/names everybody alike/);
  await expect(setOrg(ctx, admin, "default", { home: "/{name}/x" })).rejects.toThrow(/begin with a folder/);
  await expect(setOrg(ctx, admin, "default", { userIds: { first: 1, last: 9 } })).rejects.toThrow(/the system/);
  await expect(setOrg(ctx, admin, "default", { userIds: { first: 70_000, last: 80_000 } })).rejects.toThrow(/overlap/);
});

test("homes and shells follow cluster and org, but for who has their own", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const ids = await directory.people("ada", "bob");
  await directory.group("slurm-users", ids);
  await editAccount(ctx, admin, org, "bob", { home: "/data/bob", shell: "/bin/zsh" });
  await setOrg(ctx, admin, "default", { home: "/home/{org}/{cluster}/{name}", shell: "/bin/sh" });
  expect(await directory.nodes("user")).toMatchObject([
    { name: "ada", home: "/home/default/default/ada", shell: "/bin/sh" },
    { name: "bob", home: "/data/bob", shell: "/bin/zsh" },
  ]);
  await expect(editAccount(ctx, admin, org, "bob", { shell: "/bin/evil" })).rejects.toThrow(/shell/);
  await expect(editAccount(ctx, admin, org, "bob", { home: "/root" })).rejects.toThrow(/home/);
  await editAccount(ctx, admin, org, "bob", { home: "", shell: "" });
  expect(await directory.nodes("user")).toMatchObject([{}, { home: "/home/default/default/bob", shell: "/bin/sh" }]);
});

test("a rename is an operator's word: on every node at once, and the old name stays taken", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const ids = await directory.people("ada", "bob");
  await directory.group("slurm-users", ids);
  await renameAccount(ctx, admin, org, "ada", "countess");
  expect(await directory.names()).toEqual(["bob", "countess"]);
  await expect(renameAccount(ctx, admin, org, "bob", "ada")).rejects.toThrow(/is or was somebody's/);
  await expect(renameAccount(ctx, admin, org, "bob", "root")).rejects.toThrow(/reserved/);
  await renameAccount(ctx, admin, org, "countess", "ada");
  expect(await directory.names()).toEqual(["ada", "bob"]);
});

test("local people need no identity provider; what a provider states, an admin does not change", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const lo = await createUser(
    ctx,
    admin,
    org,
    localInput({ ...local, userName: "lo", displayName: "Lo Cal", uidNumber: 200_500 }),
  );
  const [ada = ""] = await directory.people("ada");
  const group = await createGroup(ctx, admin, org, {
    displayName: "slurm-users",
    externalId: undefined,
    members: [lo.id, ada],
  });
  expect(await directory.nodes("user")).toMatchObject([{ name: "ada" }, { name: "lo", uid: 200_500, gecos: "Lo Cal" }]);
  await expect(updateUser(ctx, admin, org, ada, (user) => ({ ...user, active: false }))).rejects.toThrow(
    /"okta" owns it/,
  );
  await expect(removeUser(ctx, admin, org, ada)).rejects.toThrow(/owns it/);
  await expect(removeUser(ctx, scim, org, lo.id)).rejects.toThrow(/no user/);
  await expect(updateGroup(ctx, scim, org, group.id, [{ kind: "set-members", members: [] }])).rejects.toThrow(
    /no group/,
  );
  await expect(directory.people("LO")).rejects.toThrow(/another user's/);
  await editAccount(ctx, admin, org, "lo", { active: false });
  expect(await directory.names()).toEqual(["ada"]);
  // Who leaves the provider leaves the local group.
  await removeUser(ctx, scim, org, ada);
  expect(await directory.names()).toEqual([]);
});

test("a key goes by itself when its time has come, and a clock that is set back does not bring it back", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  const [ada = ""] = await directory.people("ada");
  await directory.group("slurm-users", [ada]);
  const at = ctx.now() + 60_000;
  await addKey(ctx, admin, org, "ada", ed25519Line("a"), at);
  await addKey(ctx, admin, org, "ada", ed25519Line("b"));
  const keys = async () => (await directory.nodes("key")).flatMap((key) => (key.kind === "key" ? [key.expires] : []));
  expect(new Set(await keys())).toEqual(new Set([Math.floor(at / 1000), undefined]));
  directory.pass(50_000);
  expect(await expireKeys(ctx)).toBe(0);
  directory.pass(10_000);
  expect(await expireKeys(ctx)).toBe(1);
  expect(await keys()).toEqual([undefined]);
  directory.pass(-120_000);
  expect(await expireKeys(ctx)).toBe(0);
  expect(await keys()).toEqual([undefined]);
  await expect(addKey(ctx, admin, org, "ada", ed25519Line("c"), ctx.now() - 1)).rejects.toThrow(/in the future/);
  await expect(addKey(ctx, admin, org, "ada", ed25519Line("c"), 1e18)).rejects.toThrow(/at most 10 years/);
  await expect(addKey(ctx, admin, org, "ada", ed25519Line("c"), Number.NaN)).rejects.toThrow(/expires_at/);
});

test("a person has at most fifty keys, and a key one person", async () => {
  await using directory = await openDirectory();
  const { ctx, org } = directory;
  await directory.people("ada", "bob");
  for (let n = 0; n < 50; n++) await addKey(ctx, admin, org, "ada", ed25519Line(`${n}`));
  await expect(addKey(ctx, admin, org, "ada", ed25519Line("50"))).rejects.toThrow(/50 keys, which is the most/);
  await expect(addKey(ctx, admin, org, "bob", ed25519Line("1"))).rejects.toThrow(
    `the key ${fingerprint(parseSshKey(ed25519Line("1")))} is another user's`,
  );
});

test("another org has names, numbers and rules of its own", async () => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  const other = await createOrg(ctx, admin, "other");
  await directory.people("ada");
  const { name, uid } = await createUser(ctx, scim, other.id, person("ada"));
  expect([name, uid]).toEqual(["ada", 200_000]);
});

/** POSIX identities: what an org's rules make of what is stated. */

import { expect, test } from "vitest";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import { ed25519Line } from "../../identity/testing.ts";
import { editAccount, localInput, renameAccount } from "../../server/directory/accounts.ts";
import { createGroup, updateGroup } from "../../server/directory/groups.ts";
import { addKey, expireKeys } from "../../server/directory/keys.ts";
import { createOrg, getOrg, type OrgEdit, setOrg } from "../../server/directory/orgs.ts";
import { createUser, removeUser, updateUser } from "../../server/directory/users.ts";
import { admin, openDirectory, person, scim, type TestDirectory } from "./directory.ts";

const local = { displayName: "", givenName: "", familyName: "", email: "", home: undefined, shell: undefined } as const;

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

test.each<[field: string, edit: OrgEdit]>([
  ["user_names", { userNames: "static" }],
  ["user_names", { userNames: "{password}" }],
  ["user_names", { userNames: "{userName" }],
  ["group_names", { groupNames: "{userName}" }],
  ["spaces", { spaces: "underscore" }],
  ["supplied_ids", { suppliedIds: "maybe" }],
  ["user_ids", { userIds: { first: 0, last: 5000 } }],
  ["user_ids", { userIds: { first: 6000, last: 5000 } }],
  ["user_ids", { userIds: { first: 60_000, last: 70_000 } }],
  ["group_ids", { groupIds: { first: 27, last: 27 } }],
  ["group_ids", { groupIds: { first: 200_000, last: 200_100 } }],
  ["home", { home: "/home/everybody" }],
  ["home", { home: "/{name}" }],
  ["home", { home: "/home/{name}/../root" }],
  ["home", { home: "/home/{name}:x" }],
  ["shell", { shell: "/bin/evil" }],
  ["shell", { shell: "bash" }],
  ["shell", { shells: ["/bin/sh"] }],
  ["shell", { shells: ["/bin/bash\n"] }],
])("an org's %s cannot be %j: it is refused by name, and nothing is set", async (field, edit) => {
  await using directory = await openDirectory();
  const { ctx } = directory;
  const before = await getOrg(ctx, "default");
  await expect(setOrg(ctx, admin, "default", { ...edit, spaces: edit.spaces ?? "dash" })).rejects.toMatchObject({
    reason: "invalid",
    message: expect.stringContaining(field),
  });
  expect(await getOrg(ctx, "default")).toEqual(before);
});

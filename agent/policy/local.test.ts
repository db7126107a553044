import { mkdtempDisposable, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseName } from "../../identity/name.ts";
import type { Resource } from "../../identity/resource.ts";
import { person, team } from "../sample.ts";
import { LocalAccounts, lent, parseLocal, uidsIn, whyShadowed } from "./local.ts";

const texts = {
  passwd: `root:x:0:0:root:/root:/bin/bash
# user7:x:1:1::/:/bin/sh
+user8::::::
ghost
  spaced:x:200008:1::/:/bin/sh
installer:x:1001:1001::/home/installer:/bin/bash
user1:x:1002:1002::/home/user1:/bin/bash
taken:x:200002:1003::/home/taken:/bin/bash
again:x:200002:1003::/home/taken:/bin/bash
`,
  group: `root:x:0:
user3:x:1004:
hpc:x:200004:
seven:x:1500:
team1:x:1005:user9
other:x:70002:
`,
  subuid: "",
};

const passwd = "in this node's own /etc/passwd";
const group = "in this node's own /etc/group";

test.each<[string, Resource, string | undefined]>([
  ["a user's name", person(1), `local: the user user1 is ${passwd}, with uid 1002`],
  ["a user's number", person(2), `local: uid 200002 is taken's ${passwd}`],
  ["the name of a private group", person(3), `local: the group user3 is ${group}, with gid 1004`],
  ["the number of a private group", person(4), `local: gid 200004 is the group hpc ${group}`],
  ["the primary group's number", person(9, { gid: 1500 }), `local: gid 1500 is the group seven ${group}`],
  ["a line that is indented", person(8), `local: uid 200008 is spaced's ${passwd}`],
  ["a comment and a compat line", person(7), undefined],
  ["a group's name", team(1), `local: the group team1 is ${group}, with gid 1005`],
  ["a group's number", team(2), `local: gid 70002 is the group other ${group}`],
  ["a group's name that only a user has", { ...team(5), name: parseName("installer") } as Resource, undefined],
  ["a user's name that only a group has, who has another", person(3, { gid: 100_000 }), undefined],
  ["nothing", person(5), undefined],
])("%s", (_, resource, why) => {
  expect(whyShadowed(parseLocal(texts), resource)).toBe(why);
});

test("whom a holder of subordinate ids may become is said", () => {
  const subuid = "far:524288:65536\nbob:200010:5\n# x:200000:9\nbroken:1\nnone:200020:0\n1001:65536:200000\n";
  const local = parseLocal({ ...texts, subuid });
  expect(
    lent(
      local,
      [9, 10, 12, 14, 15].map((n) => person(n)),
    ),
  ).toEqual([
    {
      key: "user/200009",
      reason:
        "local: served, but 1001 may become user9 (and 4 others) in containers: 65536..265535 in this node's own /etc/subuid",
    },
    {
      key: "user/200010",
      reason:
        "local: served, but bob may become user10 (and 2 others) in containers: 200010..200014 in this node's own /etc/subuid",
    },
  ]);
  expect(lent(local, [person(1, { gid: 100_000 })]).map(({ key }) => key)).toEqual(["user/200001"]);
  expect(lent(parseLocal({ ...texts, subuid: "" }), [person(1)])).toEqual([]);
});

test("they are read again when a file changes, and only then", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-local-"));
  const file = join(folder.path, "passwd");
  const accounts = new LocalAccounts(folder.path);
  expect(await accounts.refresh()).toBe(true);
  expect(accounts.now.users.size).toBe(0);
  expect(await accounts.refresh()).toBe(false);
  await writeFile(file, "ada:x:1001:1001::/:/bin/sh\n");
  expect(await accounts.refresh()).toBe(true);
  expect(accounts.now.users.get("ada")).toBe(1001);
  expect([...uidsIn(file), ...uidsIn(join(folder.path, "none"))]).toEqual([1001]);
  // As vipw does it: another file in its place, perhaps of the same length and second.
  await writeFile(`${file}.new`, "bob:x:1001:1001::/:/bin/sh\n");
  await rename(`${file}.new`, file);
  expect(await accounts.refresh()).toBe(true);
  expect([...accounts.now.users.keys()]).toEqual(["bob"]);
  await rm(file);
  await writeFile(join(folder.path, "group"), "g:x:1:\n");
  expect(await accounts.refresh()).toBe(true);
  expect(accounts.now.users.size).toBe(0);
  expect(accounts.now.gids.get(1)).toBe("g");
});

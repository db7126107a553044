/** A cluster's truth, as an operator makes it by the command line alone: people, groups, rules, holds, an estate. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ask, refusal } from "./buf-curl.ts";
import { operatorServer } from "./operator-server.ts";
import { json, prints, rollcall } from "./rollcall.ts";

test("people and groups without an identity provider, from making to removing", async () => {
  await using server = await operatorServer();
  await prints(server, "org set --home /home/{org}/{name}");
  expect(await json(server, "org show")).toMatchObject({ org: { home: "/home/{org}/{name}", spaces: "refuse" } });
  await prints(server, [
    "user",
    "create",
    "ada@example.org",
    "--full-name",
    "Ada Lovelace",
    "--email",
    "ada@example.org",
  ]);
  await prints(server, "user create bob --uid 200500");
  await prints(server, "group create slurm-users --user ada@example.org --user bob");
  expect(await prints(server, "group show slurm-users")).toMatch(/ada@example\.org/);
  expect(await json(server, "user show ada")).toMatchObject({ user: { posix_name: "ada", clusters: ["default"] } });
  await prints(server, "user rename ada countess");
  await prints(server, "group drop slurm-users --user bob");
  expect(await json(server, "user show bob")).toMatchObject({ user: { uid: 200_500, clusters: [] } });
  expect(await rollcall(server, "user create BOB")).toMatchObject({
    code: 7,
    err: expect.stringMatching(/another user's/),
  });
  expect(await rollcall(server, "user create root")).toMatchObject({ code: 2, err: expect.stringMatching(/reserved/) });
  expect(await rollcall(server, "user create x --uid 27")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/uid 27/),
  });
  await prints(server, "user remove bob");
  await prints(server, "group remove slurm-users");
  expect(await json(server, "group list")).toMatchObject({ groups: [] });
});

test("rules are added, tried dry, listed and removed; what is held is exit 6", async () => {
  await using server = await operatorServer();
  await server.admit("ada");
  expect(await prints(server, "rule add slurm-users account --account physics --default --dry-run")).toMatch(
    /^default: 2 would be put, 0 would be removed, 0 would be held\n {2}put +Slurm account physics below root\n/,
  );
  expect(await prints(server, "rule list")).not.toContain("physics");
  await prints(server, "rule add slurm-users account --account physics --default --limit maxjobs=10");
  await prints(server, ["rule", "add", "slurm-users", "sudo", "--command", "/usr/bin/id -u", "--command", "/bin/true"]);
  expect(await prints(server, "rule list")).toMatch(
    /^slurm-users +account +physics below root; default; maxjobs=10\nslurm-users +login\nslurm-users +sudo +\/bin\/true, \/usr\/bin\/id -u$/m,
  );
  const bad = await rollcall(server, ["rule", "add", "slurm-users", "sudo", "--command", "/bin/sh -c *"]);
  expect(bad).toMatchObject({ code: 2, err: expect.stringMatching(/the command "\/bin\/sh -c \*" must/) });
  expect(await rollcall(server, "rule add slurm-users account")).toMatchObject({ code: 2 });
  expect(await rollcall(server, "rule remove nobody login")).toMatchObject({ code: 3 });
  expect(await rollcall(server, "rule add x nothing")).toMatchObject({ code: 2 });

  await prints(server, "cluster set default --guard-people 0 --guard-percent 0 --guard-window 5m");
  expect(await prints(server, "cluster show")).toMatch(/^guard +0 people or 0 % within 5m$/m);
  const held = await rollcall(server, "rule remove slurm-users login");
  expect(held).toMatchObject({ code: 6, err: "" });
  expect(held.out).toMatch(/^default: 0 put, 0 removed, [0-9]+ held\n {2}hold +user ada uid 200000/);
  expect(await prints(server, "hold list")).toMatch(/^1 +pending +[12] +\S+Z +1 more would lose access/m);
  expect(await prints(server, "hold show 1")).toMatch(/^ada +user ada uid 200000 .* +admin: rule +\S+Z$/m);
  expect(await rollcall(server, "hold approve 1 --only nobody")).toMatchObject({ code: 3 });
  expect(await rollcall(server, "hold approve 1 --seen 77")).toMatchObject({ code: 7 });
  expect(await prints(server, "hold reject 1")).toMatch(/^state +rejected$/m);
  expect(await prints(server, "hold approve 1")).toMatch(/^state +done$/m);
  expect(await prints(server, "hold list")).toBe("HOLD  STATE  SUBJECTS  SINCE  REASON\n");
  expect(await json(server, "hold list --done")).toMatchObject({ holds: [{ id: "1", state: "STATE_DONE" }] });
  expect(await json(server, "user show ada")).toMatchObject({ user: { clusters: [] } });
});

test("over the API, a rule that is not one is refused by its field", async () => {
  await using server = await operatorServer();
  expect(await refusal(server, "ClusterService/PutRule", {})).toEqual([
    "invalid_argument",
    expect.stringMatching(/^rule:/),
  ]);
  expect(await refusal(server, "ClusterService/PutRule", { rule: { group: "x" } })).toEqual([
    "invalid_argument",
    expect.stringMatching(/^rule.grant: none is set/),
  ]);
  const account = { group: "x", account: { account: "root" } };
  expect(await refusal(server, "ClusterService/PutRule", { rule: account })).toEqual([
    "invalid_argument",
    expect.stringMatching(/account "root" is Slurm's own/),
  ]);
  const tree = (name: string, parent: string) => ({ rule: { group: name, account: { account: name, parent } } });
  await ask(server, "ClusterService/PutRule", tree("a", "b"));
  expect(await refusal(server, "ClusterService/PutRule", tree("b", "a"))).toEqual([
    "invalid_argument",
    expect.stringMatching(/would be below itself/),
  ]);
  expect(
    await refusal(server, "ClusterService/PutRule", { rule: { group: "c", account: { account: "a", parent: "z" } } }),
  ).toEqual(["failed_precondition", expect.stringMatching(/is below b by the rule of "a"/)]);
});

test("an estate is tried, refused with every problem, and imported", async () => {
  await using server = await operatorServer();
  await server.admit("late");
  const file = (name: string, text: string): string => {
    const path = join(server.folder, name);
    writeFileSync(path, text);
    return path;
  };
  const passwd = file("passwd", "ada:x:5001:5001:Ada:/home/ada:/bin/bash\nold:x:5002:5002::/home/old:/bin/bash\n");
  const wrong = file("wrong", "eve:x:27:27::/home/eve:/bin/bash\nbad\u001b[31m:x:5003:5003::/home/b:/bin/bash\nx:y\n");
  await prints(server, "user create ada");
  expect(await rollcall(server, "import")).toMatchObject({ code: 2 });
  const refused = await rollcall(server, `import --passwd ${passwd} --passwd ${wrong}`);
  expect(refused).toMatchObject({ code: 7, err: "" });
  expect(refused.out).not.toContain("\u001b");
  expect(refused.out.split("\n").slice(-2)[0]).toBe("2 problems: nothing is imported.");
  expect(refused.out).toContain(`${wrong}:3: line "x": 2 fields between colons, not 7\n`);
  expect(await prints(server, `import --passwd ${passwd} --dry-run`)).toMatch(/Nothing stands against it/);
  expect(await json(server, "user show ada")).toMatchObject({ user: { uid: 200_001 } });
  expect(await prints(server, `import --passwd ${passwd}`)).toMatch(
    /^user +ada +ada +5001 +adopt\nclosed +- +old +5002 +close$/m,
  );
  expect(await json(server, "user show ada")).toMatchObject({ user: { uid: 5001 } });
  expect(await json(server, `import --passwd ${passwd}`)).toMatchObject({
    applied: true,
    unchanged: 1,
    users: [],
    closed: [],
  });
});

/** Groups in groups: what the outer one grants, everybody within has, on every node, for as long as they are within. */

import { expect, test } from "vitest";
import { setCluster } from "../../server/directory/clusters.ts";
import { type Json, made, type ScimServer, scimServer } from "./scim-server.ts";

async function patch(server: ScimServer, group: string, ...Operations: Json[]): Promise<number> {
  return (await server.request("PATCH", `/Groups/${group}`, { Operations })).status;
}

/** What nodes are told: who may sign in, and who is in which POSIX group. */
async function told(server: ScimServer): Promise<string[]> {
  const lines = (await server.resources()).map((line) => line.split("\t"));
  const names = new Map(lines.filter(([kind]) => kind === "user").map(([, uid = "", , name = ""]) => [uid, name]));
  return lines.flatMap(([kind, gid = "", uid = ""]) => (kind === "member" ? [`${gid}:${names.get(uid)}`] : [])).sort();
}

async function tower(server: ScimServer) {
  const [ada, bob, eve] = [
    await made(server, "/Users", { userName: "ada" }),
    await made(server, "/Users", { userName: "bob" }),
    await made(server, "/Users", { userName: "eve" }),
  ];
  const team = await made(server, "/Groups", { displayName: "team", members: [{ value: ada }, { value: bob }] });
  const dept = await made(server, "/Groups", { displayName: "dept", members: [{ value: team, type: "Group" }] });
  const access = await made(server, "/Groups", {
    displayName: "slurm-users",
    members: [{ value: dept }, { value: eve }],
  });
  return { ada, bob, eve, team, dept, access };
}

test("people two groups down are let in as members of the outer group, and out again when any link goes", async () => {
  await using server = await scimServer();
  // People come and go here more often than the guard lets them.
  await setCluster(server.ctx, { kind: "admin" }, "default", { guard: { people: 100 } });
  const { ada, bob, team, dept, access } = await tower(server);
  const gid = 70_002;
  const everybody = [`${gid}:ada`, `${gid}:bob`, `${gid}:eve`];
  expect(await told(server)).toEqual(everybody);

  await patch(server, team, { op: "remove", path: `members[value eq "${bob}"]` });
  expect(await told(server)).toEqual([`${gid}:ada`, `${gid}:eve`]);
  await patch(server, team, { op: "add", path: "members", value: [{ value: bob }] });
  expect(await told(server)).toEqual(everybody);

  await patch(server, dept, { op: "remove", path: "members", value: [{ value: team }] });
  expect(await told(server)).toEqual([`${gid}:eve`]);
  await patch(server, dept, { op: "add", path: "members", value: [{ value: team }] });
  expect(await told(server)).toEqual(everybody);

  await patch(server, access, { op: "replace", path: "displayName", value: "slurm-alumni" });
  expect(await told(server)).toEqual([]);
  await patch(server, access, { op: "replace", path: "displayName", value: "slurm-users" });
  expect(await told(server)).toEqual(everybody);

  // In by two ways: one of them is enough.
  await patch(server, access, { op: "add", path: "members", value: [{ value: ada }] });
  expect((await server.request("DELETE", `/Groups/${dept}`)).status).toBe(204);
  expect(await told(server)).toEqual([`${gid}:ada`, `${gid}:eve`]);
});

test("a group that is pushed whole loses the groups that are not stated", async () => {
  await using server = await scimServer();
  const { eve, access } = await tower(server);
  await patch(server, access, { op: "replace", path: "members", value: [{ value: eve }] });
  expect(await told(server)).toEqual(["70002:eve"]);
});

test("groups are shown with their own members, people with every group around them", async () => {
  await using server = await scimServer();
  const { ada, team, dept, access } = await tower(server);
  const shown = (await server.request("GET", `/Groups/${dept}`)).json;
  expect(shown.members).toEqual([
    { value: team, $ref: `${server.url}/scim/default/v2/Groups/${team}`, display: "team", type: "Group" },
  ]);
  const groups = (await server.request("GET", `/Users/${ada}`)).json.groups as Json[];
  expect(groups.map(({ value, type }) => [value, type])).toEqual([
    [dept, "indirect"],
    [access, "indirect"],
    [team, "direct"],
  ]);
});

test("a circle is refused, however long, and changes nothing", async () => {
  await using server = await scimServer();
  const { team, dept, access } = await tower(server);
  const before = await server.state();
  for (const [group, member] of [
    [team, team],
    [team, dept],
    [team, access],
  ] as const) {
    expect(await patch(server, group, { op: "add", path: "members", value: [{ value: member }] })).toBe(400);
  }
  expect(await server.state()).toBe(before);
});

/** An admin's lock against whatever an identity provider sends: no SCIM request brings a locked person back to a node. */

import { expect, test } from "vitest";
import { orgId } from "../../server/directory/clusters.ts";
import { lockUser, unlockUser } from "../../server/directory/locks.ts";
import { createScimToken } from "../../server/directory/tokens.ts";
import { type Json, scimServer } from "./scim-server.ts";

const admin = { kind: "admin" } as const;

async function scene() {
  const server = await scimServer();
  const org = await orgId(server.ctx, "default");
  const post = async (path: string, body: Json): Promise<string> => {
    const { status, json, text } = await server.request("POST", path, body);
    expect(status, text).toBe(201);
    return json.id as string;
  };
  const ada = await post("/Users", { userName: "ada@x", externalId: "00u1" });
  const group = await post("/Groups", { displayName: "slurm-users", members: [{ value: ada }] });
  return {
    ...server,
    org,
    ada,
    group,
    post,
    join: (id: string) =>
      server.request("PATCH", `/Groups/${group}`, {
        Operations: [{ op: "add", path: "members", value: [{ value: id }] }],
      }),
    names: async () =>
      (await server.resources()).flatMap((line) => (line.startsWith("user\t") ? [line.split("\t")[3]] : [])),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test("a lock takes a person off every node at once, and unlocking brings back what the provider says then", async () => {
  await using server = await scene();
  const { ctx, org, ada } = server;
  expect(await server.names()).toEqual(["ada"]);
  await lockUser(ctx, admin, org, "ada", "left the lab");
  expect(await server.resources()).not.toContainEqual(expect.stringMatching(/^(user|member|key)\t/));
  // The provider is told its own view: it would only send it again.
  expect((await server.request("GET", `/Users/${ada}`)).json.active).toBe(true);
  await unlockUser(ctx, admin, org, "ada");
  expect(await server.names()).toEqual(["ada"]);
});

test.each<[what: string, body: Json]>([
  ["deactivating and activating", { userName: "ada@x", active: true }],
  ["another userName", { userName: "someone-else@x", active: true }],
  ["another externalId", { userName: "ada@x", externalId: "00u2", active: true }],
])("%s does not lift a lock", async (_, body) => {
  await using server = await scene();
  await lockUser(server.ctx, admin, server.org, "ada", "left the lab");
  await server.request("PATCH", `/Users/${server.ada}`, { Operations: [{ op: "replace", value: { active: false } }] });
  expect((await server.request("PUT", `/Users/${server.ada}`, body)).status).toBe(200);
  expect(await server.names()).toEqual([]);
});

test.each<[what: string, body: Json]>([
  ["userName", { userName: "ADA@x" }],
  ["externalId", { userName: "countess@x", externalId: "00u1" }],
])("a person who is removed and made anew under the same %s is still locked, with another uid", async (_, body) => {
  await using server = await scene();
  await lockUser(server.ctx, admin, server.org, "ada", "left the lab");
  expect((await server.request("DELETE", `/Users/${server.ada}`)).status).toBe(204);
  const again = await server.post("/Users", body);
  expect(again).not.toBe(server.ada);
  await server.join(again);
  expect(await server.names()).toEqual([]);
  const posix = (await server.request("GET", `/Users/${again}`)).json[
    "urn:rollcall:params:scim:schemas:extension:posix:1.0:User"
  ] as Json;
  expect(posix.uidNumber).toBe(200_001);
});

test.each<[what: string, handle: Json]>([
  ["userName", { userName: "Ada@X" }],
  ["externalId", { externalId: "00u1" }],
])("whoever takes over the %s that a lock holds on by is out at once", async (_, handle) => {
  await using server = await scene();
  const bob = await server.post("/Users", { userName: "bob@x", externalId: "00u2" });
  await server.join(bob);
  await lockUser(server.ctx, admin, server.org, "ada", "left the lab");
  expect((await server.request("DELETE", `/Users/${server.ada}`)).status).toBe(204);
  expect(await server.names()).toEqual(["bob"]);
  const patched = await server.request("PATCH", `/Users/${bob}`, { Operations: [{ op: "replace", value: handle }] });
  expect(patched.status).toBe(200);
  expect(await server.names()).toEqual([]);
});

test("another connection's person of the same externalId is somebody else, and not locked", async () => {
  await using server = await scene();
  await lockUser(server.ctx, admin, server.org, "ada", "left the lab");
  const { secret } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra");
  const authorization = `Bearer ${secret}`;
  const post = (path: string, body: Json) => server.request("POST", path, body, { authorization });
  const { json } = await post("/Users", { userName: "eve@x", externalId: "00u1" });
  const renamed = { Operations: [{ op: "replace", path: "displayName", value: "slurm-alumni" }] };
  await server.request("PATCH", `/Groups/${server.group}`, renamed);
  expect((await post("/Groups", { displayName: "slurm-users", members: [{ value: json.id }] })).status).toBe(201);
  expect(await server.names()).toEqual(["eve"]);
});

/** Numbers that an identity provider states: taken if free and the org's, never moved, never anybody else's. */

import { expect, test } from "vitest";
import { orgId } from "../../server/directory/clusters.ts";
import { hostileInputs } from "../hostile.ts";
import { expectError, type Json, made, type ScimServer, scimServer } from "./scim-server.ts";

const userUrn = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";
const groupUrn = "urn:rollcall:params:scim:schemas:extension:posix:1.0:Group";

const ada = (uidNumber: unknown, userName = "ada"): Json => ({ userName, [userUrn]: { uidNumber } });
const ml = (gidNumber: unknown, displayName = "ml"): Json => ({ displayName, [groupUrn]: { gidNumber } });
const patch = (op: string, path: string | undefined, value: unknown): Json => ({ Operations: [{ op, path, value }] });

async function set(server: ScimServer, settings: Parameters<typeof put>[2]): Promise<void> {
  await put(server, await orgId(server.ctx, "default"), settings);
}

function put(server: ScimServer, org: string, settings: { suppliedIds: "honour" | "refuse" }): Promise<void> {
  return server.ctx.store.write((tx) => tx.clusters.putOrgSettings(org, settings));
}

test("a free number of the org's range is taken, and the next that is given skips it", async () => {
  await using server = await scimServer();
  const stated = await server.request("POST", "/Users", ada(200_001));
  expect([stated.status, stated.json[userUrn]]).toMatchObject([201, { uidNumber: 200_001, gidNumber: 200_001 }]);
  const uids: unknown[] = [];
  for (const userName of ["bob", "eve", "fay"]) {
    const { json } = await server.request("POST", "/Users", { userName });
    uids.push((json[userUrn] as Json)["uidNumber"]);
  }
  expect(uids).toEqual([200_000, 200_002, 200_003]);
  const group = await server.request("POST", "/Groups", ml(70_000));
  expect(group.json[groupUrn]).toEqual({ groupName: "ml", gidNumber: 70_000 });
  const next = await server.request("POST", "/Groups", { displayName: "ai" });
  expect(next.json[groupUrn]).toEqual({ groupName: "ai", gidNumber: 70_001 });
});

test("a number that is or was somebody's is refused, and nothing changes", async () => {
  await using server = await scimServer();
  const id = await made(server, "/Users", ada(200_007));
  expectError(await server.request("POST", "/Users", ada(200_007, "bob")), 409, "uniqueness");
  expect((await server.request("DELETE", `/Users/${id}`)).status).toBe(204);
  const before = await server.state();
  expectError(await server.request("POST", "/Users", ada(200_007)), 409, "uniqueness");
  expect(await server.state()).toBe(before);
  await made(server, "/Groups", ml(70_007));
  expectError(await server.request("POST", "/Groups", ml(70_007, "ai")), 409, "uniqueness");
  // The name that the refused request would have had is free still: "ada" is its first owner's.
  const again = await server.request("POST", "/Users", { userName: "bob" });
  expect(again.json[userUrn]).toMatchObject({ userName: "bob" });
});

test("it never changes: the same may be said again, another may not", async () => {
  await using server = await scimServer();
  const user = `/Users/${await made(server, "/Users", ada(200_007))}`;
  const group = `/Groups/${await made(server, "/Groups", ml(70_007))}`;
  const before = await server.resources();
  expect((await server.request("PUT", user, ada(200_007))).status).toBe(200);
  expect((await server.request("PUT", user, ada(null))).status).toBe(200);
  expect((await server.request("PATCH", user, patch("replace", `${userUrn}:uidNumber`, 200_007))).status).toBe(200);
  expect((await server.request("PUT", group, ml(70_007))).status).toBe(200);
  expect((await server.request("PATCH", group, patch("replace", `${groupUrn}:gidNumber`, 70_007))).status).toBe(204);
  for (const [path, body, urn, name] of [
    [user, ada, userUrn, "uidNumber"],
    [group, ml, groupUrn, "gidNumber"],
  ] as const) {
    const state = await server.state();
    for (const value of [0, 27, 70_008, 200_008, 4_294_967_295]) {
      expectError(await server.request("PUT", path, body(value)), 400, "mutability");
      expectError(await server.request("PATCH", path, patch("replace", `${urn}:${name}`, value)), 400, "mutability");
      expectError(
        await server.request("PATCH", path, patch("add", undefined, { [urn]: { [name]: value } })),
        400,
        "mutability",
      );
    }
    expectError(await server.request("PATCH", path, patch("remove", `${urn}:${name}`, undefined)), 400, "mutability");
    expectError(await server.request("PATCH", path, patch("remove", urn, undefined)), 400, "mutability");
    expect(await server.state()).toBe(state);
  }
  expect(await server.resources()).toEqual(before);
});

test("an org can refuse all of them", async () => {
  await using server = await scimServer();
  await set(server, { suppliedIds: "refuse" });
  const before = await server.state();
  expectError(await server.request("POST", "/Users", ada(200_007)), 400, "invalidValue");
  expectError(await server.request("POST", "/Groups", ml(70_007)), 400, "invalidValue");
  expect(await server.state()).toBe(before);
  await made(server, "/Users", ada(null));
});

const numbers = [...hostileInputs("uid", "reject"), ...hostileInputs("gid", "reject")].filter(
  // A gid that is missing is one that the org gives.
  ([, value]) => value !== null && value !== undefined,
);

test.each(numbers)("%s", async (_, value) => {
  await using server = await scimServer();
  const before = await server.state();
  // An empty array is no value (RFC 7643, section 2.5): the org gives one of its own, never 0.
  const unassigned = Array.isArray(value) && value.length === 0;
  for (const [path, body] of [
    ["/Users", ada(value)],
    ["/Groups", ml(value)],
  ] as const) {
    const answer = await server.request("POST", path, body);
    if (unassigned) expect(answer.json).toMatchObject({ [path === "/Users" ? userUrn : groupUrn]: {} });
    else expectError(answer, 400, "invalidValue");
  }
  if (!unassigned) expect(await server.state()).toBe(before);
  else expect(await server.state()).toMatch(/"uid":200000.*"gid":70000/);
});

test.each([0, 1, 27, 100, 999, 1000, 61_184, 65_534, 65_535, 524_288, 2 ** 31, 2 ** 32 - 1, 2 ** 32, -1, 1.5])(
  "%d is nobody's to give",
  async (value) => {
    await using server = await scimServer();
    expectError(await server.request("POST", "/Users", ada(value)), 400, "invalidValue");
    expectError(await server.request("POST", "/Groups", ml(value)), 400, "invalidValue");
  },
);

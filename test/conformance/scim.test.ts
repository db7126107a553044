/** SCIM as Okta and Entra speak it (RFC 7643, 7644), against a listening server. */

import { describe, expect, test } from "vitest";
import { orgId } from "../../server/directory/clusters.ts";
import { createScimToken, revokeScimToken } from "../../server/directory/tokens.ts";
import { createUser } from "../../server/directory/users.ts";
import { expectError, type Json, made, type ScimServer, scimServer } from "./scim-server.ts";

const core = "urn:ietf:params:scim:schemas:core:2.0:User";
const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";
const groupCore = "urn:ietf:params:scim:schemas:core:2.0:Group";
const patchOp = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/** What Okta posts for a new person. */
function oktaUser(userName: string): Json {
  const [given = ""] = userName.split("@");
  return {
    schemas: [core],
    userName,
    name: { givenName: given, familyName: "Lovelace" },
    emails: [{ primary: true, value: userName, type: "work", display: userName }],
    displayName: `${given} Lovelace`,
    locale: "en-US",
    externalId: `00u-${userName}`,
    groups: [],
    password: "1mz050nq",
    active: true,
  };
}

function patch(...Operations: Json[]): Json {
  return { schemas: [patchOp], Operations };
}

/** The log's lines that name a person's login. */
async function logins(server: ScimServer): Promise<string[]> {
  const lines = await server.resources();
  return lines.flatMap((line) => (line.startsWith("user\t") ? [line.split("\t")[3] ?? ""] : []));
}

async function members(server: ScimServer, id: string): Promise<string[]> {
  const { json } = await server.request("GET", `/Groups/${id}`);
  return (json.members as Json[]).map(({ value }) => value as string).sort();
}

describe("Okta", () => {
  test("provisions, updates, deactivates and brings back a person", async () => {
    await using server = await scimServer();
    const filter = encodeURIComponent('userName eq "ada@example.com"');
    const before = await server.request("GET", `/Users?filter=${filter}&startIndex=1&count=100`);
    expect(before.status).toBe(200);
    expect(before.json).toEqual({
      schemas: ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
      totalResults: 0,
      startIndex: 1,
      itemsPerPage: 0,
      Resources: [],
    });

    const created = await server.request("POST", "/Users", oktaUser("ada@example.com"));
    expect(created.status).toBe(201);
    const { id, meta } = created.json as { id: string; meta: Json };
    expect(created.headers.get("location")).toBe(`${server.url}/scim/default/v2/Users/${id}`);
    expect(meta).toMatchObject({ resourceType: "User", location: created.headers.get("location") });
    expect(meta.version).toMatch(/^W\/"\w+"$/);
    expect(created.json).toMatchObject({
      schemas: [core, posix],
      userName: "ada@example.com",
      displayName: "ada Lovelace",
      active: true,
      emails: [{ value: "ada@example.com", display: "ada@example.com", type: "work", primary: true }],
      [posix]: { userName: "ada", uidNumber: 200_000, gidNumber: 200_000, homeDirectory: "/home/ada" },
    });
    expect(created.text).not.toContain("1mz050nq");

    expectError(await server.request("POST", "/Users", oktaUser("ADA@example.com")), 409, "uniqueness");
    const found = await server.request("GET", `/Users?filter=${filter}&startIndex=1&count=100`);
    expect(found.json).toMatchObject({ totalResults: 1, itemsPerPage: 1, Resources: [{ id }] });

    const whole = (await server.request("GET", `/Users/${id}`)).json;
    const put = await server.request("PUT", `/Users/${id}`, { ...whole, displayName: "Ada, Countess", title: "Dr" });
    expect(put.status).toBe(200);
    expect(put.json).toMatchObject({
      id,
      displayName: "Ada, Countess",
      title: "Dr",
      externalId: "00u-ada@example.com",
    });

    const group = await made(server, "/Groups", { schemas: [groupCore], displayName: "slurm-users", members: [] });
    await server.request("PATCH", `/Groups/${group}`, patch({ op: "add", path: "members", value: [{ value: id }] }));
    expect(await logins(server)).toEqual(["ada"]);
    expect(await server.resources()).toContainEqual(expect.stringContaining("Ada, Countess"));
    const shown = (await server.request("GET", `/Users/${id}`)).json;
    expect(shown.groups).toEqual([
      { value: group, $ref: `${server.url}/scim/default/v2/Groups/${group}`, display: "slurm-users", type: "direct" },
    ]);

    const off = await server.request("PATCH", `/Users/${id}`, patch({ op: "replace", value: { active: false } }));
    expect([off.status, off.json.active]).toEqual([200, false]);
    expect(off.json.groups, "in the answer to a change too").toEqual(shown.groups);
    expect(await logins(server)).toEqual([]);
    const on = await server.request("PUT", `/Users/${id}`, { ...whole, active: true });
    expect([on.status, on.json.active]).toEqual([200, true]);
    expect(on.json.groups).toEqual(shown.groups);
    expect(await logins(server)).toEqual(["ada"]);
    expect(on.json[posix]).toMatchObject({ uidNumber: 200_000 });
    expect(server.logged.join("")).not.toContain("1mz050nq");
  });

  test("pushes groups: create, rename with the id, remove and add in one, full push, delete", async () => {
    await using server = await scimServer();
    const [ada, bob, eve] = [
      await made(server, "/Users", oktaUser("ada")),
      await made(server, "/Users", oktaUser("bob")),
      await made(server, "/Users", oktaUser("eve")),
    ];
    const group = await made(server, "/Groups", {
      schemas: [groupCore],
      displayName: "Simulation",
      members: [{ value: ada, display: "ada" }],
    });
    const url = `/Groups/${group}`;
    const rename = { op: "replace", value: { id: group, displayName: "slurm-users" } };
    expect((await server.request("PATCH", url, patch(rename))).status).toBe(204);
    expect(await logins(server)).toEqual(["ada"]);
    const swap = patch(
      { op: "remove", path: `members[value eq "${ada}"]` },
      { op: "add", path: "members", value: [{ value: bob }, { value: eve }] },
    );
    expect((await server.request("PATCH", url, swap)).status).toBe(204);
    expect(await members(server, group)).toEqual([bob, eve].sort());
    const push = patch({ op: "replace", path: "members", value: [{ value: ada }] });
    expect((await server.request("PATCH", url, push)).status).toBe(204);
    expect(await members(server, group)).toEqual([ada]);
    const found = await server.request("GET", `/Groups?filter=${encodeURIComponent('displayName eq "SLURM-users"')}`);
    expect(found.json).toMatchObject({ totalResults: 1, Resources: [{ id: group, members: [{ value: ada }] }] });
    expectError(await server.request("POST", "/Groups", { displayName: "Slurm-Users" }), 409, "uniqueness");
    expect((await server.request("DELETE", url)).status).toBe(204);
    expectError(await server.request("GET", url), 404);
    expectError(await server.request("DELETE", url), 404);
    expect(await logins(server)).toEqual([]);
  });
});

describe("Entra", () => {
  test("tests the connection with a random name, in lower-case paths too", async () => {
    await using server = await scimServer();
    const filter = encodeURIComponent('userName eq "9e1f4b4c-7c70-4d3e-a7bb-5b6f7e2a7b8c"');
    for (const path of [`/Users?filter=${filter}`, `/users?filter=${filter}&aadOptscim062020`]) {
      const answer = await server.request("GET", path);
      expect([answer.status, answer.json.totalResults, answer.json.Resources]).toEqual([200, 0, []]);
    }
    const schemas = await server.request("GET", "/Schemas");
    expect((schemas.json.Resources as Json[]).map(({ id }) => id)).toEqual(
      expect.arrayContaining([core, groupCore, enterprise]),
    );
    for (const path of ["/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/User", `/Schemas/${core}`]) {
      expect((await server.request("GET", path)).status, path).toBe(200);
    }
    expectError(await server.request("GET", `/Schemas?filter=${filter}`), 403);
    expectError(await server.request("GET", "/Me"), 501);
  });

  test.each([
    [patch({ op: "Replace", path: "active", value: "False" })],
    [patch({ op: "replace", path: "active", value: false })],
    [patch({ op: "Replace", path: "active", value: "fAlSe" })],
    [patch({ op: "replace", value: { active: "False" } })],
    [patch({ op: "Add", path: `${core}:active`, value: "false" })],
    [patch({ op: "Replace", path: "ACTIVE", value: "FALSE" })],
  ])("deactivates by %j", async (body) => {
    await using server = await scimServer();
    const id = await made(server, "/Users", { ...oktaUser("ada"), active: "True" });
    await made(server, "/Groups", { displayName: "slurm-users", members: [{ value: id }] });
    expect(await logins(server)).toEqual(["ada"]);
    const answer = await server.request("PATCH", `/Users/${id}`, body);
    expect([answer.status, answer.json.active]).toEqual([200, false]);
    expect(await logins(server)).toEqual([]);
    const filter = encodeURIComponent('userName eq "ada"');
    expect((await server.request("GET", `/Users?filter=${filter}`)).json.totalResults).toBe(1);
  });

  test.each([["no"], ["0"], [0], [1], ["yes"], [""], [null], [[false]], [{}], ["False "]])(
    "refuses active %j, and never reads it as true",
    async (value) => {
      await using server = await scimServer();
      const id = await made(server, "/Users", { ...oktaUser("ada"), active: false });
      await made(server, "/Groups", { displayName: "slurm-users", members: [{ value: id }] });
      const before = await server.state();
      const bodies = [
        patch({ op: "Replace", path: "active", value }),
        patch({ op: "replace", value: { active: value } }),
        patch({ op: "Replace", path: "title", value: "Dr" }, { op: "Replace", path: "active", value }),
      ];
      for (const body of bodies) {
        expectError(await server.request("PATCH", `/Users/${id}`, body), 400, "invalidValue");
      }
      expectError(await server.request("PUT", `/Users/${id}`, { userName: "ada", active: value }), 400, "invalidValue");
      expectError(await server.request("POST", "/Users", { userName: "eve", active: value }), 400, "invalidValue");
      expect(await server.state()).toBe(before);
    },
  );

  test("a leaver stays away when active is left out or removed", async () => {
    await using server = await scimServer();
    const id = await made(server, "/Users", { ...oktaUser("ada"), active: "False" });
    const put = await server.request("PUT", `/Users/${id}`, { userName: "ada" });
    expect([put.status, put.json.active]).toEqual([200, false]);
    expectError(
      await server.request("PATCH", `/Users/${id}`, patch({ op: "Remove", path: "active" })),
      400,
      "mutability",
    );
  });

  test("patches attributes in its own forms", async () => {
    await using server = await scimServer();
    const id = await made(server, "/Users", {
      userName: "ada",
      emails: [{ type: "home", value: "a@home", primary: true }],
    });
    const send = async (...operations: Json[]): Promise<Json> => {
      const answer = await server.request("PATCH", `/Users/${id}`, patch(...operations));
      expect(answer.status, answer.text).toBe(200);
      return answer.json;
    };
    const replaced = await send({
      op: "replace",
      value: {
        displayName: "Ada",
        "name.givenName": "Ada",
        "name.familyName": "Lovelace",
        [`${enterprise}:employeeNumber`]: "7",
        [enterprise]: { department: "Engines" },
        "urn:example:unknown:thing": "ignored",
      },
    });
    expect(replaced).toMatchObject({
      schemas: [core, enterprise, posix],
      displayName: "Ada",
      name: { givenName: "Ada", familyName: "Lovelace" },
      [enterprise]: { employeeNumber: "7", department: "Engines" },
    });
    const mail = await send({ op: "Replace", path: 'emails[type eq "work"].value', value: "ada@work" });
    expect(mail.emails).toEqual([
      { value: "a@home", type: "home", primary: true },
      { value: "ada@work", type: "work" },
    ]);
    const primary = await send({ op: "Add", path: 'emails[type eq "work"].primary', value: "True" });
    expect(primary.emails).toEqual([
      { value: "a@home", type: "home", primary: false },
      { value: "ada@work", type: "work", primary: true },
    ]);
    expect((await send({ op: "Add", path: `${enterprise}:manager`, value: "m1" }))[enterprise]).toMatchObject({
      manager: { value: "m1" },
    });
    const array = await send({ op: "Replace", path: "manager", value: [{ $ref: "../Users/m2", value: "m2" }] });
    expect(array[enterprise]).toMatchObject({ manager: { value: "m2", $ref: "../Users/m2" } });
    expect(await send({ op: "replace", path: `${enterprise}:manager`, value: "" })).toMatchObject({
      [enterprise]: { employeeNumber: "7", department: "Engines" },
    });
  });

  test("empties every optional attribute with an empty text, then with null", async () => {
    await using server = await scimServer();
    const full = {
      ...oktaUser("ada"),
      nickName: "countess",
      title: "Dr",
      userType: "Employee",
      preferredLanguage: "en",
      timezone: "Europe/London",
      profileUrl: "https://example.com/ada",
      phoneNumbers: [{ type: "work", value: "1" }],
      addresses: [{ type: "work", locality: "London" }],
      roles: ["analyst"],
      entitlements: [{ value: "engine" }],
      [enterprise]: { employeeNumber: "7", costCenter: "1", organization: "o", division: "d", department: "e" },
    };
    const paths = `nickName title userType preferredLanguage locale timezone profileUrl displayName externalId
      name.givenName name.familyName roles entitlements`
      .split(/\s+/)
      .concat(["phoneNumbers", "emails"].map((name) => `${name}[type eq "work"].value`))
      .concat('addresses[type eq "work"].locality')
      .concat(Object.keys(full[enterprise]).map((name) => `${enterprise}:${name}`));
    for (const value of ["", null]) {
      const id = await made(server, "/Users", { ...full, userName: `ada${String(value)}` });
      const operations = paths.map((path) => ({ op: "replace", path, value }));
      for (let round = 0; round < 2; round++) {
        const answer = await server.request("PATCH", `/Users/${id}`, patch(...operations));
        expect(answer.status, answer.text).toBe(200);
        const { schemas, active } = answer.json;
        expect([schemas, active]).toEqual([[core, posix], true]);
        const left = Object.keys(answer.json).filter((key) => key !== posix);
        expect(left).toEqual(["schemas", "id", "userName", "active", "meta"]);
      }
    }
  });

  test("pushes groups in its forms, and reads them without their members", async () => {
    await using server = await scimServer();
    const ada = await made(server, "/Users", oktaUser("ada"));
    const bob = await made(server, "/Users", oktaUser("bob"));
    const group = await made(server, "/groups", {
      schemas: [groupCore, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
      externalId: "8aa1a0c0",
      displayName: "slurm-users",
    });
    const url = `/Groups/${group}`;
    const send = async (operation: Json): Promise<void> => {
      expect((await server.request("PATCH", url, patch(operation))).status).toBe(204);
    };
    await send({ op: "Add", path: "members", value: [{ $ref: null, value: ada }] });
    await send({ op: "Add", path: "members", value: { value: bob } });
    expect(await members(server, group)).toEqual([ada, bob].sort());
    const check = (id: string, member: string) =>
      server.request("GET", `/Groups?filter=${encodeURIComponent(`id eq "${id}" and members eq "${member}"`)}`);
    expect((await check(group, ada)).json.totalResults).toBe(1);
    await send({ op: "Remove", path: "members", value: [{ $ref: null, value: ada }] });
    expect((await check(group, ada)).json.totalResults).toBe(0);
    expect(await members(server, group)).toEqual([bob]);
    await send({ op: "remove", path: `members[value eq "${bob}"]` });
    expect(await members(server, group)).toEqual([]);
    await send({ op: "Replace", path: "displayName", value: "slurm-users-2" });
    const bare = await server.request("GET", `${url}?excludedAttributes=members`);
    expect(bare.json).toMatchObject({ id: group, externalId: "8aa1a0c0", displayName: "slurm-users-2" });
    expect(bare.json).not.toHaveProperty("members");
    await send({ op: "Add", path: "members", value: [{ value: ada }, { value: bob }] });
    await send({ op: "Remove", path: "members" });
    expect(await members(server, group)).toEqual([]);
  });

  test("a circle and an unknown member are refused, and nobody is added", async () => {
    await using server = await scimServer();
    const ada = await made(server, "/Users", oktaUser("ada"));
    const group = await made(server, "/Groups", { displayName: "slurm-users" });
    const before = await server.state();
    for (const bad of [
      { value: group },
      { value: group, type: "Group" },
      { value: "nobody" },
      {},
      { value: 7 },
      null,
    ]) {
      const body = patch({ op: "add", path: "members", value: [{ value: ada }, bad] });
      expectError(await server.request("PATCH", `/Groups/${group}`, body), 400, "invalidValue");
      if ((bad?.value ?? "") === group) continue;
      const create = { displayName: "other", members: [{ value: ada }, bad] };
      expectError(await server.request("POST", "/Groups", create), 400, "invalidValue");
    }
    for (const value of [null, ""]) {
      const body = patch({ op: "remove", path: "members", value });
      expectError(await server.request("PATCH", `/Groups/${group}`, body), 400, "invalidValue");
    }
    expect(await server.state()).toBe(before);
  });
});

describe("the door", () => {
  test("a request without a live token is 401 and learns nothing, whatever it asks", async () => {
    await using server = await scimServer();
    const { secret, token } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra");
    await revokeScimToken(server.ctx, { kind: "admin" }, token.id);
    const bad = ["", "Bearer", "Bearer x", `Basic ${server.token}`, `Bearer ${secret}`, `Bearer ${server.token}x`];
    for (const authorization of bad) {
      for (const path of ["/Users", "/nothing", "/scim/unknown/v2/Users", "/Schemas"]) {
        const answer = await server.request("GET", path, undefined, { authorization });
        expectError(answer, 401);
        expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer/);
      }
    }
    expectError(await server.request("POST", "/Users", "{", { authorization: "Bearer x" }), 401);
  });

  test("another org's path is 404 like that of an unknown one", async () => {
    await using server = await scimServer();
    await server.ctx.store.write((tx) => tx.clusters.addOrg({ id: "2", name: "other" }, 0));
    await createUser(server.ctx, { kind: "admin" }, "2", {
      userName: "theirs",
      externalId: undefined,
      active: true,
      fullName: "",
      attributes: {},
    });
    const theirs = await server.request("GET", "/scim/other/v2/Users");
    const nobodys = await server.request("GET", "/scim/otter/v2/Users");
    expectError(theirs, 404);
    expect(theirs.text.replaceAll("other", "otter")).toBe(nobodys.text);
    expectError(await server.request("POST", "/scim/other/v2/Users", oktaUser("ada")), 404);
    expect((await server.request("GET", "/Users")).json.totalResults).toBe(0);
  });

  test("what nothing answers is 404, in SCIM's form", async () => {
    await using server = await scimServer();
    const nothing: [string, string][] = [
      ["GET", "/Users/none"],
      ["PUT", "/Users/none"],
      ["PATCH", "/Users/none"],
      ["DELETE", "/Users/none"],
      ["GET", "/Groups/none"],
      ["GET", "/Things"],
      ["GET", "/Things/1/2/3"],
      ["PUT", "/Users"],
      ["GET", "/constructor"],
      ["GET", "/Schemas/urn:none"],
    ];
    for (const [method, path] of nothing) {
      const bodies: Record<string, Json> = {
        PUT: { userName: "x" },
        PATCH: patch({ op: "replace", value: {} }),
        POST: {},
      };
      expectError(await server.request(method, path, bodies[method]), 404);
    }
  });

  test("a connection cannot change what it did not make", async () => {
    await using server = await scimServer();
    const org = await orgId(server.ctx, "default");
    const input = { userName: "local", externalId: undefined, active: true, fullName: "", attributes: {} };
    const { id } = await createUser(server.ctx, { kind: "admin" }, org, input);
    const before = await server.state();
    expectError(await server.request("POST", "/Users", oktaUser("LOCAL")), 409, "uniqueness");
    expectError(await server.request("PATCH", `/Users/${id}`, patch({ op: "replace", value: { active: false } })), 404);
    expectError(await server.request("PUT", `/Users/${id}`, oktaUser("local")), 404);
    expectError(await server.request("DELETE", `/Users/${id}`), 404);
    expectError(await server.request("GET", `/Users/${id}`), 404);
    const asMember = { displayName: "slurm-users", members: [{ value: id }] };
    expectError(await server.request("POST", "/Groups", asMember), 400, "invalidValue");
    expect((await server.request("GET", "/Users")).json.totalResults).toBe(0);
    expect(await server.state()).toBe(before);
  });

  test("pages by startIndex and count, brought into range", async () => {
    await using server = await scimServer();
    for (const name of ["ada", "bob", "cyd", "dee"]) await made(server, "/Users", { userName: name });
    const page = async (query: string): Promise<unknown[]> => {
      const { json } = await server.request("GET", `/Users?${query}`);
      const names = (json.Resources as Json[]).map(({ userName }) => userName);
      return [json.totalResults, json.startIndex, json.itemsPerPage, ...names];
    };
    expect(await page("startIndex=2&count=2")).toEqual([4, 2, 2, "bob", "cyd"]);
    expect(await page("startIndex=4&count=5")).toEqual([4, 4, 1, "dee"]);
    expect(await page("startIndex=9")).toEqual([4, 9, 0]);
    expect(await page("startIndex=999999999999999")).toEqual([4, 999_999_999_999_999, 0]);
    expect(await page("count=0")).toEqual([4, 1, 0]);
    expect(await page("count=-3")).toEqual([4, 1, 0]);
    expect(await page("startIndex=-1&count=1")).toEqual([4, 1, 1, "ada"]);
    expectError(await server.request("GET", "/Users?startIndex=abc"), 400, "invalidValue");
    expectError(await server.request("GET", "/Users?count=1&count=2"), 400, "invalidValue");
  });

  test("answers what attributes and excludedAttributes ask for", async () => {
    await using server = await scimServer();
    const id = await made(server, "/Users", { ...oktaUser("ada"), [enterprise]: { department: "e", division: "d" } });
    const only = await server.request(
      "GET",
      `/Users/${id}?attributes=USERNAME,name.givenName,${enterprise}:department`,
    );
    expect(only.json).toEqual({
      schemas: [core, enterprise, posix],
      id,
      userName: "ada",
      name: { givenName: "ada" },
      [enterprise]: { department: "e" },
    });
    const less = await server.request("GET", `/Users/${id}?excludedAttributes=id,emails.display,name,${posix}`);
    expect(less.json).toMatchObject({ id, emails: [{ value: "ada", type: "work", primary: true }] });
    expect(Object.keys(less.json)).not.toContain("name");
    expect(Object.keys(less.json)).not.toContain(posix);
    expect(JSON.stringify(less.json.emails)).not.toContain("display");
    expectError(await server.request("GET", "/Users?attributes=id&excludedAttributes=name"), 400, "invalidValue");
    const created = await server.request("POST", "/Users?attributes=userName", { userName: "bob" });
    expect(Object.keys(created.json).sort()).toEqual(["id", "schemas", "userName"]);
    expect(created.headers.get("location")).toContain(`/Users/${created.json.id as string}`);
  });

  test("finds by each unique attribute, and refuses what is no filter", async () => {
    await using server = await scimServer();
    const id = await made(server, "/Users", oktaUser("Ada"));
    const total = async (filter: string): Promise<unknown> =>
      (await server.request("GET", `/Users?filter=${encodeURIComponent(filter)}`)).json.totalResults;
    expect(await total('USERNAME EQ "ada"')).toBe(1);
    expect(await total(`${core}:userName eq "\u0041DA"`)).toBe(1);
    expect(await total('(externalId eq "00u-Ada")')).toBe(1);
    expect(await total('externalId eq "00U-ADA"')).toBe(0);
    expect(await total(`id eq "${id}"`)).toBe(1);
    expect(await total(`id eq "${id}" and userName eq "ada"`)).toBe(1);
    for (const filter of [
      'password eq "x"',
      "password pr",
      'nope eq "x"',
      "active gt true",
      'active eq "maybe"',
      'name eq "x"',
      'meta.created gt "yesterday"',
      'emails[emails[type eq "x"]]',
      'title[value eq "x"]',
      "userName co null",
      "userName eq ada",
      "",
      "(",
      '"',
    ]) {
      expectError(await server.request("GET", `/Users?filter=${encodeURIComponent(filter)}`), 400, "invalidFilter");
    }
  });

  test("read-only attributes are ignored when stated whole, refused when patched", async () => {
    await using server = await scimServer();
    const mine = {
      id: "7",
      meta: { version: "x" },
      groups: [{ value: "g" }],
      [posix]: { gidNumber: 0, userName: "root" },
    };
    const id = await made(server, "/Users", { userName: "ada", ...mine });
    const put = await server.request("PUT", `/Users/${id}`, { userName: "ada", ...mine });
    expect(put.json).toMatchObject({ id, [posix]: { uidNumber: 200_000, userName: "ada" } });
    expect(put.json).not.toHaveProperty("groups");
    const before = await server.state();
    for (const path of ["id", "meta", "groups", `${posix}:uidNumber`, "uidNumber", posix, "meta.version"]) {
      const body = patch({ op: "replace", path, value: "0" });
      const answer = await server.request("PATCH", `/Users/${id}`, body);
      if (path === posix) expect(answer.status).toBe(400);
      else expectError(answer, 400, "mutability");
    }
    const wrongId = patch({ op: "replace", value: { id: "7", active: false } });
    expectError(await server.request("PATCH", `/Users/${id}`, wrongId), 400, "mutability");
    expectError(
      await server.request("PATCH", `/Users/${id}`, patch({ op: "remove", path: "userName" })),
      400,
      "mutability",
    );
    expectError(await server.request("PATCH", `/Users/${id}`, patch({ op: "remove" })), 400, "noTarget");
    expect(await server.state()).toBe(before);
  });

  test("a person who is removed and made again is another person", async () => {
    await using server = await scimServer();
    const id = await made(server, "/Users", oktaUser("ada"));
    expect(
      (await server.request("DELETE", `/Users/${id}`, undefined, { "content-type": "application/json" })).status,
    ).toBe(204);
    expectError(await server.request("DELETE", `/Users/${id}`), 404);
    const again = await server.request("POST", "/Users", oktaUser("ada"));
    expect(again.json.id).not.toBe(id);
    expect(again.json[posix]).toMatchObject({ uidNumber: 200_001, userName: "ada2" });
  });

  test("what changes nothing moves nothing", async () => {
    await using server = await scimServer();
    const id = await made(server, "/Users", oktaUser("ada"));
    const whole = await server.request("GET", `/Users/${id}`);
    const put = await server.request("PUT", `/Users/${id}`, whole.json);
    expect(put.text).toBe(whole.text);
    const add = patch({ op: "add", path: "emails", value: (whole.json.emails as Json[])[0] });
    expect((await server.request("PATCH", `/Users/${id}`, add)).text).toBe(whole.text);
    const change = await server.request("PATCH", `/Users/${id}`, patch({ op: "add", path: "title", value: "Dr" }));
    expect((change.json.meta as Json).version).not.toBe((whole.json.meta as Json).version);
  });

  test("a bug of ours is 500 internal, logged once, without secrets", async () => {
    await using server = await scimServer();
    const broken = { ...server.ctx.store, write: () => Promise.reject(new Error("the disk is gone")) };
    Object.assign(server.ctx.store, broken);
    const before = server.logged.length;
    const answer = await server.request("POST", "/Users", oktaUser("ada"));
    expectError(answer, 500);
    expect(answer.json.detail).toBe("internal");
    const lines = server.logged.slice(before);
    const errors = lines.filter((line) => (JSON.parse(line) as { level: number }).level >= 50);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain("the disk is gone");
    expect(errors[0]).toContain("reqId");
    expect(lines.join("")).not.toContain(server.token);
    expect(lines.join("")).not.toContain("1mz050nq");
  });
});

describe("at the same time", () => {
  test("20 creates of one userName make one user", async () => {
    await using server = await scimServer();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => server.request("POST", "/Users", oktaUser(i % 2 === 0 ? "ada" : "ADA"))),
    );
    const statuses = answers.map(({ status }) => status);
    expect([statuses.filter((status) => status === 201), statuses.filter((status) => status === 409)]).toEqual([
      [201],
      Array<number>(19).fill(409),
    ]);
    expect((await server.request("GET", "/Users")).json.totalResults).toBe(1);
  });

  test("40 member adds to one group lose none", async () => {
    await using server = await scimServer();
    const group = await made(server, "/Groups", { displayName: "slurm-users" });
    const ids: string[] = [];
    for (let i = 0; i < 40; i++) ids.push(await made(server, "/Users", { userName: `user${i}` }));
    const answers = await Promise.all(
      ids.map((value) =>
        server.request("PATCH", `/Groups/${group}`, patch({ op: "add", path: "members", value: [{ value }] })),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    expect(await members(server, group)).toEqual(ids.sort());
    expect(await logins(server)).toHaveLength(40);
  });
});

/** What fills a cluster's nodes by SCIM today (nsscache) reads the same people as our own agents do. */

import { describe, expect, test } from "vitest";
import { createCluster, orgId } from "../../server/directory/clusters.ts";
import { addKey } from "../../server/directory/keys.ts";
import { createReadToken } from "../../server/directory/tokens.ts";
import { type Answer, expectError, type Json, made, type ScimServer, scimServer } from "./scim-server.ts";

const posixUser = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";
const posixGroup = "urn:rollcall:params:scim:schemas:extension:posix:1.0:Group";
const coreweave = "urn:coreweave:params:scim:schemas:extension:coreweave:2.0:CoreWeaveUser";
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxf6SBpmmQXzlpIv8e7LYOpQz8bF0tIc5xtEzPcmlgB ada@laptop";

interface Cluster {
  readonly server: ScimServer;
  readonly ids: Readonly<Record<string, string>>;
  /** Below /scim/default/default/v2, with a read token, unless a path from /scim or other headers are given. */
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
}

/** A cluster with people in slurm-users; `outsider` is in no group. */
async function clusterOf(server: ScimServer, ...names: readonly string[]): Promise<Cluster> {
  const ids: Record<string, string> = {};
  for (const name of [...names, "outsider"]) {
    ids[name] = await made(server, "/Users", { userName: `${name}@example.com`, displayName: `${name} Ångström` });
  }
  const members = names.map((name) => ({ value: ids[name] }));
  ids.group = await made(server, "/Groups", { displayName: "slurm-users", members });
  const { secret } = await createReadToken(server.ctx, { kind: "admin" }, "default", "nsscache");
  return {
    server,
    ids,
    get(path, headers = {}) {
      const url = path.startsWith("/scim") ? path : `/scim/default/default/v2${path}`;
      return server.request("GET", url, undefined, { authorization: `Bearer ${secret}`, ...headers });
    },
  };
}

async function setActive({ server, ids }: Cluster, name: string, active: boolean): Promise<void> {
  const Operations = [{ op: "replace", path: "active", value: active }];
  const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
  const { status } = await server.request("PATCH", `/Users/${ids[name]}`, { schemas, Operations });
  expect(status).toBe(200);
}

function resources({ status, json, text }: Answer): Json[] {
  expect(status, text).toBe(200);
  return json.Resources as Json[];
}

function names(answer: Answer): string[] {
  return resources(answer).map(({ userName, displayName }) => (userName ?? displayName) as string);
}

function part(resource: Json | undefined, name: string): Json {
  return (resource?.[name] ?? {}) as Json;
}

/**
 * Walks as nsscache does. By cursor, if the parameters have one: until an answer has no nextCursor. Else by place: until
 * the last one of a page is the last of all. It believes what it is told, so a walk that does not end is cut here.
 */
async function walk(cluster: Cluster, path: string, parameters: string): Promise<{ found: string[]; pages: number }> {
  const byCursor = new URLSearchParams(parameters).has("cursor");
  const found: string[] = [];
  let place = 1;
  let cursor = "";
  for (let pages = 1; pages <= 500; pages++) {
    const query = new URLSearchParams(parameters);
    if (byCursor) query.set("cursor", cursor);
    else query.set("startIndex", String(place));
    const answer = await cluster.get(`${path}?${query.toString()}`);
    found.push(...names(answer));
    const { totalResults, itemsPerPage, startIndex, nextCursor } = answer.json;
    if (byCursor ? !nextCursor : Number(startIndex) + Number(itemsPerPage) - 1 >= Number(totalResults)) {
      return { found, pages };
    }
    cursor = String(nextCursor);
    place = Number(startIndex) + Number(itemsPerPage);
  }
  throw new Error("the walk did not end");
}

const crowd = Array.from({ length: 25 }, (_, i) => `p${String(i).padStart(2, "0")}`);

describe("what is told", () => {
  test("people with access, under their POSIX names, with numbers and keys", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada", "bob");
    await addKey(server.ctx, { kind: "admin" }, await orgId(server.ctx, "default"), "ada@example.com", key);
    const { json, headers } = await cluster.get("/Users");
    expect(headers.get("content-type")).toContain("application/scim+json");
    const base = `${server.url}/scim/default/default/v2`;
    expect(json).toMatchObject({ totalResults: 2, startIndex: 1, itemsPerPage: 2 });
    const [ada, bob] = json.Resources as Json[];
    const account = part(ada, posixUser);
    const id = String(account.uidNumber);
    expect(ada).toEqual({
      schemas: ["urn:ietf:params:scim:schemas:core:2.0:User", posixUser],
      id,
      userName: "ada",
      displayName: "ada Ångström",
      name: { formatted: "ada Ångström" },
      active: true,
      groups: [
        { value: expect.stringMatching(/^\d+$/), $ref: expect.any(String), display: "slurm-users", type: "direct" },
      ],
      [posixUser]: {
        userName: "ada",
        uidNumber: expect.any(Number),
        gidNumber: account.uidNumber,
        homeDirectory: "/home/ada",
        loginShell: "/bin/bash",
        gecos: "ada Ångström",
        sshKeys: [key],
      },
      meta: { resourceType: "User", location: `${base}/Users/${id}` },
    });
    expect(part(bob, posixUser).sshKeys).toEqual([]);
    expect((await cluster.get(`/Users/${id}`)).json).toEqual(ada);
    expectError(await cluster.get(`/Users/${cluster.ids.ada}`), 404);
    expect(JSON.stringify(json)).not.toContain("@example.com");
  });

  test("groups, with members that are never null, and nobody who has no access", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "bob", "ada");
    const { json } = await cluster.get("/Groups");
    const users = resources(await cluster.get("/Users"));
    const [group] = json.Resources as Json[];
    expect(group).toMatchObject({
      displayName: "slurm-users",
      [posixGroup]: { groupName: "slurm-users", gidNumber: expect.any(Number) },
    });
    expect(group?.members).toEqual(
      users.map(({ id, userName, meta }) => ({
        value: id,
        display: userName,
        type: "User",
        $ref: (meta as Json).location,
      })),
    );
    await setActive(cluster, "ada", false);
    await setActive(cluster, "bob", false);
    expect(resources(await cluster.get("/Groups"))[0]?.members).toEqual([]);
    expect((await cluster.get("/Users")).json).toMatchObject({
      totalResults: 0,
      startIndex: 1,
      itemsPerPage: 0,
      Resources: [],
    });
  });

  test("a leaver is gone from the next answer, and back with their number", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada", "bob");
    const before = (await cluster.get("/Users")).json.Resources;
    await setActive(cluster, "ada", false);
    expect(names(await cluster.get("/Users"))).toEqual(["bob"]);
    await setActive(cluster, "ada", true);
    expect((await cluster.get("/Users")).json.Resources).toEqual(before);
  });

  test("attributes as selected, and CoreWeave's names if asked for", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada");
    const [ada] = resources(await cluster.get("/Users?alias=coreweave"));
    const { userName, uidNumber, gidNumber, homeDirectory, loginShell, sshKeys } = part(ada, posixUser);
    const account = { userName, uidNumber, gidNumber, homeDirectory, loginShell };
    expect(part(ada, coreweave)).toEqual({ ...account, sunkSshKeys: sshKeys });
    expect(ada?.schemas).toContain(coreweave);
    const [bare] = resources(await cluster.get("/Users?attributes=userName"));
    expect(Object.keys(bare ?? {}).sort()).toEqual(["id", "schemas", "userName"]);
    const [lean] = resources(await cluster.get(`/Groups?excludedAttributes=members`));
    expect(lean).not.toHaveProperty("members");
    expectError(await cluster.get("/Users?alias=other"), 400, "invalidValue");
  });

  test("itself: what it can do, its types and schemas", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server);
    expect((await cluster.get("/ServiceProviderConfig")).json).toMatchObject({
      patch: { supported: false },
      filter: { supported: true },
      pagination: { cursor: true, index: true, cursorTimeout: 3600 },
    });
    const { json } = await cluster.get("/Schemas");
    const posix = (json.Resources as Json[]).find(({ id }) => id === posixUser);
    expect(posix?.attributes).toContainEqual(expect.objectContaining({ name: "sshKeys", multiValued: true }));
    expect((await cluster.get(`/Schemas/${posixUser}`)).json).toEqual(posix);
    expect((await cluster.get("/ResourceTypes/User")).json).toMatchObject({ endpoint: "/Users" });
    expect((await server.request("GET", `/Schemas/${posixUser}`)).text).not.toContain("sshKeys");
    expectError(await cluster.get("/Schemas?filter=id%20pr"), 403);
  });
});

describe("who may read", () => {
  test("nobody without a live read token", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada");
    for (const authorization of ["", "Bearer rcr_unknown", `Bearer ${server.token}`, "Basic YTpi"]) {
      const answer = await cluster.get("/Users", { authorization });
      expectError(answer, 401);
      expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer/);
    }
  });

  test("a read token opens one cluster, and all others look as if they were not there", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada");
    await createCluster(server.ctx, { kind: "admin" }, "default", "gpu");
    const { secret } = await createReadToken(server.ctx, { kind: "admin" }, "gpu", "nsscache");
    const gpu = { authorization: `Bearer ${secret}` };
    expect(names(await cluster.get("/scim/default/gpu/v2/Users", gpu))).toEqual(["ada"]);
    const other = await cluster.get("/scim/default/gpu/v2/Users");
    const none = await cluster.get("/scim/default/gpx/v2/Users");
    expectError(other, 404);
    expect(other.text.replaceAll("gpu", "gpx")).toBe(none.text);
    expectError(await cluster.get("/scim/nowhere/default/v2/Users"), 404);
    await server.ctx.store.write((tx) => tx.clusters.addOrg({ id: "other", name: "other" }, 0));
    expectError(await cluster.get("/scim/other/default/v2/Users"), 404);
    expectError(await cluster.get("/scim/default/default/v2/Users", gpu), 404);
    expectError(await cluster.get("/scim/default/v2/Users"), 401);
    await expect(createCluster(server.ctx, { kind: "admin" }, "default", "v2")).rejects.toThrow("v2");
  });

  test("nothing can be written", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada");
    const { secret } = await createReadToken(server.ctx, { kind: "admin" }, "default", "again");
    const state = await server.state();
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const answer = await server.request(method, "/scim/default/default/v2/Users/1", undefined, {
        authorization: `Bearer ${secret}`,
      });
      expectError(answer, 405);
      expect(answer.headers.get("allow")).toBe("GET");
    }
    expect(await server.state()).toBe(state);
    expectError(await cluster.get("/Nothing"), 404);
    expectError(await cluster.get("/Users/1/2/3"), 404);
  });
});

describe("questions", () => {
  test("filters, as they arrive from nsscache, and groups", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, "ada", "bob");
    const [ada] = resources(await cluster.get("/Users"));
    const ask = async (query: string) => names(await cluster.get(`/Users?${query}`));
    expect(await ask("filter=active+eq+%22true%22")).toEqual(["ada", "bob"]);
    expect(await ask("filter=active%20eq%20false")).toEqual([]);
    expect(await ask("filter=userName+eq+%22ADA%22+or+userName+eq+%22x%22")).toEqual(["ada"]);
    expect(await ask(`filter=uidNumber+gt+${ada?.id as string}`)).toEqual(["bob"]);
    expect(await ask(`filter=${encodeURIComponent(`${coreweave}:userName eq "bob"`)}`)).toEqual(["bob"]);
    expect(await ask("groups=slurm-users,slurm-sudo&filter=active+eq+%22true%22")).toEqual(["ada", "bob"]);
    expect(await ask("groups=slurm-sudo")).toEqual([]);
    const groups = await cluster.get("/Groups?filter=displayName+eq+%22slurm-users%22+or+displayName+eq+%22x%22");
    expect(names(groups)).toEqual(["slurm-users"]);
    expect(names(await cluster.get(`/Groups?filter=members.display+eq+%22ada%22`))).toEqual(["slurm-users"]);
    for (const filter of ["emails+pr", "active+gt+true", "password+pr", "("]) {
      expectError(await cluster.get(`/Users?filter=${filter}`), 400, "invalidFilter");
    }
    expectError(await cluster.get("/Users?groups="), 400, "invalidValue");
    expectError(await cluster.get("/Users?filter=id+pr&filter=id+pr"), 400, "invalidValue");
  });

  test("by place: everything at once, or a first page, and nothing that could be of another revision", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, ...crowd);
    expect(await walk(cluster, "/Users", 'filter=active eq "true"')).toEqual({ found: crowd, pages: 1 });
    expect((await cluster.get("/Users?startIndex=0&count=10")).json).toMatchObject({
      totalResults: 25,
      itemsPerPage: 10,
    });
    expect((await cluster.get("/Users?startIndex=26")).json).toMatchObject({
      totalResults: 25,
      startIndex: 26,
      itemsPerPage: 0,
      Resources: [],
    });
    expect((await cluster.get("/Users?count=0")).json).toMatchObject({ totalResults: 25, Resources: [] });
    expectError(await cluster.get("/Users?startIndex=25"), 400, "invalidValue");
    await expect(walk(cluster, "/Users", "count=10")).rejects.toThrow("cursor");
    for (const query of ["count=x", "count=1.5", "startIndex=1&count=0", "cursor=&count=0", "cursor=&count=ten"]) {
      expectError(await cluster.get(`/Users?${query}`), 400, "invalidCount");
    }
    expectError(await cluster.get("/Users?startIndex=one"), 400, "invalidValue");
    expectError(await cluster.get("/Users?startIndex=1&cursor="), 400, "invalidValue");
  });
});

describe("a walk by cursor", () => {
  test("finds everybody once, on pages of the size that was asked for", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, ...crowd);
    expect(await walk(cluster, "/Users", 'filter=active eq "true"&cursor&count=10')).toEqual({
      found: crowd,
      pages: 3,
    });
    expect(await walk(cluster, "/Users", "cursor=&count=25")).toEqual({ found: crowd, pages: 1 });
    expect(await walk(cluster, "/Users", "cursor")).toEqual({ found: crowd, pages: 1 });
    expect(await walk(cluster, "/Groups", "cursor")).toEqual({ found: ["slurm-users"], pages: 1 });
    expect(await walk(cluster, "/Groups", 'cursor&filter=displayName eq "x"')).toEqual({ found: [], pages: 1 });
    const { json } = await cluster.get("/Users?cursor=&count=10");
    expect(json).toMatchObject({ totalResults: 25, startIndex: 1, itemsPerPage: 10 });
    expect(json.nextCursor).toMatch(/^[A-Za-z0-9._~-]+$/);
  });

  test.each([true, false])("stays at its revision while people come and go (remembered: %s)", async (remembered) => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, ...crowd);
    const whole = resources(await cluster.get("/Users"));
    const first = await cluster.get("/Users?cursor=&count=10");
    const token = String(first.json.nextCursor);
    const rest = remembered ? cluster : await elsewhere(cluster);
    await setActive(cluster, "p03", false);
    await setActive(cluster, "p20", false);
    await server.request("PATCH", `/Users/${cluster.ids.p21}`, {
      schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
      Operations: [{ op: "replace", path: "displayName", value: "Other" }],
    });
    const late = await made(server, "/Users", { userName: "late@example.com" });
    await server.request("PATCH", `/Groups/${cluster.ids.group}`, {
      schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
      Operations: [{ op: "add", path: "members", value: [{ value: late }] }],
    });
    const second = await rest.get(`/Users?cursor=${token}&count=100`);
    expect(names(second)).toEqual(crowd.slice(10));
    expect([...resources(first), ...resources(second)]).toEqual(whole);
    expect(second.json).not.toHaveProperty("nextCursor");
    const now = crowd.filter((name) => name !== "p03" && name !== "p20");
    expect(await walk(rest, "/Users", "cursor&count=7")).toMatchObject({ found: [...now, "late"] });
  });

  test("ends an hour after its revision was superseded, not before", async () => {
    await using server = await scimServer();
    let passed = 0;
    const { now } = server.ctx;
    Object.assign(server.ctx, { now: () => now() + passed });
    const cluster = await clusterOf(server, ...crowd);
    const { nextCursor } = (await cluster.get("/Users?cursor=&count=10")).json;
    passed += 10 * 3_600_000;
    const next = () => cluster.get(`/Users?cursor=${String(nextCursor)}`);
    expect((await next()).status).toBe(200);
    await setActive(cluster, "p03", false);
    passed += 3_599_000;
    expect((await next()).status).toBe(200);
    passed += 1_000;
    expectError(await next(), 400, "expiredCursor");
  });

  test("takes no cursor that it did not make for this question", async () => {
    await using server = await scimServer();
    const cluster = await clusterOf(server, ...crowd);
    const token = String((await cluster.get("/Users?cursor=&count=10")).json.nextCursor);
    const [revision = "", offset = "", question = ""] = token.split(".");
    expect((await cluster.get(`/Users?cursor=${token}&count=3`)).status).toBe(200);
    const others = [
      "/Groups?",
      "/Users?filter=active+eq+true&",
      "/Users?groups=slurm-users&",
      "/Users?alias=coreweave&",
    ];
    for (const path of others) expectError(await cluster.get(`${path}cursor=${token}`), 400, "invalidCursor");
    const forged = [
      "x",
      `${revision}.0.${question}`,
      `${revision}.25.${question}`,
      `${revision}.${offset}`,
      `9999.${offset}.${question}`,
      `0.${offset}.${question}`,
      `-1.1.${question}`,
      `${token}.`,
      `${revision}.${offset}.0123456789abcdef`,
    ];
    for (const text of forged) expectError(await cluster.get(`/Users?cursor=${text}`), 400, "invalidCursor");
  });
});

/** The same cluster behind another server process's memory: it never saw the walk begin. */
async function elsewhere(cluster: Cluster): Promise<Cluster> {
  const { fastify } = await import("fastify");
  const { scim } = await import("../../server/scim/routes.ts");
  const app = fastify();
  const { url } = cluster.server;
  await app.register(scim(cluster.server.ctx, { baseUrl: () => url }));
  const { secret } = await createReadToken(cluster.server.ctx, { kind: "admin" }, "default", "elsewhere");
  return {
    ...cluster,
    async get(path) {
      const target = `/scim/default/default/v2${path}`;
      const answer = await app.inject({ url: target, headers: { authorization: `Bearer ${secret}` } });
      const headers = new Headers({ "content-type": String(answer.headers["content-type"]) });
      return { status: answer.statusCode, headers, text: answer.body, json: answer.json<Json>() };
    },
  };
}

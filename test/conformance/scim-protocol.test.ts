/** What RFC 7644 and 9865 offer beside single requests: versions, bulk, searches, the root, walks, discovery. */

import { describe, expect, test } from "vitest";
import { createScimToken } from "../../server/directory/tokens.ts";
import { limits } from "../../server/scim/walks.ts";
import { type Answer, expectError, type Json, made, type ScimServer, scimServer } from "./scim-server.ts";

const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

function patch(...Operations: Json[]): Json {
  return { schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations };
}

const title = (value: string): Json => patch({ op: "replace", path: "title", value });

describe("versions", () => {
  test("are the ETag of every answer with one resource", async () => {
    await using server = await scimServer();
    const created = await server.request("POST", "/Users", { userName: "ada" });
    const version = (created.json.meta as Json).version as string;
    const url = `/Users/${created.json.id as string}`;
    expect(created.headers.get("etag")).toBe(version);
    const narrow = await server.request("GET", `${url}?attributes=userName`);
    expect([narrow.headers.get("etag"), narrow.json.meta]).toEqual([version, undefined]);
    const patched = await server.request("PATCH", url, title("Dr"));
    expect(patched.headers.get("etag")).not.toBe(version);
    expect(patched.headers.get("etag")).toBe((patched.json.meta as Json).version);
    const group = await server.request("POST", "/Groups", { displayName: "g" });
    const groupUrl = `/Groups/${group.json.id as string}`;
    const add = patch({ op: "add", path: "members", value: [{ value: created.json.id }] });
    const added = await server.request("PATCH", groupUrl, add);
    const read = await server.request("GET", groupUrl);
    expect([added.status, added.headers.get("etag")]).toEqual([204, (read.json.meta as Json).version]);
    expect((await server.request("GET", "/Users")).headers.get("etag")).toBeNull();
    const head = await server.request("HEAD", url);
    expect([head.status, head.text, head.headers.get("etag")]).toEqual([200, "", patched.headers.get("etag")]);
  });

  test("that a client has are not sent again", async () => {
    await using server = await scimServer();
    const url = `/Users/${await made(server, "/Users", { userName: "ada" })}`;
    const version = (await server.request("GET", url)).headers.get("etag") ?? "";
    for (const held of [version, "*", `"x", ${version}`, version.slice(2)]) {
      const answer = await server.request("GET", url, undefined, { "if-none-match": held });
      expect([answer.status, answer.text, answer.headers.get("etag")], held).toEqual([304, "", version]);
    }
    for (const other of ['W/"x"', "", version.slice(3, -1)]) {
      expect((await server.request("GET", url, undefined, { "if-none-match": other })).status, other).toBe(200);
    }
    await server.request("PATCH", url, title("Dr"));
    expect((await server.request("GET", url, undefined, { "if-none-match": version })).status).toBe(200);
    expectError(await server.request("GET", "/Users/none", undefined, { "if-none-match": "*" }), 404);
  });

  test.each([
    ["/Users", { userName: "ada" }, { userName: "ada", title: "Dr" }, title("Dr")],
    ["/Groups", { displayName: "g" }, { displayName: "h" }, patch({ op: "replace", value: { displayName: "h" } })],
  ])("that are stale let no change of %s through", async (path, body, put, change) => {
    await using server = await scimServer();
    const url = `${path}/${await made(server, path, body)}`;
    const first = (await server.request("GET", url)).headers.get("etag") ?? "";
    const same = await server.request("PUT", url, body, { "if-match": first });
    expect([same.status, same.headers.get("etag")]).toEqual([200, first]);
    expect((await server.request("PATCH", url, change, { "if-match": first })).status).toBeLessThan(300);
    const before = await server.state();
    for (const stale of [first, `${first}, "y"`, '"x"', "", "null"]) {
      expectError(await server.request("PATCH", url, change, { "if-match": stale }), 412);
      expectError(await server.request("PUT", url, put, { "if-match": stale }), 412);
      expectError(await server.request("DELETE", url, undefined, { "if-match": stale }), 412);
    }
    expect(await server.state()).toBe(before);
    expect((await server.request("PUT", url, put, { "if-match": "*" })).status).toBe(200);
    const now = (await server.request("GET", url)).headers.get("etag") ?? "";
    expect((await server.request("DELETE", url, undefined, { "if-match": `"x", ${now}` })).status).toBe(204);
    expectError(await server.request("DELETE", url, undefined, { "if-match": "*" }), 404);
  });

  test("let one of 8 writers through", async () => {
    await using server = await scimServer();
    for (const [path, body, change] of [
      ["/Users", { userName: "ada" }, (i: number) => title(`Dr ${i}`)],
      ["/Groups", { displayName: "g" }, (i: number) => patch({ op: "replace", path: "externalId", value: `${i}` })],
    ] as const) {
      const url = `${path}/${await made(server, path, body)}`;
      const version = (await server.request("GET", url)).headers.get("etag") ?? "";
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, i) => server.request("PATCH", url, change(i), { "if-match": version })),
      );
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 412)).toHaveLength(7);
      expect(statuses.filter((status) => status < 300)).toHaveLength(1);
    }
  });
});

describe("bulk", () => {
  const send = (server: ScimServer, Operations: unknown, more: Json = {}): Promise<Answer> =>
    server.request("POST", "/Bulk", {
      schemas: ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
      ...more,
      Operations,
    });
  const results = ({ status, json, text }: Answer): Json[] => {
    expect(status, text).toBe(200);
    expect(json.schemas).toEqual(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]);
    return json.Operations as Json[];
  };
  const statuses = (answer: Answer): unknown[] => results(answer).map(({ status }) => status);
  const post = (bulkId: string, data: Json, path = "/Users"): Json => ({ method: "POST", path, bulkId, data });

  test("does every method, and says where, which version and how it went", async () => {
    await using server = await scimServer();
    const ada = await made(server, "/Users", { userName: "ada" });
    const bob = await made(server, "/Users", { userName: "bob" });
    const eve = await made(server, "/Users", { userName: "eve" });
    const version = (await server.request("GET", `/Users/${ada}`)).headers.get("etag");
    const answer = await send(server, [
      post("new", { userName: "dee" }),
      { method: "put", path: `/users/${ada}`, version, data: { userName: "ada", title: "Dr" } },
      { method: "PATCH", path: `/Users/${bob}`, bulkId: "b", data: title("Dr") },
      { method: "DELETE", path: `/Users/${eve}` },
      { method: "PUT", path: `/Users/${ada}`, version, data: { userName: "ada" } },
      post("again", { userName: "DEE" }),
      { method: "DELETE", path: "/Users/none" },
      post("where", {}, "/Things"),
      { method: "POST", path: `/Users/${ada}`, bulkId: "id", data: {} },
      { method: "PUT", path: "/Users", data: {} },
      { method: "PATCH", path: `/Users/${bob}` },
    ]);
    const all = results(answer);
    const base = `${server.url}/scim/default/v2`;
    const found = await server.request("GET", '/Users?filter=userName eq "dee"');
    const [dee] = found.json.Resources as { meta: Json }[];
    expect(all[0]).toEqual({
      method: "POST",
      bulkId: "new",
      location: dee?.meta.location,
      version: dee?.meta.version,
      status: "201",
    });
    const etag = async (id: string) => (await server.request("GET", `/Users/${id}`)).headers.get("etag");
    expect(all[1]).toEqual({
      method: "PUT",
      location: `${base}/Users/${ada}`,
      version: await etag(ada),
      status: "200",
    });
    expect(all[2]).toMatchObject({ method: "PATCH", bulkId: "b", version: await etag(bob), status: "200" });
    expect(all[3]).toEqual({ method: "DELETE", location: `${base}/Users/${eve}`, status: "204" });
    expect(all[4]).toMatchObject({ status: "412", location: `${base}/Users/${ada}`, response: { status: "412" } });
    expect(all[5]).toEqual({
      method: "POST",
      bulkId: "again",
      status: "409",
      response: expect.objectContaining({ status: "409", scimType: "uniqueness" }),
    });
    expect(all.slice(6).map(({ status }) => status)).toEqual(["404", "404", "404", "404", "400"]);
  });

  test("resolves references, forward too, in members, manager, paths and filters", async () => {
    await using server = await scimServer();
    const gone = await made(server, "/Users", { userName: "gone" });
    const group = await made(server, "/Groups", { displayName: "old", members: [{ value: gone }] });
    const answer = await send(server, [
      post("g", { displayName: "slurm-users", members: [{ value: "bulkId:a" }] }, "/Groups"),
      { method: "PATCH", path: "/Users/bulkId:b", data: title("Dr") },
      post("a", { userName: "ada", [enterprise]: { manager: { value: "bulkId:b" } } }),
      { method: "PATCH", path: `/Groups/${group}`, data: patch({ op: "add", path: "members", value: "bulkId:b" }) },
      post("b", { userName: "bob", nickName: "not bulkId:b" }),
      {
        method: "PATCH",
        path: `/Groups/${group}`,
        data: patch({ op: "remove", path: 'members[value eq "bulkId:b"]' }),
      },
    ]);
    expect(statuses(answer)).toEqual(["201", "200", "201", "204", "201", "204"]);
    const idOf = (index: number): string => String(results(answer)[index]?.location).split("/").at(-1) ?? "";
    expect(results(answer)[1]?.location).toBe(results(answer)[4]?.location);
    const ada = await server.request("GET", `/Users/${idOf(2)}`);
    expect(ada.json).toMatchObject({ groups: [{ value: idOf(0) }], [enterprise]: { manager: { value: idOf(4) } } });
    const bob = await server.request("GET", `/Users/${idOf(4)}`);
    expect(bob.json).toMatchObject({ title: "Dr", nickName: "not bulkId:b" });
    expect((await server.request("GET", `/Groups/${group}`)).json.members).toMatchObject([{ value: gone }]);
  });

  test("refuses what goes round in a circle, what refers to nothing, and what needs either", async () => {
    await using server = await scimServer();
    const boss = (value: string): Json => ({ [enterprise]: { manager: { value } } });
    const answer = await send(server, [
      post("a", { userName: "ada", ...boss("bulkId:b") }),
      post("b", { userName: "bob", ...boss("bulkId:a") }),
      post("c", { userName: "cyd", ...boss("bulkId:c") }),
      post("d", { userName: "dee", ...boss("bulkId:nobody") }),
      post("e", { userName: "eve", ...boss("bulkId:a") }),
      post("f", { userName: "fay" }),
      post("constructor", { userName: "gus", ...boss("bulkId:__proto__") }),
    ]);
    expect(statuses(answer)).toEqual(["409", "409", "409", "400", "409", "201", "400"]);
    expect((await server.request("GET", "/Users")).json.totalResults).toBe(1);
  });

  test("a chain of 1000 backward references is done in time", async () => {
    await using server = await scimServer();
    const start = performance.now();
    const chain = Array.from({ length: 1000 }, (_, i) =>
      post(`u${i}`, { userName: `user${i}`, [enterprise]: { manager: { value: `bulkId:u${i + 1}` } } }),
    );
    expect(new Set(statuses(await send(server, chain)))).toEqual(new Set(["400", "409"]));
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test("failOnErrors ends it, and what was not done is left out", async () => {
    await using server = await scimServer();
    const bad = { method: "DELETE", path: "/Users/none" };
    const operations = [post("a", { userName: "ada" }), bad, post("b", { userName: "bob" }), bad, post("c", {})];
    expect(statuses(await send(server, operations, { failOnErrors: 1 }))).toEqual(["201", "404"]);
    const [, , ...later] = operations;
    expect(statuses(await send(server, [bad, ...later], { failOnErrors: 2 }))).toEqual(["404", "201", "404"]);
    const users = (await server.request("GET", "/Users")).json.Resources as Json[];
    expect(users.map(({ userName }) => userName)).toEqual(["ada", "bob"]);
    for (const failOnErrors of [0, -1, 1.5, "1", {}]) {
      expectError(await send(server, operations, { failOnErrors }), 400, "invalidSyntax");
    }
  });

  test("is refused whole if its shape is wrong or it is too large", async () => {
    await using server = await scimServer();
    const before = await server.state();
    const ok = post("a", { userName: "ada" });
    for (const operations of [
      undefined,
      {},
      [ok, null],
      [ok, { ...ok, bulkId: undefined }],
      [ok, { ...ok, bulkId: "" }],
      [ok, ok],
      [ok, { method: "DELETE", path: "/Users/x", bulkId: "a" }],
      [ok, { method: "GET", path: "/Users" }],
      [ok, { method: "DELETE" }],
      [ok, { method: "DELETE", path: 7 }],
      [ok, { method: "DELETE", path: "/Users/x", version: 7 }],
    ]) {
      expectError(await send(server, operations), 400, "invalidSyntax");
    }
    const many = Array.from({ length: 1001 }, (_, i) => post(`u${i}`, { userName: `user${i}` }));
    expectError(await send(server, many), 413);
    expectError(await send(server, [post("a", { userName: "ada", title: "x".repeat(2 ** 23) })]), 413);
    const deep = `{"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":${"[".repeat(40)}${"]".repeat(40)}}]}`;
    expectError(await server.request("POST", "/Bulk", deep), 400, "invalidSyntax");
    expect(await server.state()).toBe(before);
    expect(statuses(await send(server, []))).toEqual([]);
  });

  test("may touch only what its connection made, and a prototype never", async () => {
    await using server = await scimServer();
    const { secret } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra");
    const theirs = await made(server, "/Users", { userName: "ada" });
    const body = `{"Operations":[{"method":"DELETE","path":"/Users/${theirs}"},{"method":"POST","path":"/Users","bulkId":"__proto__",
      "data":{"userName":"eve","__proto__":{"title":"bulkId:__proto__"}}},{"method":"DELETE","path":"/Users/bulkId:__proto__"}]}`;
    const answer = await server.request("POST", "/Bulk", body, { authorization: `Bearer ${secret}` });
    expect(statuses(answer)).toEqual(["404", "409", "409"]);
    expect({}).not.toHaveProperty("title");
  });

  test("a bug of ours in one operation is its 500, and is logged", async () => {
    await using server = await scimServer();
    await server.request("GET", "/Users");
    Object.assign(server.ctx.store, { write: () => Promise.reject(new Error("the disk is gone")) });
    const answer = await send(server, [post("a", { userName: "ada", password: "1mz050nq" })]);
    expect(results(answer)).toMatchObject([{ status: "500", response: { detail: "internal" } }]);
    expect(server.logged.filter((line) => line.includes("the disk is gone"))).toHaveLength(1);
    expect(server.logged.join("")).not.toContain("1mz050nq");
  });
});

describe("searches", () => {
  const urn = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
  const search = (server: ScimServer, path: string, body: Json): Promise<Answer> =>
    server.request("POST", `${path}/.search`, { schemas: [urn], ...body });

  async function populated(): Promise<ScimServer> {
    const server = await scimServer();
    for (const userName of ["ada", "bob", "cyd"]) await made(server, "/Users", { userName, externalId: userName });
    for (const displayName of ["g", "h"]) await made(server, "/Groups", { displayName, externalId: displayName });
    return server;
  }

  const named = ({ status, json, text }: Answer): unknown[] => {
    expect(status, text).toBe(200);
    const all = (json.Resources as Json[]).map(({ userName, displayName }) => userName ?? displayName);
    return [json.totalResults, ...all];
  };

  test("by a body are what they are by the URL", async () => {
    await using server = await populated();
    const questions: [path: string, query: string, body: Json][] = [
      ["/Users", "", {}],
      ["/Users", "startIndex=2&count=1", { startIndex: 2, count: 1 }],
      ["/users", "startIndex=2&count=1", { startIndex: "2", Count: "1", filter: null }],
      ["/Users", 'filter=userName eq "bob"', { filter: 'userName eq "bob"' }],
      ["/Users", "attributes=userName,active", { attributes: ["userName", "active"] }],
      ["/Users", "excludedAttributes=meta,schemas", { excludedAttributes: ["meta", "schemas"] }],
      ["/Groups", 'filter=displayName eq "g"&count=0', { filter: 'displayName eq "g"', count: 0 }],
      ["", "startIndex=3&count=2", { startIndex: 3, count: 2 }],
      ["", 'filter=meta.resourceType eq "Group"', { filter: 'meta.resourceType eq "Group"' }],
    ];
    for (const [path, query, body] of questions) {
      const byUrl = await server.request("GET", `${path}/?${query}`.replace(/^(\/\w+)\//, "$1"));
      expect(byUrl.status, byUrl.text).toBe(200);
      expect((await search(server, path, body)).json).toEqual(byUrl.json);
    }
  });

  test("of the wrong type are refused", async () => {
    await using server = await populated();
    for (const body of [
      { filter: 7 },
      { filter: ["x"] },
      { count: true },
      { count: 1.5 },
      { startIndex: {} },
      { attributes: [7] },
      { attributes: { toString: 1 } },
      { sortBy: 1 },
      { cursor: 7 },
    ]) {
      expectError(await search(server, "/Users", body), 400, "invalidValue");
    }
    expectError(await search(server, "/Users", { filter: "(".repeat(5000) }), 400, "invalidFilter");
    expectError(await search(server, "/Things", {}), 404);
    expectError(await server.request("POST", "/Users/.search", "[]"), 400, "invalidSyntax");
  });

  test("of everything find users, then groups, paged as one list", async () => {
    await using server = await populated();
    expect(named(await server.request("GET", "/"))).toEqual([5, "ada", "bob", "cyd", "g", "h"]);
    expect(named(await server.request("GET", ""))).toEqual([5, "ada", "bob", "cyd", "g", "h"]);
    for (let start = 1; start <= 6; start++) {
      const page = named(await search(server, "", { startIndex: start, count: 2 }));
      expect(page).toEqual([5, ...["ada", "bob", "cyd", "g", "h"].slice(start - 1, start + 1)]);
    }
    expect(named(await search(server, "", { count: 0 }))).toEqual([5]);
    const filtered = async (filter: string) => named(await search(server, "", { filter }));
    expect(await filtered('userName eq "bob"')).toEqual([1, "bob"]);
    expect(await filtered('externalId eq "g"')).toEqual([1, "g"]);
    expect(await filtered('meta.resourceType eq "user"')).toEqual([3, "ada", "bob", "cyd"]);
    expect(await filtered('meta.resourceType ne "User" and externalId eq "g"')).toEqual([1, "g"]);
    expect(await filtered('not (meta.resourceType eq "User") or userName eq "bob"')).toEqual([3, "bob", "g", "h"]);
    expectError(await search(server, "", { filter: 'nothing eq "x"' }), 400, "invalidFilter");
    expectError(await search(server, "", { filter: 'meta.resourceType gt "x"' }), 400, "invalidFilter");
    expectError(await search(server, "", { sortBy: "id" }), 400, "invalidValue");
  });

  // Needs the filters that both types have not got yet.
  test("of everything know what a type does not have as unassigned", async () => {
    await using server = await populated();
    const filtered = async (filter: string) => named(await search(server, "", { filter }));
    expect(await filtered('displayName eq "H"')).toEqual([1, "h"]);
    expect(await filtered('userName ne "bob" and externalId eq "h" and not (userName pr)')).toEqual([1, "h"]);
  });
});

describe("walks", () => {
  const walk = (server: ScimServer, query: string, path = "/Users"): Promise<Answer> =>
    server.request("GET", `${path}?${query}`);

  async function crowd(size: number): Promise<ScimServer & { pass(ms: number): void }> {
    const server = await scimServer();
    for (let i = 0; i < size; i++) await made(server, "/Users", { userName: `user${i}` });
    let ahead = 0;
    const { now } = server.ctx;
    Object.assign(server.ctx, { now: () => now() + ahead });
    return { ...server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](), pass: (ms) => void (ahead += ms) };
  }

  const names = ({ json }: Answer): string[] => (json.Resources as Json[]).map(({ userName }) => userName as string);

  test("see one state to the end, whatever is written meanwhile", async () => {
    await using server = await crowd(5);
    const first = await walk(server, "cursor=&count=2");
    expect(first.json).toMatchObject({ totalResults: 5, itemsPerPage: 2, nextCursor: expect.any(String) });
    expect(first.json).not.toHaveProperty("startIndex");
    expect(first.json.nextCursor).toMatch(/^[A-Za-z0-9._~-]+$/);
    for (const { id } of first.json.Resources as Json[]) await server.request("DELETE", `/Users/${id as string}`);
    await made(server, "/Users", { userName: "aaa" });
    const last = ((await walk(server, "startIndex=4")).json.Resources as Json[])[0];
    await server.request("PATCH", `/Users/${last?.id as string}`, title("Dr"));
    const second = await walk(server, `cursor=${first.json.nextCursor as string}&count=2`);
    const third = await walk(server, `cursor=${second.json.nextCursor as string}&count=2`);
    expect([first, second, third].flatMap(names)).toEqual([0, 1, 2, 3, 4].map((i) => `user${i}`));
    expect([second, third].map(({ json }) => json.totalResults)).toEqual([5, 5]);
    expect(third.text).not.toContain("Dr");
    expect(third.json).not.toHaveProperty("nextCursor");
    expect((await walk(server, "")).json.totalResults).toBe(4);
    // It is closed now.
    expectError(await walk(server, `cursor=${second.json.nextCursor as string}&count=2`), 400, "expiredCursor");
  });

  test("go over groups, searches and the root as well", async () => {
    await using server = await crowd(3);
    for (const displayName of ["g", "h", "i"]) await made(server, "/Groups", { displayName });
    for (const [path, total] of [["/Groups", 3] as const, ["/Users", 3] as const, ["", 6] as const]) {
      const seen: unknown[] = [];
      let cursor: unknown = "";
      while (cursor !== undefined) {
        const { json } = await server.request("POST", `${path}/.search`, { cursor, count: 2 });
        seen.push(...(json.Resources as Json[]).map(({ id }) => id));
        cursor = json.nextCursor;
      }
      expect(new Set(seen).size).toBe(total);
    }
  });

  test("are for one question, one type and one connection", async () => {
    await using server = await crowd(3);
    const cursor = (await walk(server, "cursor&count=1")).json.nextCursor as string;
    const { secret } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra");
    const refused: [query: string, path?: string][] = [
      [`cursor=${cursor}&filter=userName eq "user1"`],
      [`cursor=${cursor}&sortBy=userName`],
      [`cursor=${cursor}`, "/Groups"],
      ["cursor=1"],
      ["cursor=%00"],
      [`cursor=${cursor}.1`],
      [`cursor=${"9".repeat(5000)}`],
      ["cursor=x.-1"],
    ];
    for (const [query, path] of refused) expectError(await walk(server, query, path), 400, "invalidCursor");
    const theirs = await server.request("GET", `/Users?cursor=${cursor}`, undefined, {
      authorization: `Bearer ${secret}`,
    });
    expectError(theirs, 400, "invalidCursor");
    expectError(await walk(server, "cursor=unknown.1"), 400, "expiredCursor");
    expectError(await walk(server, `cursor=${cursor}&startIndex=1`), 400, "invalidValue");
    for (const count of ["x", "-1", "1.5"]) {
      expectError(await walk(server, `cursor=${cursor}&count=${count}`), 400, "invalidCount");
    }
    expect(names(await walk(server, `cursor=${cursor}&count=999999999&attributes=userName`))).toEqual([
      "user1",
      "user2",
    ]);
  });

  test("of nothing but a count are not kept; a bad question opens none", async () => {
    await using server = await crowd(2);
    const counted = await walk(server, "cursor&count=0");
    expect(counted.json).toMatchObject({ totalResults: 2, itemsPerPage: 0, Resources: [] });
    expect(counted.json).not.toHaveProperty("nextCursor");
    expectError(await walk(server, "cursor&filter=("), 400, "invalidFilter");
    expect((await walk(server, "cursor")).json).not.toHaveProperty("nextCursor");
  });

  test("end when they are left alone, and when they last too long", async () => {
    await using server = await crowd(3);
    const cursor = (await walk(server, "cursor&count=1")).json.nextCursor as string;
    server.pass(limits.idle - 1000);
    expect((await walk(server, `cursor=${cursor}&count=1`)).status).toBe(200);
    server.pass(limits.idle - 1000);
    expect((await walk(server, `cursor=${cursor}&count=1`)).status).toBe(200);
    server.pass(limits.idle + 1);
    expectError(await walk(server, `cursor=${cursor}&count=1`), 400, "expiredCursor");
    const slow = (await walk(server, "cursor&count=1")).json.nextCursor as string;
    for (let spent = 0; spent < limits.life - limits.idle; spent += limits.idle / 2) {
      server.pass(limits.idle / 2);
      expect((await walk(server, `cursor=${slow}&count=1`)).status).toBe(200);
    }
    server.pass(limits.idle / 2);
    expect((await walk(server, `cursor=${slow}&count=1`)).status).toBe(200);
    server.pass(limits.idle / 2);
    expectError(await walk(server, `cursor=${slow}&count=1`), 400, "expiredCursor");
  });

  test("crowd out the one left alone longest, of one's own first", async () => {
    await using server = await crowd(3);
    const begin = async (): Promise<string> => (await walk(server, "cursor&count=1")).json.nextCursor as string;
    const cursors = [await begin(), await begin(), await begin(), await begin()];
    const go = (cursor = ""): Promise<Answer> => walk(server, `cursor=${cursor}&count=1`);
    expect((await go(cursors[0])).status).toBe(200);
    await begin();
    expectError(await go(cursors[1]), 400, "expiredCursor");
    for (const kept of [0, 2, 3]) expect((await go(cursors[kept])).status).toBe(200);
  });

  test("at the same time from many connections stay within their number, and none of them fails", async () => {
    await using server = await crowd(3);
    const begun: { cursor: string; authorization: string }[] = [];
    for (let i = 0; i < 5; i++) {
      const { secret } = await createScimToken(server.ctx, { kind: "admin" }, "default", `c${i}`);
      const authorization = `Bearer ${secret}`;
      for (const n of [0, 1, 2]) {
        await server.request("POST", "/Users", { userName: `c${i}-person${n}` }, { authorization });
      }
      const first = () => server.request("GET", "/Users?cursor&count=1", undefined, { authorization });
      for (const { status, json } of await Promise.all([first(), first(), first(), first(), first(), first()])) {
        expect(status).toBe(200);
        begun.push({ cursor: json.nextCursor as string, authorization });
      }
    }
    const again = await Promise.all(
      begun.map(({ cursor, authorization }) =>
        server.request("GET", `/Users?cursor=${cursor}&count=1`, undefined, { authorization }),
      ),
    );
    const alive = again.filter(({ status }) => status === 200);
    expect(alive.length).toBe(limits.all);
    for (const answer of again) if (answer.status !== 200) expectError(answer, 400, "expiredCursor");
  });
});

describe("discovery", () => {
  test("says what there is, in numbers that hold", async () => {
    await using server = await scimServer();
    const { json } = await server.request("GET", "/ServiceProviderConfig");
    expect(json).toMatchObject({
      patch: { supported: true },
      bulk: { supported: true, maxOperations: 1000, maxPayloadSize: 8 * 2 ** 20 },
      filter: { supported: true, maxResults: 1000 },
      changePassword: { supported: false },
      sort: { supported: true },
      etag: { supported: true },
      pagination: {
        cursor: true,
        index: true,
        defaultPaginationMethod: "index",
        defaultPageSize: 100,
        maxPageSize: 1000,
        cursorTimeout: 300,
      },
      authenticationSchemes: [{ type: "oauthbearertoken", primary: true }, { type: "oauth2" }],
    });
  });

  test("describes every attribute whole, with all that RFC 7643, section 7, asks for", async () => {
    await using server = await scimServer();
    const { json } = await server.request("GET", "/Schemas");
    const schemas = json.Resources as Json[];
    expect(schemas.map(({ name }) => name)).toEqual(["User", "EnterpriseUser", "PosixUser", "Group", "PosixGroup"]);
    const check = (attribute: Json, where: string): void => {
      expect(attribute, where).toEqual({
        name: expect.stringMatching(/^[A-Za-z$][A-Za-z0-9$_-]*$/),
        type: expect.stringMatching(/^(string|boolean|integer|decimal|dateTime|reference|complex)$/),
        multiValued: expect.any(Boolean),
        description: expect.stringMatching(/./),
        required: expect.any(Boolean),
        caseExact: expect.any(Boolean),
        mutability: expect.stringMatching(/^(readOnly|readWrite|immutable|writeOnly)$/),
        returned: expect.stringMatching(/^(always|never|default|request)$/),
        uniqueness: expect.stringMatching(/^(none|server|global)$/),
        ...(attribute.type === "complex" && { subAttributes: expect.any(Array) }),
        ...(attribute.type === "reference" && { referenceTypes: expect.any(Array) }),
        ...("canonicalValues" in attribute && { canonicalValues: expect.any(Array) }),
      });
      for (const sub of (attribute.subAttributes ?? []) as Json[]) check(sub, `${where}.${sub.name as string}`);
    };
    for (const { id, name, description, attributes, meta } of schemas) {
      expect(description).toMatch(/./);
      expect(meta).toMatchObject({ resourceType: "Schema", location: expect.stringContaining(id as string) });
      for (const attribute of attributes as Json[]) check(attribute, `${name as string}.${attribute.name as string}`);
      expect((await server.request("GET", `/Schemas/${id as string}`)).json.attributes).toEqual(attributes);
    }
  });

  test("what cannot be routed is refused in SCIM's form", async () => {
    await using server = await scimServer();
    expectError(await server.request("GET", "/Users/%"), 400);
    expectError(await server.request("GET", "/Users/%ff%fe"), 400);
    expectError(await server.request("GET", `/Users/${"x".repeat(1001)}`), 414);
    expectError(await server.request("GET", `/Users/${"x".repeat(1000)}`), 404);
    expectError(await server.request("PUT", "/Users", {}), 404);
    expectError(await server.request("DELETE", "/"), 404);
    expectError(await server.request("POST", "/", {}), 404);
    expect((await server.request("HEAD", "/Users")).status).toBe(200);
    expect((await server.request("HEAD", "/Users/none")).status).toBe(404);
  });
});

/** OAuth 2.0 client credentials (RFC 6749, sections 2.3.1, 4.4, 5), as Entra's gallery asks for, and as strangers try it. */

import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test, vi } from "vitest";
import { issueAccessToken } from "../../server/directory/access-tokens.ts";
import { createScimToken, revokeScimToken, rotateScimToken } from "../../server/directory/tokens.ts";
import { type Json, type Limits, type ScimServer, scimServer } from "./scim-server.ts";

interface Said {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Json;
}

const form = "application/x-www-form-urlencoded";

async function post(
  server: ScimServer,
  body: string | Uint8Array | Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Said> {
  const raw = typeof body === "string" || body instanceof Uint8Array;
  const sent = (raw ? body : new URLSearchParams(body).toString()) as NonNullable<RequestInit["body"]>;
  const init = { method: "POST", headers: { "content-type": form, ...headers }, body: sent };
  const answer = await fetch(`${server.url}/oauth/token`, init);
  return { status: answer.status, headers: answer.headers, json: (await answer.json()) as Json };
}

const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`,
});

async function withClient(limits: Limits = {}) {
  const server = await scimServer(limits);
  const { secret, token } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra", {
    kind: "client",
  });
  return {
    server,
    id: token.id,
    secret,
    inBody: { grant_type: "client_credentials", client_id: token.id, client_secret: secret },
    /** The status of a SCIM request with a token. */
    opens: async (bearer: unknown): Promise<number> =>
      (await server.request("GET", "/Users", undefined, { authorization: `Bearer ${String(bearer)}` })).status,
    later(ms: number): void {
      const now = server.ctx.now() + ms;
      vi.spyOn(server.ctx, "now").mockReturnValue(now);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const grant = { grant_type: "client_credentials" };

test("credentials in the body or in a Basic header give a token that opens SCIM for an hour", async () => {
  await using client = await withClient();
  const { server, id, secret, inBody, opens } = client;
  const ways: [Record<string, string>, Record<string, string>][] = [
    [inBody, {}],
    [{ ...inBody, scope: "anything" }, {}],
    [grant, basic(id, secret)],
    [{ ...grant, client_id: id }, basic(id, secret)],
    [grant, basic(id.replaceAll("-", "%2D"), secret.replace("_", "%5F"))],
    [grant, { ...basic(id, secret), "content-type": `${form}; charset=utf-8` }],
  ];
  for (const [body, headers] of ways) {
    const { status, headers: said, json } = await post(server, body, headers);
    expect([status, json], JSON.stringify(body)).toEqual([
      200,
      { access_token: expect.stringMatching(/^rct_[\w-]{43}$/), token_type: "Bearer", expires_in: 3600 },
    ]);
    expect([said.get("cache-control"), said.get("pragma")]).toEqual(["no-store", "no-cache"]);
    expect(said.get("content-type")).toMatch(/^application\/json/);
    expect(await opens(json["access_token"])).toBe(200);
  }
});

test("an access token is the client's connection: what it makes belongs to the connection's other tokens", async () => {
  await using client = await withClient();
  const { server, inBody } = client;
  const { json } = await post(server, inBody);
  const made = await server.request(
    "POST",
    "/Users",
    { schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"], userName: "ada" },
    { authorization: `Bearer ${String(json["access_token"])}` },
  );
  expect(made.status).toBe(201);
  const { secret } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra");
  const path = `/Users/${String(made.json["id"])}`;
  expect((await server.request("DELETE", path)).status).toBe(404);
  expect((await server.request("DELETE", path, undefined, { authorization: `Bearer ${secret}` })).status).toBe(204);
});

test("an access token ends after an hour, and is forgotten when the next one is issued", async () => {
  await using client = await withClient();
  const { server, inBody, opens } = client;
  const { json } = await post(server, inBody);
  client.later(3_590_000);
  expect(await opens(json["access_token"])).toBe(200);
  client.later(10_001);
  expect(await opens(json["access_token"])).toBe(401);
  expect(await issued(server, client.id)).toBe(1);
  await post(server, inBody);
  expect(await issued(server, client.id)).toBe(1);
});

test("a client's access tokens die with it: revoked, expired or rotated away", async () => {
  await using client = await withClient();
  const { server, inBody, opens } = client;
  const old = (await post(server, inBody)).json["access_token"];
  const { token, secret } = await rotateScimToken(server.ctx, { kind: "admin" }, client.id, 60_000);
  const fresh = (await post(server, { ...grant, client_id: token.id, client_secret: secret })).json["access_token"];
  expect([await opens(old), await opens(fresh)]).toEqual([200, 200]);
  const last = await post(server, inBody);
  expect(last.json["expires_in"], "no longer than the client").toBeLessThanOrEqual(60);
  client.later(61_000);
  expect([await opens(old), await opens(fresh)]).toEqual([401, 200]);
  expect((await post(server, inBody)).json["error"]).toBe("invalid_client");
  await revokeScimToken(server.ctx, { kind: "admin" }, token.id);
  expect(await opens(fresh)).toBe(401);
});

test("a client's own secret opens nothing, and an access token gets no other", async () => {
  await using client = await withClient();
  const { server, id, secret, inBody, opens } = client;
  expect(await opens(secret)).toBe(401);
  const { json } = await post(server, inBody);
  for (const wrong of [String(json["access_token"]), server.token, "x", `${secret}x`]) {
    expect((await post(server, { ...grant, client_id: id, client_secret: wrong })).status).toBe(401);
  }
  expect((await post(server, { ...inBody, client_id: "other" })).status).toBe(401);
});

test("an access token is not the admin's to rotate or revoke: its client is", async () => {
  await using client = await withClient();
  const { ctx } = client.server;
  const made = await issueAccessToken(ctx, client.id, client.secret);
  for (const command of [rotateScimToken, revokeScimToken]) {
    await expect(command(ctx, { kind: "admin" }, made?.token.id ?? "")).rejects.toMatchObject({ reason: "not-found" });
  }
});

test("a hundred access tokens of a client work at a time: the oldest gives way", async () => {
  await using client = await withClient();
  const { server, id, secret, opens } = client;
  const made: string[] = [];
  for (let i = 0; i < 101; i++) made.push((await issueAccessToken(server.ctx, id, secret))?.secret ?? "");
  expect(await issued(server, id)).toBe(100);
  expect([await opens(made[0]), await opens(made[1]), await opens(made[100])]).toEqual([401, 200, 200]);
});

test("what is wrong is said in the words of RFC 6749, and nothing that was sent is said back or logged", async () => {
  await using client = await withClient();
  const { server, id, secret, inBody } = client;
  const encoded = new URLSearchParams(inBody).toString();
  const refused: [number, string, string | Uint8Array | Record<string, string>, Record<string, string>?][] = [
    [400, "invalid_request", ""],
    [400, "invalid_request", "grant_type="],
    [400, "invalid_request", "=&&&==&%zz=%ff"],
    [400, "unsupported_grant_type", { ...inBody, grant_type: "password" }],
    [400, "unsupported_grant_type", { ...inBody, grant_type: "CLIENT_CREDENTIALS" }],
    [400, "unsupported_grant_type", { ...inBody, grant_type: "__proto__" }],
    [400, "invalid_request", `${encoded}&client_secret=${secret}`],
    [400, "invalid_request", `${encoded}&scope=a&scope=b`],
    [400, "invalid_request", `${encoded}&grant_type=`],
    [400, "invalid_request", inBody, basic(id, secret)],
    [400, "invalid_request", { ...grant, client_id: "other" }, basic(id, secret)],
    [400, "invalid_request", new Uint8Array([0x67, 0xff, 0xfe])],
    [401, "invalid_client", grant],
    [401, "invalid_client", { ...grant, client_id: id }],
    [401, "invalid_client", { ...grant, client_id: id, client_secret: "" }],
    [401, "invalid_client", { ...grant, client_id: "' or 1=1 --", client_secret: "' or 1=1 --" }],
    [401, "invalid_client", { ...grant, client_id: id, client_secret: "\0".repeat(1000) }],
    [400, "invalid_request", JSON.stringify(inBody), { "content-type": "application/json" }],
    [400, "invalid_request", encoded, { "content-type": "text/plain" }],
    [400, "invalid_request", encoded, { "content-type": "x" }],
    [413, "invalid_request", `${encoded}&x=${"x".repeat(8192)}`],
  ];
  for (const [status, error, body, headers] of refused) {
    const said = await post(server, body, headers);
    expect([said.status, said.json["error"]], String(JSON.stringify(body))).toEqual([status, error]);
    expect([said.headers.get("cache-control"), said.headers.get("www-authenticate")]).toEqual(["no-store", null]);
    expect(JSON.stringify(said.json)).not.toContain(secret);
  }
  const secrets = ["x", `${secret}x`, "", "%", "a:b", "\n"];
  const headers = [
    ...secrets.map((wrong) => basic(id, wrong)),
    basic("", secret),
    { authorization: "Basic" },
    { authorization: "Basic !" },
    { authorization: `Basic ${"A".repeat(4000)}` },
    { authorization: `Bearer ${server.token}` },
  ];
  for (const header of headers) {
    const said = await post(server, grant, header);
    expect([said.status, said.json["error"]], header.authorization).toEqual([401, "invalid_client"]);
    expect(said.headers.get("www-authenticate")).toMatch(/^Basic /);
  }
  const lost = await fetch(`${server.url}/oauth/token?client_secret=hunter2`);
  expect([lost.status, await lost.text()]).toEqual([404, expect.not.stringContaining("hunter2")]);
  expect((await post(server, inBody)).status, "after all of it").toBe(200);
  expect(server.logged.join("")).not.toContain(secret);
});

test("a body that lies about its length, or none, leaves the server well", async () => {
  await using client = await withClient();
  const { server, inBody } = client;
  const { port } = new URL(server.url);
  for (const head of [
    "content-length: 9000000",
    "transfer-encoding: chunked\r\n\r\nzz",
    "content-length: 4\r\n\r\n%%%%",
  ]) {
    const socket = connect(Number(port), "127.0.0.1");
    socket.end(
      `POST /oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: ${form}\r\n${head}\r\n\r\n`,
    );
    expect(await text(socket), head).toMatch(/^HTTP\/1.1 4[01][0-9] /);
  }
  expect((await post(server, inBody)).status).toBe(200);
});

test("whoever fails too often is turned away unread for whole seconds; whoever does not is never counted", async () => {
  await using client = await withClient({ failures: 3 });
  const { server, inBody } = client;
  for (let i = 0; i < 5; i++) expect((await post(server, inBody)).status).toBe(200);
  for (let i = 0; i < 3; i++) expect((await post(server, { ...inBody, client_secret: "x" })).status).toBe(401);
  const asked = vi.spyOn(server.ctx.store, "read");
  const { status, headers, json } = await post(server, { ...inBody, client_secret: "x" });
  expect([status, json["error"]]).toEqual([429, "temporarily_unavailable"]);
  const wait = Number(headers.get("retry-after"));
  expect(Number.isInteger(wait) && wait >= 1 && wait <= 60).toBe(true);
  expect(asked).not.toHaveBeenCalled();
  expect((await server.request("GET", "/Users")).status, "SCIM is another door").toBe(200);
});

test("only hashes of client secrets and access tokens are at rest", async () => {
  await using client = await withClient();
  const { server, secret, inBody } = client;
  const { json } = await post(server, inBody);
  const rest = await server.atRest();
  expect(rest).toContain("entra");
  for (const hidden of [secret, String(json["access_token"])]) {
    expect(rest).not.toContain(hidden);
    expect(rest).not.toContain(hidden.slice(4));
  }
});

/** How many access tokens of a client are kept. */
async function issued({ ctx }: ScimServer, client: string): Promise<number> {
  const tokens = await ctx.store.read((tx) => tx.tables.after("tokens", undefined, 10_000));
  return tokens.filter((token) => token["client"] === client).length;
}

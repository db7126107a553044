/** Tokens of connections over their lives, the rate they may ask at, and an admin's locks as rows. */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createCluster, orgId } from "../../server/directory/clusters.ts";
import { listLocks, lockUser, unlockUser } from "../../server/directory/locks.ts";
import {
  authenticate,
  createReadToken,
  createScimToken,
  listScimTokens,
  revokeScimToken,
  rotateScimToken,
} from "../../server/directory/tokens.ts";
import { createUser, removeUser, updateUser } from "../../server/directory/users.ts";
import { type Json, type Limits, type ScimServer, scimServer } from "./scim-server.ts";

const day = 86_400_000;
const page = { offset: 0, limit: 100 };

/** A server whose clock the test moves; it stands still in between. */
async function stopped(limits?: Limits) {
  const server = await scimServer(limits);
  let now = server.ctx.now();
  vi.spyOn(server.ctx, "now").mockImplementation(() => now);
  const later = (ms: number) => {
    now += ms;
  };
  const opens = async (secret: string) => {
    return (await server.request("GET", "/Users", undefined, { authorization: `Bearer ${secret}` })).status;
  };
  return { server, ctx: server.ctx, later, opens, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("a token with a ttl works until then, and not a moment longer", async () => {
  await using t = await stopped();
  const { secret } = await createScimToken(t.ctx, { kind: "admin" }, "default", "entra", { ttl: 90 * day });
  t.later(90 * day - 1);
  expect(await t.opens(secret)).toBe(200);
  t.later(1);
  expect(await t.opens(secret)).toBe(401);
  for (const ttl of [0, -1, 3651 * day, Number.NaN]) {
    await expect(createScimToken(t.ctx, { kind: "admin" }, "default", "entra", { ttl })).rejects.toMatchObject({
      reason: "invalid",
    });
  }
});

test("a rotation lets both work for the overlap, then only the new one, for as long as the old one was made for", async () => {
  await using t = await stopped();
  const old = await createScimToken(t.ctx, { kind: "admin" }, "default", "entra", { ttl: 90 * day });
  t.later(10 * day);
  const { secret, token, replaced } = await rotateScimToken(t.ctx, { kind: "admin" }, old.token.id);
  expect(token).toMatchObject({ name: "entra", kind: "scim", expiresAt: t.ctx.now() + 90 * day });
  expect(replaced.expiresAt).toBe(t.ctx.now() + day);
  t.later(day - 1);
  expect([await t.opens(old.secret), await t.opens(secret)]).toEqual([200, 200]);
  t.later(1);
  expect([await t.opens(old.secret), await t.opens(secret)]).toEqual([401, 200]);
  const next = await rotateScimToken(t.ctx, { kind: "admin" }, token.id, 0);
  expect([await t.opens(secret), await t.opens(next.secret)]).toEqual([401, 200]);
});

test("an overlap never gives a token more than its own life, and is at most 30 days", async () => {
  await using t = await stopped();
  const { token } = await createScimToken(t.ctx, { kind: "admin" }, "default", "entra", { ttl: 3_600_000 });
  for (const overlap of [-1, 30 * day + 1, Number.NaN]) {
    await expect(rotateScimToken(t.ctx, { kind: "admin" }, token.id, overlap)).rejects.toMatchObject({
      reason: "invalid",
    });
  }
  expect((await rotateScimToken(t.ctx, { kind: "admin" }, token.id, 30 * day)).replaced.expiresAt).toBe(
    token.expiresAt,
  );
});

test("a connection has two live tokens of a kind; who asks for a third is told which to revoke", async () => {
  await using t = await stopped();
  const one = (await createScimToken(t.ctx, { kind: "admin" }, "default", "entra")).token;
  const two = (await rotateScimToken(t.ctx, { kind: "admin" }, one.id)).token;
  const which = `(${one.id} or ${two.id}|${two.id} or ${one.id})`;
  const message = expect.stringMatching(
    new RegExp(`^the connection "entra" has 2 live scim tokens already: revoke ${which}$`),
  );
  await expect(createScimToken(t.ctx, { kind: "admin" }, "default", "entra")).rejects.toMatchObject({
    reason: "conflict",
    message,
  });
  await expect(rotateScimToken(t.ctx, { kind: "admin" }, two.id, 0)).rejects.toMatchObject({
    reason: "conflict",
    message,
  });
  await createScimToken(t.ctx, { kind: "admin" }, "default", "entra", { kind: "client" });
  await createReadToken(t.ctx, { kind: "admin" }, "default", "entra");
  await createScimToken(t.ctx, { kind: "admin" }, "default", "other");
  t.later(day);
  const three = (await createScimToken(t.ctx, { kind: "admin" }, "default", "entra")).token;
  await revokeScimToken(t.ctx, { kind: "admin" }, two.id);
  await rotateScimToken(t.ctx, { kind: "admin" }, three.id);
  for (const dead of [one.id, two.id]) {
    await expect(rotateScimToken(t.ctx, { kind: "admin" }, dead)).rejects.toMatchObject({ reason: "conflict" });
  }
});

test("read tokens of one name are counted by cluster, and one is found under its own org only", async () => {
  await using t = await stopped();
  await createCluster(t.ctx, { kind: "admin" }, "default", "gpu");
  for (const cluster of ["default", "default", "gpu"])
    await createReadToken(t.ctx, { kind: "admin" }, cluster, "nsscache");
  await expect(createReadToken(t.ctx, { kind: "admin" }, "default", "nsscache")).rejects.toMatchObject({
    reason: "conflict",
  });
  const { secret, token } = await createReadToken(t.ctx, { kind: "admin" }, "gpu", "nsscache", { org: "default" });
  expect(secret).toMatch(/^rcr_/);
  await expect(createReadToken(t.ctx, { kind: "admin" }, "gpu", "x", { org: "acme" })).rejects.toMatchObject({
    reason: "not-found",
  });
  expect(await t.opens(secret), "it writes nothing").toBe(401);
  expect(await authenticate(t.ctx, secret, "read")).toMatchObject({ id: token.id, cluster: token.cluster });
  await expect(rotateScimToken(t.ctx, { kind: "admin" }, token.id)).rejects.toMatchObject({ reason: "conflict" });
});

test("the list has every kind, the dead too, and neither operators' nor access tokens; last use is to the minute", async () => {
  await using t = await stopped();
  const { token } = await createScimToken(t.ctx, { kind: "admin" }, "default", "entra", { kind: "client", ttl: day });
  const { secret } = await createReadToken(t.ctx, { kind: "admin" }, "default", "nsscache");
  await revokeScimToken(t.ctx, { kind: "admin" }, token.id);
  const used = t.ctx.now();
  await authenticate(t.ctx, secret, "read");
  t.later(59_000);
  await authenticate(t.ctx, secret, "read");
  const listed = await listScimTokens(t.ctx, "default", page);
  expect(listed.map(({ name, kind, lastUsedAt, revokedAt }) => [name, kind, lastUsedAt, revokedAt])).toEqual([
    ["entra", "client", undefined, used],
    ["nsscache", "read", used, undefined],
    ["okta", "scim", undefined, undefined],
  ]);
  t.later(2_000);
  await authenticate(t.ctx, secret, "read");
  expect((await listScimTokens(t.ctx, "default", page))[1]?.lastUsedAt).toBe(used + 61_000);
});

test("only hashes are at rest, and no secret is logged", async () => {
  await using t = await stopped();
  const { secret, token } = await createScimToken(t.ctx, { kind: "admin" }, "default", "entra");
  const next = await rotateScimToken(t.ctx, { kind: "admin" }, token.id);
  await t.opens(secret);
  await t.opens(`${secret}x`);
  const { logged } = t.server;
  const rest = await t.server.atRest();
  expect(rest).toContain(token.hash);
  for (const hidden of [secret, next.secret, t.server.token]) {
    expect(rest + logged.join("")).not.toContain(hidden.slice(4));
  }
});

test("a connection that asks too often is told to wait whole seconds, in SCIM's form; others are not", async () => {
  await using t = await stopped({ rate: 1 });
  const { secret } = await createScimToken(t.ctx, { kind: "admin" }, "default", "okta");
  const { secret: other } = await createScimToken(t.ctx, { kind: "admin" }, "default", "entra");
  for (let i = 0; i < 5; i++) expect([await t.opens(t.server.token), await t.opens(secret)]).toEqual([200, 200]);
  const { status, headers, json } = await t.server.request("GET", "/Users");
  expect([status, json]).toEqual([
    429,
    {
      schemas: ["urn:ietf:params:scim:api:messages:2.0:Error"],
      status: "429",
      detail: expect.stringContaining("Retry-After"),
    },
  ]);
  expect(headers.get("content-type")).toMatch(/^application\/scim\+json/);
  expect(headers.get("retry-after")).toMatch(/^([1-9]|10)$/);
  const before = await t.server.state();
  expect((await t.server.request("POST", "/Users", { userName: "ada" })).status).toBe(429);
  expect(await t.server.state()).toBe(before);
  expect(await t.opens(other)).toBe(200);
  expect(await t.opens("rcs_wrong"), "a stranger learns nothing of it").toBe(401);
});

test("a connection's requests wait while a fleet goes first, a stranger's do not", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using t = await stopped({ way: { clear: () => promise } });
  const before = await t.server.state();
  const answer = t.server.request("POST", "/Users", { userName: "ada" });
  expect(await t.opens("rcs_wrong")).toBe(401);
  expect(await Promise.race([answer, sleep(200)]), "it waits").toBeUndefined();
  expect(await t.server.state()).toBe(before);
  resolve();
  expect((await answer).status).toBe(201);
});

const admin = { kind: "admin" } as const;
const okta = { kind: "scim", connection: "okta" } as const;

async function people({ ctx }: ScimServer) {
  const org = await orgId(ctx, "default");
  const hire = (userName: string, externalId?: string) =>
    createUser(ctx, okta, org, { userName, externalId, active: true, fullName: "", attributes: {} });
  const lock = (handle: string, reason = "left in anger") => lockUser(ctx, admin, org, handle, reason);
  const held = async (id: string) => {
    return ctx.store.read(async (tx) => {
      const user = await tx.users.get(org, id);
      return user !== undefined && (await tx.locks.on(org, user.id)).length > 0;
    });
  };
  return { ctx, org, hire, lock, held };
}

test("a lock copies every handle of the person, is made once, and says why", async () => {
  await using server = await scimServer();
  const { ctx, org, hire, lock } = await people(server);
  const ada = await hire("Ada@example.org", "00u1");
  for (const handle of ["ADA@example.org", ada.name, ada.id]) {
    expect(await lock(handle)).toMatchObject({
      userId: ada.id,
      userName: "Ada@example.org",
      origin: "scim:okta",
      externalId: "00u1",
      reason: "left in anger",
    });
    await expect(lock(ada.name)).rejects.toMatchObject({ reason: "conflict" });
    expect(await listLocks(ctx, org, page)).toHaveLength(1);
    expect(await unlockUser(ctx, admin, org, handle)).toHaveLength(1);
    expect(await listLocks(ctx, org, page)).toEqual([]);
  }
  for (const reason of ["", " ", "x".repeat(501), "a\nb"]) {
    await expect(lock("ada@example.org", reason)).rejects.toMatchObject({ reason: "invalid" });
  }
  await expect(lock("nobody")).rejects.toMatchObject({ reason: "not-found" });
  await expect(unlockUser(ctx, admin, org, ada.id)).rejects.toMatchObject({ reason: "not-found" });
});

test("a lock outlives a rename, and a deletion and re-creation under the userName or the externalId", async () => {
  await using server = await scimServer();
  const { ctx, org, hire, lock, held } = await people(server);
  const ada = await hire("ada", "00u1");
  await lock("ada");
  await updateUser(ctx, okta, org, ada.id, (current) => ({ ...current, userName: "lovelace", externalId: "00u9" }));
  expect(await held(ada.id), "by id").toBe(true);
  await removeUser(ctx, okta, org, ada.id);
  const again = await hire("ADA", "00u2");
  expect(await held(again.id), "by userName").toBe(true);
  const renamed = await hire("countess", "00u1");
  expect(await held(renamed.id), "by externalId").toBe(true);
  const stranger = await hire("grace", "00U1");
  expect(await held(stranger.id), "externalId is exact").toBe(false);
  await unlockUser(ctx, admin, org, "countess");
  expect([await held(again.id), await held(renamed.id)]).toEqual([false, false]);
});

test("who is gone is unlocked by the userName, and every lock that holds a person goes at once", async () => {
  await using server = await scimServer();
  const { ctx, org, hire, lock, held } = await people(server);
  const ada = await hire("ada", "00u1");
  await lock("ada");
  await removeUser(ctx, okta, org, ada.id);
  await expect(unlockUser(ctx, admin, org, "bob")).rejects.toMatchObject({ reason: "not-found" });
  expect(await unlockUser(ctx, admin, org, "ADA")).toHaveLength(1);
  const bob = await hire("bob", "00u2");
  const eve = await hire("eve", "00u3");
  await lock("bob");
  await lock("eve");
  await removeUser(ctx, okta, org, bob.id);
  await updateUser(ctx, okta, org, eve.id, (current) => ({ ...current, userName: "bob" }));
  expect(await unlockUser(ctx, admin, org, "bob")).toHaveLength(2);
  expect(await held(eve.id)).toBe(false);
});

test("a lock is of one org's person: SCIM neither sees nor lifts it", async () => {
  await using server = await scimServer();
  const { ctx, org, hire, lock } = await people(server);
  const ada = await hire("ada", "00u1");
  await lock("ada");
  const send = (method: string, body?: Json) => server.request(method, `/Users/${ada.id}`, body);
  const patch = (value: Json) => ({
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    Operations: [{ op: "replace", value }],
  });
  expect((await send("PATCH", patch({ active: false }))).status).toBe(200);
  expect((await send("PATCH", patch({ active: true, locked: false }))).status).toBeLessThan(500);
  expect((await send("DELETE")).status).toBe(204);
  await server.request("POST", "/Users", {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
    userName: "ada",
    externalId: "00u1",
  });
  expect(await listLocks(ctx, org, page)).toHaveLength(1);
  expect((await server.request("GET", "/Users")).text).not.toContain("left in anger");
});

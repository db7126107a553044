/**
 * Who changed what: no mutation without its entry, no entry without its mutation. Every method of every service of ours is
 * called, as the generated code lists them, and every verb of SCIM; a method without a case here fails.
 */

import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import SqliteDatabase from "better-sqlite3";
import { pino } from "pino";
import { expect, test } from "vitest";
import { refuse } from "../../identity/refusal.ts";
import { fingerprint, parseSshKey } from "../../identity/ssh-key.ts";
import type { Entry } from "../../server/audit/chain.ts";
import { verifyAudit } from "../../server/directory/audit.ts";
import { orgId } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { updateGroup } from "../../server/directory/groups.ts";
import { enrol } from "../../server/directory/nodes.ts";
import { record } from "../../server/directory/record.ts";
import { createScimToken } from "../../server/directory/tokens.ts";
import { createUser } from "../../server/directory/users.ts";
import { Ledger } from "../../server/rollout/ledger.ts";
import { isEmbedded } from "../processes/postgres.ts";
import { ask, refusal } from "./buf-curl.ts";
import { type OperatorServer, operatorServer } from "./operator-server.ts";
import { rollcall, start } from "./rollcall.ts";
import { made, type ScimServer, scimServer } from "./scim-server.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5PmlA3jqY7TPSVRnWOqVQrTQHgjXKF9ONt2CPnRwTC ada@laptop";

/** An entry as tests read it: what was there before and after as values. */
type Read = Omit<Entry, "before" | "after"> & { readonly before: unknown; readonly after: unknown };

async function entriesOf(ctx: Context, org: string, from = 1): Promise<Read[]> {
  const stretch = { from, to: Number.MAX_SAFE_INTEGER, limit: 10_000 };
  const found = await ctx.store.read((tx) => tx.audit.entries(org, stretch));
  const parsed = (told: string | null): unknown => (told === null ? null : JSON.parse(told));
  return found.map((entry) => ({ ...entry, before: parsed(entry.before), after: parsed(entry.after) }));
}

/** What was recorded of something that is done now. */
async function recordedOf(ctx: Context, org: string, act: () => Promise<unknown>): Promise<Read[]> {
  const { seq } = await ctx.store.read((tx) => tx.audit.head(org));
  await act();
  return entriesOf(ctx, org, seq + 1);
}

async function services(): Promise<DescService[]> {
  const folder = fileURLToPath(new URL("../../proto/gen/rollcall/v1/", import.meta.url));
  const found: DescService[] = [];
  for (const file of readdirSync(folder)) {
    const exported = (await import(join(folder, file))) as Record<string, { kind?: string } | undefined>;
    for (const each of Object.values(exported))
      if (each?.kind === "service") found.push(each as unknown as DescService);
  }
  return found;
}

type Body = Record<string, unknown>;
type Call = (body: Body) => Promise<Body>;

/** Every method of ours, as `Service/Method`. A stream is read to its first message. */
async function methods(server: OperatorServer): Promise<Map<string, Call>> {
  const transport = createGrpcTransport({
    baseUrl: server.url,
    nodeOptions: { ca: readFileSync(server.caPath) },
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${server.token}`);
        return next(request);
      },
    ],
  });
  const calls = new Map<string, Call>();
  for (const service of await services()) {
    const client = createClient(service, transport) as Record<string, (body: Body, options?: object) => unknown>;
    for (const method of service.methods) calls.set(`${service.name}/${method.name}`, callOf(client, method));
  }
  return calls;
}

function callOf(client: Record<string, (body: Body, options?: object) => unknown>, method: DescMethod): Call {
  return async (body) => {
    const aborter = new AbortController();
    const answer = client[method.localName]?.(body, { signal: aborter.signal });
    if (method.methodKind === "unary") return (await answer) as Body;
    for await (const first of answer as AsyncIterable<Body>) {
      aborter.abort();
      return first;
    }
    return {};
  };
}

/** Methods that change nothing, with what to ask. */
const reads: Record<string, Body> = {
  "AuditService/ListAudit": {},
  "AuditService/TailAudit": { fromSeq: 1n },
  "AuditService/VerifyAudit": {},
  "ClusterService/ListClusters": {},
  "ClusterService/GetCluster": {},
  "DirectoryService/ListUsers": {},
  "DirectoryService/GetUser": { user: "ada" },
  "DirectoryService/ListLocks": {},
  "DirectoryService/ListGroups": {},
  "DirectoryService/GetGroup": { group: "slurm-users" },
  "OrgService/ListOrgs": {},
  "OrgService/GetOrg": {},
  "HoldService/ListHolds": {},
  "HoldService/GetHold": { hold: "1" },
  "NodeService/ListNodes": {},
  "NodeService/GetNode": { node: "n1" },
  "RolloutService/GetRollout": {},
  "RolloutService/WatchRollout": {},
  "RolloutService/ListRevisions": {},
  "TokenService/ListScimTokens": {},
};

/** The agents' part of NodeService is not on this port. */
const elsewhere = ["NodeService/Enroll", "NodeService/Renew", "NodeService/Sync"];

const issue = async () => ({ chainPem: "", serial: "0a", notAfter: 1_800_000_000_000, trustPem: "", trusted: [] });

test("every method of the API leaves the entries that it should, and no other", async () => {
  let ledger: Ledger | undefined;
  await using server = await operatorServer((ctx) => (ledger = new Ledger(ctx, pino({ level: "silent" }))));
  const { ctx } = server;
  const org = await orgId(ctx, "default");
  const calls = await methods(server);
  await server.admit("ada@example.org");
  const join = (await calls.get("TokenService/CreateJoinToken")?.({ role: 1 })) as { token: string };
  const [enrolled] = await recordedOf(ctx, org, async () => {
    ledger?.enrolled((await enrol(ctx, join.token, "n1", () => false, issue)).node, false);
  });
  expect(enrolled).toMatchObject({
    actor: "node:n1",
    cause: "join token",
    action: "node.enrol",
    subject: "default/n1",
    before: null,
    after: { role: "login", serial: "0a", banned: false, joinTokenMade: expect.stringMatching(/Z$/) },
  });
  const print = fingerprint(parseSshKey(key));
  const ada = expect.stringMatching(/^ada@example\.org \[[\w-]{36}\]$/);
  const okta = expect.stringMatching(/^okta \[[\w-]{36}\]$/);
  let token = "";
  /** In this order: each does what the ones before it left to do. */
  const writes: [string, () => Body, object[]][] = [
    [
      "ClusterService/CreateCluster",
      () => ({ name: "gpu" }),
      [
        {
          action: "cluster.create",
          subject: expect.stringMatching(/^gpu \[/),
          before: null,
          after: expect.objectContaining({
            name: "gpu",
            rules: expect.arrayContaining([{ group: "slurm-users", grant: { kind: "login" } }]),
          }),
        },
      ],
    ],
    [
      "ClusterService/SetCluster",
      () => ({ guard: { people: 0, percent: 0 } }),
      [
        {
          action: "cluster.set",
          subject: expect.stringMatching(/^default \[/),
          before: { guard: { people: 5, percent: 1, windowSeconds: 600 } },
          after: { guard: { people: 0, percent: 0, windowSeconds: 600 } },
        },
      ],
    ],
    [
      "ClusterService/PutRule",
      () => ({ rule: { group: "lab", grant: { case: "sudo", value: { commands: ["/usr/bin/id"] } } } }),
      [
        {
          action: "rule.add",
          before: null,
          after: { group: "lab", grant: { kind: "sudo", password: false, commands: ["/usr/bin/id"] } },
        },
      ],
    ],
    [
      "ClusterService/PutRule",
      () => ({ rule: { group: "lab", grant: { case: "sudo", value: { commands: ["ALL"] } } } }),
      [
        {
          action: "rule.change",
          before: { grant: { kind: "sudo", password: false, commands: ["/usr/bin/id"] } },
          after: { grant: { kind: "sudo", password: false, commands: "ALL" } },
        },
      ],
    ],
    // A dry run is no deed.
    [
      "ClusterService/PutRule",
      () => ({ rule: { group: "lab", grant: { case: "login", value: {} } }, dryRun: true }),
      [],
    ],
    [
      "ClusterService/RemoveRule",
      () => ({ rule: { group: "slurm-users", grant: { case: "login", value: {} } } }),
      [{ action: "rule.remove", before: { group: "slurm-users", grant: { kind: "login" } }, after: null }],
    ],
    [
      "OrgService/CreateOrg",
      () => ({ name: "else" }),
      // In a record of its own: that of the new org.
      [],
    ],
    [
      "OrgService/SetOrg",
      () => ({ spaces: "dash" }),
      [{ action: "org.set", before: { spaces: "refuse" }, after: { spaces: "dash" } }],
    ],
    [
      "DirectoryService/CreateUser",
      () => ({ userName: "local", displayName: "Lo Cal" }),
      [
        {
          action: "user.create",
          before: null,
          after: expect.objectContaining({ userName: "local", origin: "admin", fullName: "Lo Cal" }),
        },
      ],
    ],
    [
      "DirectoryService/UpdateUser",
      () => ({ user: "local", shell: "/bin/sh" }),
      [{ action: "user.update", before: {}, after: { shell: "/bin/sh" } }],
    ],
    [
      "DirectoryService/RenameUser",
      () => ({ user: "local", posixName: "lo" }),
      [{ action: "user.rename", before: { posixName: "local" }, after: { posixName: "lo" } }],
    ],
    [
      "DirectoryService/CreateGroup",
      () => ({ displayName: "the lab", users: ["lo"] }),
      [
        { action: "group.create", before: null, after: expect.objectContaining({ posixName: "the-lab" }) },
        { action: "group.join", before: null, after: { members: [expect.any(String)] } },
      ],
    ],
    [
      "DirectoryService/UpdateGroup",
      () => ({ group: "the lab", displayName: "a lab" }),
      [{ action: "group.update", before: { displayName: "the lab" }, after: { displayName: "a lab" } }],
    ],
    [
      "DirectoryService/AddGroupMembers",
      () => ({ group: "a lab", users: ["ada"] }),
      [{ action: "group.join", before: null, after: { members: [expect.any(String)] } }],
    ],
    [
      "DirectoryService/RemoveGroupMembers",
      () => ({ group: "a lab", users: ["ada", "lo"] }),
      [{ action: "group.leave", before: { members: [expect.any(String), expect.any(String)] }, after: null }],
    ],
    [
      "DirectoryService/RemoveGroup",
      () => ({ group: "a lab" }),
      [{ action: "group.remove", before: expect.objectContaining({ displayName: "a lab" }), after: null }],
    ],
    [
      "DirectoryService/RemoveUser",
      () => ({ user: "lo" }),
      [{ action: "user.remove", before: expect.objectContaining({ userName: "local" }), after: null }],
    ],
    [
      "EstateService/ImportEstate",
      () => ({
        files: [{ kind: 1, name: "passwd", content: Buffer.from("old:x:5001:5001::/home/old:/bin/bash\n") }],
      }),
      [{ cause: "import", action: "estate.close", after: { closed: [{ name: "old", numbers: [5001] }] } }],
    ],
    ["HoldService/RejectHold", () => ({ hold: "1" }), [{ action: "hold.reject", before: null, after: { all: 2 } }]],
    [
      "HoldService/ApproveHold",
      () => ({ hold: "1", only: ["ada"] }),
      [{ action: "hold.approve", before: null, after: { only: ["ada"] } }],
    ],
    [
      "DirectoryService/AddSshKey",
      () => ({ user: "ada", publicKey: key }),
      [
        {
          action: "key.add",
          subject: ada,
          before: null,
          after: { key: print, type: "ssh-ed25519", comment: "ada@laptop" },
        },
      ],
    ],
    [
      "DirectoryService/RemoveSshKey",
      () => ({ user: "ada", fingerprint: print }),
      [
        {
          action: "key.remove",
          subject: ada,
          before: { key: print, type: "ssh-ed25519", comment: "ada@laptop" },
          after: null,
        },
      ],
    ],
    [
      "DirectoryService/LockUser",
      () => ({ user: "ada", reason: "theft" }),
      [{ action: "user.lock", subject: ada, before: null, after: expect.objectContaining({ reason: "theft" }) }],
    ],
    [
      "DirectoryService/UnlockUser",
      () => ({ user: "ada" }),
      [{ action: "user.unlock", subject: ada, before: expect.objectContaining({ reason: "theft" }), after: null }],
    ],
    [
      "NodeService/ResyncNode",
      () => ({ node: "n1" }),
      [{ action: "node.resync", subject: "default/n1", before: { resync: false }, after: { resync: true } }],
    ],
    [
      "NodeService/BanNode",
      () => ({ node: "n1" }),
      [{ action: "node.ban", subject: "default/n1", before: { banned: false }, after: { banned: true } }],
    ],
    // It was banned already.
    ["NodeService/BanNode", () => ({ node: "n1" }), []],
    [
      "TokenService/CreateScimToken",
      () => ({ name: "okta" }),
      [{ action: "token.create", subject: okta, before: null, after: { kind: "scim" } }],
    ],
    [
      "TokenService/RotateScimToken",
      () => ({ id: token }),
      [
        { action: "token.create", subject: okta, before: null, after: { kind: "scim" } },
        {
          action: "token.expire",
          subject: expect.stringContaining(token),
          before: {},
          after: { expires: expect.stringMatching(/Z$/) },
        },
      ],
    ],
    [
      "TokenService/RevokeScimToken",
      () => ({ id: token }),
      [{ action: "token.revoke", subject: okta, before: {}, after: { revoked: expect.stringMatching(/Z$/) } }],
    ],
    // It was revoked already.
    ["TokenService/RevokeScimToken", () => ({ id: token }), []],
    [
      "TokenService/CreateJoinToken",
      () => ({ role: 2 }),
      [
        {
          action: "join-token.create",
          subject: "default",
          before: null,
          after: expect.objectContaining({ cluster: "default", role: "compute" }),
        },
      ],
    ],
  ];
  for (const [method, body, expected] of writes) {
    let answer: Body = {};
    const found = await recordedOf(ctx, org, async () => {
      answer = (await calls.get(method)?.(body())) ?? {};
    });
    const by = { org, actor: "admin:test", cause: "api" };
    expect(found, method).toEqual(expected.map((each) => expect.objectContaining({ ...by, ...each })));
    if (method === "TokenService/CreateScimToken") token = (answer["scimToken"] as { id: string }).id;
  }
  for (const [method, body] of Object.entries(reads)) {
    expect(await recordedOf(ctx, org, async () => calls.get(method)?.(body)), method).toEqual([]);
  }
  const known = new Set([...writes.map(([method]) => method), ...Object.keys(reads), ...elsewhere]);
  expect([...calls.keys()].filter((method) => !known.has(method))).toEqual([]);
  const all = JSON.stringify([...(await entriesOf(ctx, org)), ...(await entriesOf(ctx, ""))]);
  expect(all).not.toMatch(/rc[ajrcst]_|AAAAC3NzaC1/);
  expect(await entriesOf(ctx, "")).toMatchObject([{ actor: "server", cause: "seed", action: "token.create" }]);
  expect(await verifyAudit(ctx, org, undefined)).toMatchObject({ broken: undefined });
});

const urnUser = "urn:ietf:params:scim:schemas:core:2.0:User";
const urnGroup = "urn:ietf:params:scim:schemas:core:2.0:Group";
const urnPatch = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

const patch = (...operations: object[]) => ({ schemas: [urnPatch], Operations: operations });

/** What one SCIM request left, and the id that its answer was given. */
async function requested(server: ScimServer, method: string, path: string, body?: object, headers = {}) {
  const org = await orgId(server.ctx, "default");
  let id = "";
  const found = await recordedOf(server.ctx, org, async () => {
    const answer = await server.request(method, path, body, { "x-request-id": "forged", ...headers });
    id = answer.headers.get("x-request-id") ?? "";
    expect(answer.status, answer.text).toBeLessThan(500);
  });
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
  for (const entry of found) expect(entry).toMatchObject({ org, actor: "scim:okta", cause: `scim ${id}` });
  return found.map(({ action, before, after }) => ({ action, before, after }));
}

test("every verb of SCIM leaves the entries that it should, with the id of its request", async () => {
  await using server = await scimServer();
  const person = { schemas: [urnUser], userName: "ada@example.org", name: { givenName: "Ada" }, password: "hunter2" };
  const [created] = await requested(server, "POST", "/Users", person);
  expect(created).toEqual({
    action: "user.create",
    before: null,
    after: {
      userName: "ada@example.org",
      name: { givenName: "Ada" },
      active: true,
      fullName: "Ada",
      posixName: "ada",
      uid: 200_000,
      origin: "scim:okta",
    },
  });
  const { json } = await server.request("GET", "/Users");
  const ada = ((json["Resources"] as { id: string }[])[0] as { id: string }).id;
  const bob = await made(server, "/Users", { schemas: [urnUser], userName: "bob" });
  expect(await requested(server, "PUT", `/Users/${ada}`, { ...person, title: "Countess" })).toEqual([
    { action: "user.update", before: {}, after: { title: "Countess" } },
  ]);
  const off = patch({ op: "replace", path: "active", value: false });
  const inactive = { action: "user.update", before: { active: true }, after: { active: false } };
  expect(await requested(server, "PATCH", `/Users/${ada}`, off)).toEqual([inactive]);
  expect(await requested(server, "PATCH", `/Users/${ada}`, off)).toEqual([]);
  const group = { schemas: [urnGroup], displayName: "ml", members: [{ value: ada }] };
  expect(await requested(server, "POST", "/Groups", group)).toEqual([
    {
      action: "group.create",
      before: null,
      after: { displayName: "ml", posixName: "ml", gid: 70_000, origin: "scim:okta" },
    },
    { action: "group.join", before: null, after: { members: [ada] } },
  ]);
  const listed = (await server.request("GET", "/Groups")).json["Resources"] as { id: string }[];
  const ml = (listed[0] as { id: string }).id;
  expect(await requested(server, "PUT", `/Groups/${ml}`, { ...group, members: [{ value: bob }] })).toEqual([
    { action: "group.leave", before: { members: [ada] }, after: null },
    { action: "group.join", before: null, after: { members: [bob] } },
  ]);
  const outAndIn = patch(
    { op: "remove", path: `members[value eq "${bob}"]` },
    { op: "add", path: "members", value: [{ value: bob }, { value: ada }] },
    { op: "replace", path: "displayName", value: "vision" },
  );
  expect(await requested(server, "PATCH", `/Groups/${ml}`, outAndIn)).toEqual([
    { action: "group.update", before: { displayName: "ml" }, after: { displayName: "vision" } },
    { action: "group.join", before: null, after: { members: [ada] } },
  ]);
  const again = patch({ op: "add", path: "members", value: [{ value: bob }] });
  expect(await requested(server, "PATCH", `/Groups/${ml}`, again)).toEqual([]);
  const bulk = {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
    Operations: [
      { method: "POST", path: "/Users", bulkId: "c", data: { schemas: [urnUser], userName: "carl" } },
      { method: "POST", path: "/Users", bulkId: "d", data: { schemas: [urnUser], userName: "BOB" } },
      { method: "DELETE", path: `/Users/${bob}` },
    ],
  };
  expect(await requested(server, "POST", "/Bulk", bulk)).toMatchObject([
    { action: "user.create", after: { userName: "carl" } },
    { action: "user.remove", before: { userName: "bob" }, after: null },
  ]);
  expect(await requested(server, "DELETE", `/Groups/${ml}`)).toMatchObject([
    { action: "group.leave", before: { members: [ada] } },
    { action: "group.remove", before: { displayName: "vision" } },
  ]);
  expect(await requested(server, "DELETE", `/Users/${ada}`)).toMatchObject([
    { action: "user.remove", before: { userName: "ada@example.org" } },
  ]);
  // Turned down: no such user, a taken name, a stale version.
  expect(await requested(server, "DELETE", `/Users/${ada}`)).toEqual([]);
  expect(await requested(server, "POST", "/Users", { schemas: [urnUser], userName: "carl" })).toEqual([]);
  for (const path of ["/Users", "/Groups", "/", "/Schemas"]) expect(await requested(server, "GET", path)).toEqual([]);
  const org = await orgId(server.ctx, "default");
  expect(JSON.stringify(await entriesOf(server.ctx, org))).not.toContain("hunter2");
  expect(await verifyAudit(server.ctx, org, undefined)).toMatchObject({ broken: undefined });
});

test("an access token is recorded for each that is issued, without its secret", async () => {
  await using server = await scimServer();
  const { token, secret } = await createScimToken(server.ctx, { kind: "admin" }, "default", "entra", {
    kind: "client",
  });
  const org = await orgId(server.ctx, "default");
  const form = { grant_type: "client_credentials", client_id: token.id, client_secret: secret };
  const post = () => fetch(`${server.url}/oauth/token`, { method: "POST", body: new URLSearchParams(form) });
  const found = await recordedOf(server.ctx, org, async () => expect((await post()).status).toBe(200));
  expect(found).toMatchObject([
    { actor: "scim:entra", cause: "oauth", action: "token.create", after: { kind: "scim", client: token.id } },
  ]);
  expect(JSON.stringify(found)).not.toMatch(/rc[ct]_/);
});

test("refused and failed commands leave no entry, and no gap among those that committed with them", async () => {
  await using server = await scimServer();
  const { ctx } = server;
  const org = await orgId(ctx, "default");
  const admin = { kind: "admin" } as const;
  const deed = (subject: string) => ({ org, action: "test.act", subject, after: {} });
  const found = await recordedOf(ctx, org, () =>
    Promise.allSettled(
      Array.from({ length: 200 }, (_, i) =>
        ctx.store.write(async (tx) => {
          record(tx, admin, deed(`${i}`));
          if (i % 3 === 1) refuse("conflict", "not this one");
          if (i % 3 === 2) throw new Error("nor this one");
        }),
      ),
    ),
  );
  const kept = Array.from({ length: 200 }, (_, i) => i).filter((i) => i % 3 === 0);
  expect(found.map(({ subject }) => Number(subject))).toEqual(kept);
  expect(found.map(({ seq }) => seq - (found[0]?.seq ?? 0))).toEqual(kept.map((_, i) => i));
  expect(await verifyAudit(ctx, org, undefined)).toMatchObject({ broken: undefined });
});

test("an update of many members and of a long text stays within bounds, and a group's others are not told", async () => {
  await using server = await scimServer();
  const { ctx } = server;
  const org = await orgId(ctx, "default");
  const okta = { kind: "scim", connection: "okta" } as const;
  const input = (i: number) => ({
    userName: `u${i}`,
    externalId: undefined,
    active: true,
    fullName: "",
    attributes: {},
  });
  const people = await Promise.all(Array.from({ length: 1200 }, (_, i) => createUser(ctx, okta, org, input(i))));
  const group = await made(server, "/Groups", { schemas: [urnGroup], displayName: "everybody" });
  const edit = { kind: "add-members", members: people.slice(0, 1100).map(({ id }) => id) } as const;
  const many = await recordedOf(ctx, org, () => updateGroup(ctx, okta, org, group, [edit]));
  expect(many.map(({ after }) => (after as { members: string[] }).members.length)).toEqual([500, 500, 100]);
  const one = await recordedOf(ctx, org, () =>
    updateGroup(ctx, okta, org, group, [{ kind: "set-members", members: people.map(({ id }) => id).slice(0, 1101) }]),
  );
  expect(one).toMatchObject([{ action: "group.join", after: { members: [people[1100]?.id] } }]);
  const long = { ...input(5000), attributes: { title: "x".repeat(100_000) } };
  const [created] = await recordedOf(ctx, org, () => createUser(ctx, okta, org, long));
  expect(created?.after).toEqual({
    tooLong: { characters: expect.any(Number), sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
});

test("rollcall lists, filters and follows the audit; its own changes are known as the command line's", async () => {
  await using server = await operatorServer();
  await server.admit("ada@example.org");
  const tail = start(server, ["audit", "tail", "-n", "1", "-o", "json"]);
  const lines = createInterface({ input: tail.stdout })[Symbol.asyncIterator]();
  const told = async () => JSON.parse(((await lines.next()).value as string | undefined) ?? "{}") as { entry: Body };
  expect((await told()).entry).toMatchObject({ action: "group.join" });
  expect(await rollcall(server, ["user", "lock", "ada", "--reason", "theft \u009b31m"])).toMatchObject({ code: 2 });
  expect(await rollcall(server, ["user", "lock", "ada", "--reason", "theft"])).toMatchObject({ code: 0 });
  expect((await told()).entry).toMatchObject({ action: "user.lock", actor: "admin:test", cause: "cli" });
  await ask(server, "DirectoryService/UnlockUser", { user: "ada" });
  expect((await told()).entry).toMatchObject({ action: "user.unlock", actor: "admin:test", cause: "api" });
  tail.kill("SIGINT");
  expect(await once(tail, "exit")).toEqual([0, null]);

  const list = await rollcall(server, ["audit", "list", "--subject", "ada@", "--action", "user.", "--actor", "admin"]);
  expect(list.code).toBe(0);
  const shown = list.out.split("\n");
  expect(shown[0]).toMatch(/^SEQ +AT +ACTOR +CAUSE +ACTION +SUBJECT +CHANGE$/);
  expect(shown[1]).toMatch(/admin:test +api +user\.unlock +ada@example\.org \[.*\] +\{"lock".*\} -> -$/);
  expect(shown[2]).toMatch(/admin:test +cli +user\.lock /);
  expect(shown[3]).toMatch(/ admin +user\.create /);
  expect((await rollcall(server, ["audit", "list", "--actor", "adm"])).out).not.toContain("user.");
  expect((await rollcall(server, ["audit", "list", "--subject", "%"])).out.split("\n")).toHaveLength(2);
  expect((await rollcall(server, ["audit", "list", "--until", "2020-01-01"])).out.split("\n")).toHaveLength(2);
  expect(
    (await rollcall(server, ["audit", "list", "--since", "2020-01-01", "--limit", "2"])).out.split("\n"),
  ).toHaveLength(4);
  expect((await rollcall(server, ["audit", "list", "--org", "-"])).out).toContain("token.create");
  expect(await rollcall(server, ["audit", "list", "--since", "yesterday"])).toMatchObject({ code: 2 });
  expect(await rollcall(server, ["audit", "list", "--org", "nowhere"])).toMatchObject({ code: 3 });
});

test("pages stay as they are while entries are added", async () => {
  await using server = await operatorServer();
  await server.admit("ada@example.org");
  type Listed = { entries: { seq: string }[]; nextPageToken?: string };
  const whole = (await ask(server, "AuditService/ListAudit")) as Listed;
  const seen: string[] = [];
  for (let pageToken: string | undefined = ""; pageToken !== undefined; ) {
    const page = (await ask(server, "AuditService/ListAudit", { pageSize: 2, pageToken })) as Listed;
    seen.push(...page.entries.map(({ seq }) => seq));
    pageToken = page.nextPageToken;
    await ask(server, "TokenService/CreateJoinToken", { role: "ROLE_LOGIN" });
  }
  expect(seen).toEqual(whole.entries.map(({ seq }) => seq));
  for (const pageToken of [
    "x",
    Buffer.from("before 0").toString("base64url"),
    Buffer.from("from 1").toString("base64url"),
  ]) {
    expect((await refusal(server, "AuditService/ListAudit", { pageToken }))[0]).toBe("invalid_argument");
  }
  expect((await refusal(server, "AuditService/ListAudit", { pageSize: -1 }))[0]).toBe("invalid_argument");
  expect((await refusal(server, "AuditService/VerifyAudit", { notedSeq: 1, notedHash: "x" }))[0]).toBe(
    "invalid_argument",
  );
});

// PostgreSQL refuses by a trigger of its own: test/postgres/database.test.ts.
test.runIf(isEmbedded)(
  "the store refuses to change an entry; one that was changed behind its back is found",
  async () => {
    await using server = await operatorServer();
    await server.admit("ada@example.org");
    const good = await rollcall(server, ["audit", "verify"]);
    expect(good.code, good.err).toBe(0);
    const [, head = "", count = ""] =
      /^\d+ entries, each as it was written\. Head ((\d+):[0-9a-f]{64})\n$/.exec(good.out) ?? [];
    expect(await rollcall(server, ["audit", "verify", "--head", head])).toMatchObject({ code: 0 });

    using file = opened(join(server.folder, "rollcall.db"));
    for (const statement of ["update audit set actor = 'nobody'", "delete from audit"]) {
      expect(() => file.db.exec(statement)).toThrow("append-only");
    }
    file.db.exec("drop trigger audit_no_update; drop trigger audit_no_delete");
    const org = await orgId(server.ctx, "default");
    const tampered = async (statement: string, seq: number, why: RegExp, ...words: string[]) => {
      file.db.exec("savepoint before_it");
      const rows = file.db.prepare("select * from audit where org = ?").all(org);
      file.db.exec("release before_it");
      file.db.exec(statement.replaceAll("$org", org));
      const found = await rollcall(server, ["audit", "verify", ...words]);
      expect([found.code, found.out], statement).toEqual([1, expect.stringMatching(why)]);
      expect(found.out).toContain(`Broken at entry ${seq}:`);
      file.db.prepare("delete from audit where org = ?").run(org);
      const insert = file.db.prepare(
        "insert into audit values (@org, @seq, @at, @actor, @cause, @action, @subject, @before, @after, @hash)",
      );
      for (const row of rows) insert.run(row);
    };
    await tampered("update audit set actor = 'admin:eve' where org = '$org' and seq = 3", 3, /hash does not fit/);
    await tampered("delete from audit where org = '$org' and seq = 2", 2, /missing/);
    await tampered(`delete from audit where org = '$org' and seq = ${count}`, Number(count), /cut off/, "--head", head);
    await tampered("delete from audit where org = '$org'", 1, /cut off/, "--head", head);
    const other = `${count}:${"0".repeat(64)}`;
    await tampered("select 1", Number(count), /made anew/, "--head", other);
    expect(await rollcall(server, ["audit", "verify", "--head", head])).toMatchObject({ code: 0 });
    expect(await rollcall(server, ["audit", "verify", "--head", "7"])).toMatchObject({ code: 2 });
    const json = await rollcall(server, ["audit", "verify", "-o", "json"]);
    expect(JSON.parse(json.out)).toMatchObject({ count, broken_seq: "0", why: "" });
  },
);

function opened(path: string) {
  const db = new SqliteDatabase(path);
  return { db, [Symbol.dispose]: () => void db.close() };
}

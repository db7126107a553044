/** The operator API as other people's clients find it: `buf curl` over gRPC, gRPC-Web and Connect, with reflection. */

import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test, vi } from "vitest";
import { origin } from "../../identity/position.ts";
import { ServerReflection } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../proto/gen/health/v1/health_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { orgId } from "../../server/directory/clusters.ts";
import { removeUser } from "../../server/directory/users.ts";
import { ask, bufCurl, call, refusal } from "./buf-curl.ts";
import { type OperatorServer, operatorServer, TestFleet } from "./operator-server.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5PmlA3jqY7TPSVRnWOqVQrTQHgjXKF9ONt2CPnRwTC ada@laptop";

function client(server: OperatorServer, token: string | undefined) {
  const transport = createGrpcTransport({
    baseUrl: server.url,
    nodeOptions: { ca: readFileSync(server.caPath) },
    interceptors: [
      (next) => (request) => {
        if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return {
    rollouts: createClient(RolloutService, transport),
    health: createClient(Health, transport),
    reflection: createClient(ServerReflection, transport),
  };
}

test.each(["grpc", "grpcweb", "connect"])("over %s, with the schema from reflection", async (protocol) => {
  await using server = await operatorServer();
  const { code, out } = await call(server, "rollcall.v1.ClusterService/GetCluster", {}, "--protocol", protocol);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    cluster: {
      name: "default",
      org: "default",
      revision: "1",
      rules: [
        { group: "slurm-sudo", login: {} },
        { group: "slurm-sudo", sudo: { commands: ["ALL"] } },
        { group: "slurm-users", login: {} },
      ],
    },
  });
});

test.each(["grpc-v1", "grpc-v1alpha"])(
  "reflection %s lists every service, and knows what they need",
  async (version) => {
    await using server = await operatorServer();
    const token = ["-H", `authorization: Bearer ${server.token}`, "--reflect-header", "*"];
    const { out } = await bufCurl(server, "", ...token, "--reflect-protocol", version, "--list-services");
    expect(out.trim().split("\n")).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "rollcall.v1.AuditService",
      "rollcall.v1.ClusterService",
      "rollcall.v1.DirectoryService",
      "rollcall.v1.EstateService",
      "rollcall.v1.HoldService",
      "rollcall.v1.NodeService",
      "rollcall.v1.OrgService",
      "rollcall.v1.RolloutService",
      "rollcall.v1.TokenService",
    ]);
    const methods = await bufCurl(server, "", ...token, "--reflect-protocol", version, "--list-methods");
    expect(methods.out).toContain("rollcall.v1.RolloutService/WatchRollout");
  },
);

test("without a live admin token nothing is answered but health", async () => {
  await using server = await operatorServer();
  const { token: scim } = await ask(server, "TokenService/CreateScimToken", { name: "okta" });
  const { token: join } = await ask(server, "TokenService/CreateJoinToken", { role: "ROLE_LOGIN" });
  const schema = ["--schema", "proto", "--schema", "node_modules/grpc-health-check/proto"];
  const headers = [
    "",
    `Bearer ${String(scim)}`,
    `Bearer ${String(join)}`,
    "Bearer rca_wrong",
    `Basic ${server.token}`,
    server.token,
  ];
  for (const header of headers) {
    const args = [...schema, ...(header === "" ? [] : ["-H", `authorization: ${header}`])];
    for (const method of ["ClusterService/ListClusters", "RolloutService/WatchRollout", "NodeService/Enroll"]) {
      const { code, out, err } = await bufCurl(server, `rollcall.v1.${method}`, ...args);
      expect([code, out], `${method} with "${header}"`).toEqual([16, ""]);
      expect(err).toContain("a valid operator token is needed");
    }
  }
  const asked = (async function* () {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  })();
  const answers = client(server, undefined).reflection.serverReflectionInfo(asked)[Symbol.asyncIterator]();
  await expect(answers.next()).rejects.toMatchObject({ code: Code.Unauthenticated });
  const health = await bufCurl(server, "grpc.health.v1.Health/Check", ...schema);
  expect(JSON.parse(health.out)).toEqual({ status: "SERVING" });
});

test("an unauthenticated call is refused before its body is read", async () => {
  await using server = await operatorServer();
  const session = connect(server.url, { ca: readFileSync(server.caPath) });
  const stream = session.request({
    ":method": "POST",
    ":path": "/rollcall.v1.ClusterService/ListClusters",
    "content-type": "application/grpc+proto",
    te: "trailers",
  });
  // Headers alone, and never a body: an answer can only come if none is waited for.
  const status = await new Promise((resolve) => {
    stream.on("response", (headers) => headers["grpc-status"] !== undefined && resolve(headers["grpc-status"]));
    stream.on("trailers", (trailers) => resolve(trailers["grpc-status"]));
    stream.resume();
  });
  session.destroy();
  expect(status).toBe("16");
});

test("every method of the directory, its refusals by name", async () => {
  await using server = await operatorServer();
  await server.admit("ada@example.org");
  const user = "ada@example.org";
  const { sshKey } = await ask(server, "DirectoryService/AddSshKey", { user, publicKey: key });
  expect(sshKey).toMatchObject({
    type: "ssh-ed25519",
    comment: "ada@laptop",
    fingerprint: expect.stringMatching(/^SHA256:/),
  });
  expect(await ask(server, "DirectoryService/GetUser", { user: "ada" })).toMatchObject({
    user: {
      userName: user,
      posixName: "ada",
      uid: 200000,
      active: true,
      groups: ["slurm-users"],
      clusters: ["default"],
    },
  });
  expect((await ask(server, "DirectoryService/ListUsers")).users).toHaveLength(1);
  const add = (publicKey: string, who = user) =>
    refusal(server, "DirectoryService/AddSshKey", { user: who, publicKey });
  expect((await add(key))[0]).toBe("already_exists");
  expect(await add("ssh-dss AAAA")).toEqual(["invalid_argument", "DSA keys are no longer safe; make an ed25519 key"]);
  expect((await add(key, "nobody"))[0]).toBe("not_found");
  const { fingerprint } = sshKey as { fingerprint: string };
  expect(await ask(server, "DirectoryService/RemoveSshKey", { user: "ada", fingerprint })).toEqual({});
  expect((await refusal(server, "DirectoryService/RemoveSshKey", { user: "ada", fingerprint }))[0]).toBe("not_found");
  expect(await refusal(server, "DirectoryService/ListUsers", { org: "acme" })).toEqual(["not_found", 'no org "acme"']);
});

test("clusters are made once", async () => {
  await using server = await operatorServer();
  expect(await ask(server, "ClusterService/CreateCluster", { name: "gpu" })).toMatchObject({
    cluster: { name: "gpu" },
  });
  expect((await refusal(server, "ClusterService/CreateCluster", { name: "gpu" }))[0]).toBe("already_exists");
  expect((await refusal(server, "ClusterService/CreateCluster", { name: "G P" }))[0]).toBe("invalid_argument");
  expect((await refusal(server, "ClusterService/GetCluster", { cluster: "x" }))[0]).toBe("not_found");
});

test("a list comes in pages, and a made-up token or size is refused", async () => {
  await using server = await operatorServer();
  for (const name of ["a", "b", "c", "d"]) await ask(server, "ClusterService/CreateCluster", { name });
  const seen: string[] = [];
  for (let pageToken = "", pages = 0; pages === 0 || pageToken !== ""; pages++) {
    const page = await ask(server, "ClusterService/ListClusters", { pageSize: 2, pageToken });
    seen.push(...(page["clusters"] as { name: string }[]).map(({ name }) => name));
    pageToken = (page["nextPageToken"] as string | undefined) ?? "";
  }
  expect(seen).toEqual(["a", "b", "c", "d", "default"]);
  const forged = [0, -1, 1.5, "1e3", "99999999999"].map((n) => Buffer.from(`from ${n}`).toString("base64url"));
  for (const pageToken of ["x", "MTA", ...forged]) {
    expect((await refusal(server, "ClusterService/ListClusters", { pageToken }))[0], pageToken).toBe(
      "invalid_argument",
    );
  }
  expect((await refusal(server, "ClusterService/ListClusters", { pageSize: -1 }))[0]).toBe("invalid_argument");
});

test("SCIM tokens are shown once, listed without their secret, and revoked", async () => {
  await using server = await operatorServer();
  const made = await ask(server, "TokenService/CreateScimToken", { name: "okta" });
  expect(made).toMatchObject({
    token: expect.stringMatching(/^rcs_[\w-]{43}$/),
    baseUrl: `${server.url}/scim/default/v2`,
    scimToken: { org: "default", name: "okta" },
  });
  const listed = await call(server, "rollcall.v1.TokenService/ListScimTokens");
  expect(listed.out).toContain('"okta"');
  expect(listed.out).not.toMatch(/rcs_|hash/);
  const { id } = made["scimToken"] as { id: string };
  const revoked = await ask(server, "TokenService/RevokeScimToken", { id });
  expect(revoked).toMatchObject({ scimToken: { org: "default", revokedAt: expect.any(String) } });
  expect((await refusal(server, "TokenService/RevokeScimToken", { id: "x" }))[0]).toBe("not_found");
});

test("tokens expire, read a cluster, are clients of OAuth, and take each other's place", async () => {
  await using server = await operatorServer();
  const create = (body: object) => ask(server, "TokenService/CreateScimToken", { name: "entra", ...body });
  const refuses = async (body: object) =>
    (await refusal(server, "TokenService/CreateScimToken", { name: "entra", ...body }))[0];
  const ending = await create({ ttl: "7776000s" });
  const { id, expiresAt } = ending["scimToken"] as { id: string; expiresAt: string };
  expect(Date.parse(expiresAt) - Date.now()).toBeGreaterThan(7_775_900_000);
  expect(await create({ cluster: "default" })).toMatchObject({
    token: expect.stringMatching(/^rcr_/),
    baseUrl: `${server.url}/scim/default/default/v2`,
    scimToken: { kind: "KIND_READ", cluster: "default" },
  });
  const client = await create({ oauth: true });
  expect(client).toEqual({
    token: expect.stringMatching(/^rcc_/),
    baseUrl: `${server.url}/scim/default/v2`,
    tokenUrl: `${server.url}/oauth/token`,
    clientId: (client["scimToken"] as { id: string }).id,
    scimToken: expect.objectContaining({ kind: "KIND_CLIENT", name: "entra" }),
  });
  expect(await refuses({ oauth: true, cluster: "default" })).toBe("invalid_argument");
  expect(await refuses({ ttl: "0s" })).toBe("invalid_argument");
  expect(await refuses({ ttl: "-5s" })).toBe("invalid_argument");
  expect(await refuses({ ttl: "315576000000s" })).toBe("invalid_argument");
  expect(await refuses({ cluster: "gpu" })).toBe("not_found");
  expect(await refuses({ cluster: "default", org: "acme" })).toBe("not_found");
  const rotated = await ask(server, "TokenService/RotateScimToken", { id });
  expect(rotated).toMatchObject({ token: expect.stringMatching(/^rcs_/), scimToken: { name: "entra" } });
  const { replaced } = rotated as { replaced: { id: string; expiresAt: string } };
  expect(replaced.id).toBe(id);
  expect(Math.abs(Date.parse(replaced.expiresAt) - Date.now() - 86_400_000)).toBeLessThan(60_000);
  expect(await refusal(server, "TokenService/RotateScimToken", { id })).toEqual([
    "failed_precondition",
    expect.stringMatching(/has 2 live scim tokens already: revoke \S+ or \S+$/),
  ]);
  expect((await refusal(server, "TokenService/RotateScimToken", { id, overlap: "2592001s" }))[0]).toBe(
    "invalid_argument",
  );
  expect((await refusal(server, "TokenService/RotateScimToken", { id: "x" }))[0]).toBe("not_found");
  const { scimTokens } = (await ask(server, "TokenService/ListScimTokens")) as { scimTokens: { kind: string }[] };
  expect(scimTokens.map(({ kind }) => kind).sort()).toEqual(["KIND_CLIENT", "KIND_READ", "KIND_SCIM", "KIND_SCIM"]);
});

test("people are locked and unlocked, also when they are gone", async () => {
  await using server = await operatorServer();
  await server.admit("ada@example.org");
  const lock = { userName: "ada@example.org", origin: "admin", reason: "left in anger" };
  const wanted = { user: "ada", reason: "left in anger" };
  expect(await ask(server, "DirectoryService/LockUser", wanted)).toMatchObject({ lock });
  expect(await refusal(server, "DirectoryService/LockUser", wanted)).toEqual([
    "already_exists",
    '"ada@example.org" is locked already: left in anger',
  ]);
  expect(await ask(server, "DirectoryService/ListLocks")).toMatchObject({ locks: [lock] });
  expect((await refusal(server, "DirectoryService/LockUser", { user: "ada" }))[0]).toBe("invalid_argument");
  const { id } = ((await ask(server, "DirectoryService/GetUser", { user: "ada" })) as { user: { id: string } }).user;
  await removeUser(server.ctx, { kind: "admin" }, await orgId(server.ctx, "default"), id);
  const user = "ADA@example.org";
  expect(await ask(server, "DirectoryService/UnlockUser", { user })).toMatchObject({ locks: [lock] });
  expect((await refusal(server, "DirectoryService/UnlockUser", { user }))[0]).toBe("not_found");
  expect(await ask(server, "DirectoryService/ListLocks")).toEqual({});
});

test("a join token needs a role and a time of at most a day", async () => {
  await using server = await operatorServer();
  const ask1 = async (body: object) => (await refusal(server, "TokenService/CreateJoinToken", { ...body }))[0];
  expect(await ask1({})).toBe("invalid_argument");
  expect(await ask1({ role: "ROLE_LOGIN", ttl: "90000s" })).toBe("invalid_argument");
  expect(await ask1({ role: "ROLE_LOGIN", ttl: "-1s" })).toBe("invalid_argument");
  expect(await ask1({ role: "ROLE_LOGIN", cluster: "x" })).toBe("not_found");
  const made = await ask(server, "TokenService/CreateJoinToken", { role: "ROLE_COMPUTE", ttl: "60s" });
  const left = Date.parse(String(made["expiresAt"])) - Date.now();
  expect(left).toBeGreaterThan(50_000);
  expect(left).toBeLessThanOrEqual(60_000);
});

test("nodes are shown as they stand, and steered", async () => {
  await using server = await operatorServer();
  const { fleet, cluster } = server;
  const head = await server.head();
  fleet.say(cluster, "login-1", { state: "current", acked: head, heard: 500 });
  fleet.say(cluster, "compute-2", { state: "stale", role: "compute", acked: origin, heard: 4_000 });
  fleet.say(cluster, "new", { state: "pending" });
  const refused = { revision: 1n, sink: "nss", reason: "write passwd.cache: ENOSPC", retrying: true };
  fleet.say(cluster, "full", { state: "refused", refused, heard: 10 });
  const { nodes } = (await ask(server, "NodeService/ListNodes")) as { nodes: { name: string; state: string }[] };
  expect(nodes.map(({ name, state }) => [name, state])).toEqual([
    ["compute-2", "STATE_STALE"],
    ["full", "STATE_REFUSED"],
    ["login-1", "STATE_CURRENT"],
    ["new", "STATE_PENDING"],
  ]);
  const { node } = (await ask(server, "NodeService/GetNode", { node: "compute-2" })) as { node: { age: string } };
  expect(Number.parseFloat(node.age)).toBeGreaterThanOrEqual(4);
  expect(await ask(server, "NodeService/GetNode", { node: "full" })).toMatchObject({
    node: { refused: { revision: "1", sink: "nss", reason: "write passwd.cache: ENOSPC", retrying: true } },
  });
  expect(await ask(server, "NodeService/GetNode", { node: "login-1" })).toMatchObject({
    node: {
      role: "ROLE_LOGIN",
      acked: { revision: "1", digest: head.digest },
      latency: "0.025s",
      deliveredBy: "delta",
    },
  });
  await ask(server, "NodeService/ResyncNode", { node: "full" });
  expect(fleet.resynced).toEqual(["full"]);
  expect(await ask(server, "NodeService/BanNode", { node: "full" })).toMatchObject({ node: { state: "STATE_BANNED" } });
  expect((await refusal(server, "NodeService/ResyncNode", { node: "full" }))[0]).toBe("failed_precondition");
  for (const method of ["GetNode", "ResyncNode", "BanNode"]) {
    expect(await refusal(server, `NodeService/${method}`, { node: "n9" })).toEqual([
      "not_found",
      'no node "n9" in the cluster "default"',
    ]);
  }
  expect((await refusal(server, "NodeService/Enroll", { joinToken: "x" }))[0]).toBe("unimplemented");
});

test("a rollout is told of any revision there is, the newest by default", async () => {
  await using server = await operatorServer();
  server.fleet.say(server.cluster, "login-1", { state: "current", acked: await server.head() });
  await server.admit("ada");
  const { rollout } = await ask(server, "RolloutService/GetRollout");
  const head = (await server.head()).revision;
  expect(rollout).toMatchObject({
    cluster: "default",
    revision: `${head}`,
    head: `${head}`,
    cause: "admin",
    state: "STATE_PROGRESSING",
    nodes: 1,
    summary: `Rollout r${head} progressing: 0 of 1 nodes.`,
    waitingFor: [{ name: "login-1" }],
  });
  expect(await ask(server, "RolloutService/GetRollout", { revision: "1" })).toMatchObject({
    rollout: { revision: "1", head: `${head}`, state: "STATE_COMPLETE", acked: 1 },
  });
  for (const revision of [`${head + 1n}`, "18446744073709551615"]) {
    expect((await refusal(server, "RolloutService/GetRollout", { revision }))[0]).toBe("not_found");
    expect((await refusal(server, "RolloutService/WatchRollout", { revision }))[0]).toBe("not_found");
  }
  const { revisions } = (await ask(server, "RolloutService/ListRevisions")) as { revisions: { revision: string }[] };
  expect(revisions.map(({ revision }) => BigInt(revision))).toEqual(
    Array.from({ length: Number(head) }, (_, i) => head - BigInt(i)),
  );
});

test("a watch tells each change once, not each heartbeat, and ends when every node holds the revision", async () => {
  await using server = await operatorServer();
  const { fleet, cluster } = server;
  const say = (state: "updating" | "stale" | "current", heard: number) =>
    fleet.say(cluster, "login-1", { state, heard, ...(state === "current" ? { acked } : {}) });
  const acked = await server.head();
  say("updating", 10);
  const watching = call(server, "rollcall.v1.RolloutService/WatchRollout");
  await vi.waitFor(() => expect(fleet.listeners.size).toBe(1));
  say("updating", 20);
  await new Promise((resolve) => setTimeout(resolve, 250));
  say("stale", 30);
  await new Promise((resolve) => setTimeout(resolve, 250));
  say("current", 0);
  const { code, out } = await watching;
  expect(code).toBe(0);
  expect(out.match(/"state": "STATE_\w+"|"summary": "[^"]*"/g)).toEqual([
    '"state": "STATE_PROGRESSING"',
    '"summary": "Rollout r1 progressing: 0 of 1 nodes."',
    '"state": "STATE_UPDATING"',
    '"state": "STATE_PROGRESSING"',
    '"summary": "Rollout r1 progressing: 0 of 1 nodes."',
    '"state": "STATE_STALE"',
    '"state": "STATE_COMPLETE"',
    '"summary": "Rollout r1 complete: 1 of 1 nodes."',
  ]);
  expect(fleet.listeners.size).toBe(0);
});

test("a watch of a fleet that takes long to look at leaves the server twenty times as long for everything else", async () => {
  let looks = 0;
  const slow = new (class extends TestFleet {
    override each(cluster: string) {
      looks += 1;
      for (const end = performance.now() + 25; performance.now() < end; );
      return super.each(cluster);
    }
  })(Date.now);
  await using server = await operatorServer(() => slow);
  const leaving = new AbortController();
  const say = () => slow.say(server.cluster, "login-1", { state: "updating", heard: 10 });
  say(); // A fleet without nodes is complete, and its watch ends.
  const changing = setInterval(say, 10);
  setTimeout(() => leaving.abort(), 1_600);
  await expect(async () => {
    for await (const _ of client(server, server.token).rollouts.watchRollout({}, { signal: leaving.signal }));
  }).rejects.toThrow(/cancel|abort/i);
  clearInterval(changing);
  // At 0, 100, 600, 1100 and 1600 ms.
  expect(looks).toBeGreaterThan(1);
  expect(looks).toBeLessThan(7);
});

test("a watch that its client leaves stops listening", async () => {
  await using server = await operatorServer();
  server.fleet.say(server.cluster, "login-1", { state: "updating" });
  const leaving = new AbortController();
  const watch = client(server, server.token).rollouts.watchRollout({}, { signal: leaving.signal });
  for await (const { rollout } of watch) {
    expect(rollout?.nodes).toBe(1);
    expect(server.fleet.listeners.size).toBe(1);
    break;
  }
  // Long enough that the server waits for news, and not for its next turn.
  await new Promise((resolve) => setTimeout(resolve, 250));
  expect(server.fleet.listeners.size).toBe(1);
  leaving.abort();
  await vi.waitFor(() => expect(server.fleet.listeners.size).toBe(0));
});

test("a watch is told when the server stops, which waits for no watch", async () => {
  const server = await operatorServer();
  server.fleet.say(server.cluster, "login-1", { state: "updating" });
  const watching = call(server, "rollcall.v1.RolloutService/WatchRollout");
  await vi.waitFor(() => expect(server.fleet.listeners.size).toBe(1));
  await server[Symbol.asyncDispose]();
  const { code, err } = await watching;
  expect([code, err]).toEqual([14, expect.stringContaining("the server is stopping")]);
});

test("a fault of ours is told as internal, logged once, and without secrets", async () => {
  await using server = await operatorServer();
  const broken = vi.spyOn(server.fleet, "each").mockImplementation(() => {
    throw new Error("disk I/O error at /secret/path");
  });
  expect(await refusal(server, "RolloutService/GetRollout", {})).toEqual(["internal", "internal"]);
  expect(await refusal(server, "RolloutService/WatchRollout", {})).toEqual(["internal", "internal"]);
  broken.mockRestore();
  await refusal(server, "NodeService/GetNode", { node: "x" });
  const lines = server.logged.map(
    (line) => JSON.parse(line) as { msg: string; method: string; err: { message: string } },
  );
  expect(lines.map(({ msg, method, err }) => [msg, method, err.message])).toEqual([
    ["call failed", "GetRollout", "disk I/O error at /secret/path"],
    ["call failed", "WatchRollout", "disk I/O error at /secret/path"],
  ]);
  expect(server.logged.join()).not.toContain(server.token);
});

test("health is told of the server and each service, and can be watched", async () => {
  await using server = await operatorServer();
  const { health } = client(server, undefined);
  expect((await health.check({ service: "rollcall.v1.NodeService" })).status).toBe(Status.SERVING);
  await expect(health.check({ service: "x" })).rejects.toThrow("no such service");
  const leaving = new AbortController();
  for await (const { status } of health.watch({}, { signal: leaving.signal })) {
    expect(status).toBe(Status.SERVING);
    break;
  }
  leaving.abort();
});

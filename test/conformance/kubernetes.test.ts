/**
 * Nodes that Kubernetes vouches for. No Kubernetes runs here: its API server is a fake that answers TokenReviews over real
 * HTTPS, with a certificate of an authority of its own; the control plane and the agent are the programs.
 */

import { once } from "node:events";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { openAuthority } from "../../server/authority/authority.ts";
import { readIssuers, vouch } from "../../server/authority/kubernetes.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { until } from "../processes/holder.ts";
import { startBin } from "../processes/started.ts";

const extra = {
  "authentication.kubernetes.io/node-name": ["gpu-1.cluster.local"],
  "authentication.kubernetes.io/pod-name": ["agent-x7k"],
};
const user = { username: "system:serviceaccount:rollcall:agent-login", extra };
const good = { authenticated: true, audiences: ["rollcall"], user };

/** A token's middle says who issued it; that is all that is read of it here. */
function token(issuer = "https://kubernetes.test"): string {
  return ["e30", Buffer.from(JSON.stringify({ iss: issuer })).toString("base64url"), "c2ln"].join(".");
}

let folder: AsyncDisposable & { readonly path: string };
let api: Server;
let url = "";
let answer: { status: number; body: string; headers?: Record<string, string>; wait?: number };
let asked: { path: string; authorization: string; body: string }[] = [];

const says = (status: object, code = 201): void => {
  answer = { status: code, body: JSON.stringify({ kind: "TokenReview", status }) };
};

beforeAll(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), "rollcall-kubernetes-"));
  const authority = await openAuthority(folder.path, { now: Date.now });
  const { key, cert } = await authority.issueServer(["localhost", "127.0.0.1"]);
  api = createServer({ key, cert }, (request, response) => {
    let body = "";
    request.on("data", (more: Buffer) => (body += more.toString()));
    request.on("end", () => {
      asked.push({ path: request.url ?? "", authorization: request.headers.authorization ?? "", body });
      const { status, headers = {}, wait = 0 } = answer;
      setTimeout(() => response.writeHead(status, headers).end(answer.body), wait);
    });
  });
  api.listen(0, "127.0.0.1");
  await once(api, "listening");
  url = `https://127.0.0.1:${(api.address() as AddressInfo).port}`;
  await writeFile(join(folder.path, "credential"), "reviewer\n");
  await writeIssuers();
});

afterAll(async () => {
  api.closeAllConnections();
  api.close();
  await folder[Symbol.asyncDispose]();
});

beforeEach(() => {
  asked = [];
  says(good);
});

const file = (): string => join(folder.path, "issuers.json");

async function writeIssuers(change: object = {}): Promise<void> {
  const issuer = {
    issuer: "https://kubernetes.test",
    api: url,
    ca_file: join(folder.path, "ca.pem"),
    audience: "rollcall",
    credential_file: join(folder.path, "credential"),
    agents: [{ service_account: "rollcall/agent-login", cluster: "default", role: "login" }],
  };
  await writeFile(file(), JSON.stringify([{ ...issuer, ...change }]));
}

describe("a token", () => {
  test("that Kubernetes vouches for is one node's of one cluster and role; it is asked once, with the server's own credential", async () => {
    const vouched = await vouch(await readIssuers(file()), token(), "gpu-1");
    expect(vouched).toMatchObject({ cluster: "default", role: "login", pod: "agent-x7k" });
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      path: "/apis/authentication.k8s.io/v1/tokenreviews",
      authorization: "Bearer reviewer",
    });
    expect(JSON.parse(asked[0]?.body ?? "")).toMatchObject({ spec: { token: token(), audiences: ["rollcall"] } });
  });

  test.each<[string, object, RegExp]>([
    ["is not good", { authenticated: false }, /does not vouch/],
    ["nothing is said of", {}, /does not vouch/],
    ["is good only for a truthy word", { ...good, authenticated: "yes" }, /does not vouch/],
    ["is for another audience", { ...good, audiences: ["vault"] }, /not made for the audience/],
    ["is for no audience", { ...good, audiences: undefined }, /not made for the audience/],
    [
      "is another service account's",
      { ...good, user: { ...user, username: "system:serviceaccount:rollcall:web" } },
      /runs no agents/,
    ],
    [
      "is another namespace's",
      { ...good, user: { ...user, username: "system:serviceaccount:evil:agent-login" } },
      /runs no agents/,
    ],
    ["is a person's", { ...good, user: { ...user, username: "rollcall/agent-login" } }, /runs no agents/],
    ["is bound to no node", { ...good, user: { ...user, extra: {} } }, /does not say on which node/],
  ])("that %s lets nobody in", async (_, status, why) => {
    says(status);
    await expect(vouch(await readIssuers(file()), token(), "gpu-1")).rejects.toThrow(why);
  });

  test("of a pod on one node is no other node's", async () => {
    const issuers = await readIssuers(file());
    for (const other of ["gpu-2", "gpu", "gpu-1.cluster.local", ""]) {
      await expect(vouch(issuers, token(), other), other).rejects.toThrow(/is of a pod on/);
    }
  });

  test("of an unknown issuer, or none, is shown to nobody", async () => {
    const issuers = await readIssuers(file());
    for (const foreign of [
      token("https://elsewhere.test"),
      "nonsense",
      "",
      "a.b.c",
      `${token()}${"x".repeat(20_000)}`,
    ]) {
      await expect(vouch(issuers, foreign, "gpu-1")).rejects.toThrow(/of no issuer/);
    }
    await expect(vouch([], token(), "gpu-1")).rejects.toThrow(/of no issuer/);
    expect(asked).toEqual([]);
  });
});

test.each<[string, typeof answer]>([
  ["refuses", { status: 403, body: "{}" }],
  ["answers nonsense", { status: 201, body: "<html>" }],
  ["answers something else", { status: 201, body: '{"status":[1]}' }],
  ["answers without an end", { status: 201, body: "x".repeat(1_000_000) }],
  ["sends away", { status: 307, body: "", headers: { location: "https://127.0.0.1:1/" } }],
  ["says nothing", { status: 201, body: "{}", wait: 8_000 }],
])("an API server that %s lets nobody in, and is given up in time", async (_, given) => {
  answer = given;
  const began = performance.now();
  await expect(vouch(await readIssuers(file()), token(), "gpu-1")).rejects.toThrow();
  expect(performance.now() - began).toBeLessThan(7_000);
  expect(asked).toHaveLength(1);
});

test("an API server with another certificate is not shown the token", async () => {
  await using other = await mkdtempDisposable(join(tmpdir(), "rollcall-other-"));
  await openAuthority(other.path, { now: Date.now });
  const issuers = (await readIssuers(file())).map((issuer) => ({ ...issuer, caPem: "" }));
  await expect(vouch(issuers, token(), "gpu-1")).rejects.toThrow(/certificate/);
  expect(asked).toEqual([]);
});

test.each<[string, object, RegExp]>([
  ["an unknown field", { audienc: "x" }, /"audienc" is not known/],
  ["an unknown role", { agents: [{ service_account: "a/b", cluster: "c", role: "root" }] }, /role must be one of/],
  ["a field too few", { audience: undefined }, /audience must be a text/],
  ["no authority to read", { ca_file: "/nowhere/ca.pem" }, /ENOENT/],
  ["no namespace", { agents: [{ service_account: "b", cluster: "c", role: "login" }] }, /NAMESPACE\/NAME/],
  ["plain HTTP", { api: "http://127.0.0.1" }, /must begin with https/],
])("a file with %s is refused", async (_, change, why) => {
  await writeIssuers(change);
  await expect(readIssuers(file())).rejects.toThrow(why);
  await writeIssuers();
});

test("an agent in a pod joins without anybody's help, and again after it lost its folder; a ban holds", async () => {
  await using plane = await ControlPlane.start(undefined, ["--kubernetes", file()]);
  await using home = await mkdtempDisposable(join(tmpdir(), "rollcall-pod-"));
  await writeFile(join(home.path, "token"), token());
  const start = (state: string) =>
    startBin("rollcall-agent", [
      ...["--server", plane.urls.nodes, "--ca", plane.caFile, "--node", "gpu-1"],
      ...["--kubernetes-token-file", join(home.path, "token")],
      ...["--state", join(home.path, state), "--etc", join(home.path, `${state}-etc`)],
    ]);
  const nodes = await plane.client(NodeService);
  {
    await using agent = start("first");
    await agent.says(/"msg":"applied"/);
    const { node } = await nodes.getNode({ node: "gpu-1" });
    expect(node).toMatchObject({ name: "gpu-1" });
  }
  {
    await using agent = start("second");
    await agent.says(/"msg":"applied"/);
  }
  const { entries } = await (await plane.client(AuditService)).listAudit({ action: "node.enrol" });
  expect(entries).toHaveLength(2);
  expect(JSON.stringify(entries.map(({ after }) => after))).toContain("rollcall/agent-login");
  await nodes.banNode({ node: "gpu-1" });
  await using third = start("third");
  await third.says(/is banned; only a join token lets it in again/);
  await until(() => third.process.exitCode !== null);
  expect(plane.process.stderr + third.stderr).not.toContain(token());
});

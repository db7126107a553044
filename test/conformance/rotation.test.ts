/**
 * The authority is replaced under a running control plane: nodes learn the new one before anything is of it, stay connected,
 * and what is still of the old one when it is retired is refused. Real servers, real agents, and chains that openssl forged.
 */

import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempDisposable, readFile, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer } from "node:tls";
import { expect, test } from "vitest";
import type { Identity } from "../../agent/uplink.ts";
import { AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { type Node, Node_Rotation, Node_State, NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";
import { AgentNode } from "../processes/node.ts";

async function look(plane: ControlPlane, name: string): Promise<Node | undefined> {
  return (await (await plane.client(NodeService)).getNode({ node: name })).node;
}

async function areDone(plane: ControlPlane, nodes: readonly AgentNode[], authority: string, trusts: string[]) {
  await until(async () => {
    const found = await Promise.all(nodes.map(({ name }) => look(plane, name)));
    return found.every(
      (node) =>
        node?.rotation === Node_Rotation.DONE &&
        node.state === Node_State.CURRENT &&
        node.authority === authority &&
        node.trusts.join() === trusts.join(),
    );
  });
}

/** Which authority's certificate a port shows. */
async function issuerAt(address: string): Promise<string | undefined> {
  const { hostname: host, port } = new URL(`https://${address}`);
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  await once(socket, "secureConnect");
  const issuer = socket.getPeerX509Certificate()?.issuer;
  socket.destroy();
  return issuer;
}

async function names(plane: ControlPlane): Promise<string[]> {
  const text = await readFile(plane.caFile, "utf8");
  return (text.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []).map(
    (pem) => new X509Certificate(pem).subject ?? "",
  );
}

test("nodes stay through a whole rotation, also one that was off; what is of the old authority then is refused", {
  timeout: 240_000,
}, async () => {
  await using plane = await ControlPlane.start();
  await using one = await AgentNode.join(plane, "one", "login");
  await using two = await AgentNode.join(plane, "two", "compute");
  await using off = await AgentNode.join(plane, "off", "login");
  const all = [one, two, off];
  const made = await plane.scim("POST", "/Users", { userName: "ada", active: true });
  await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [{ value: made.body["id"] }] });
  await until(async () => (await plane.acked()) === 3);
  await off.stop();

  // A second authority, which nothing is of: whoever is there learns it; who is off must before it may sign.
  const prepared = await plane.authority("prepare");
  const [old, fresh] = prepared.authorities.map(({ id }) => id) as [string, string];
  expect(prepared.behind.map(({ node }) => node).toSorted()).toEqual(["off", "one", "two"]);
  expect(prepared.authorities.map(({ state, nodes }) => [state, nodes])).toEqual([
    ["signs", 3],
    ["trusted", 0],
  ]);
  await areDone(plane, [one, two], old, [old, fresh]);
  const [oldName, freshName] = await names(plane);
  expect(await issuerAt(plane.urls.nodes)).toBe(oldName);
  await expect(plane.authority("activate")).rejects.toThrow(/^7: .*"default\/off" does not know/);
  off.start();
  await areDone(plane, all, old, [old, fresh]);

  // It signs: every certificate is made anew, the server's first, and both are good.
  await off.stop();
  await plane.authority("activate");
  await until(async () => (await issuerAt(plane.urls.nodes)) === freshName);
  expect(await issuerAt(new URL(plane.urls.public).host)).toBe(freshName);
  await areDone(plane, [one, two], fresh, [fresh, old]);
  await expect(plane.authority("retire")).rejects.toThrow(/^7: .*"default\/off" has a certificate of/);
  off.start();
  await areDone(plane, all, fresh, [fresh, old]);

  await plane.authority("retire");
  await areDone(plane, all, fresh, [fresh]);
  expect(await names(plane)).toEqual([freshName]);

  // All the while the nodes went on: nobody was ever cut off, and nobody needed a snapshot.
  const bob = await plane.scim("POST", "/Users", { userName: "bob", active: true });
  const { body } = await plane.scim("GET", "/Groups");
  const [group] = body["Resources"] as { id: string }[];
  await plane.scim("PATCH", `/Groups/${group?.id}`, {
    schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    Operations: [{ op: "add", path: "members", value: [{ value: bob.body["id"] }] }],
  });
  for (const node of all) await until(async () => (await node.people()).join() === "ada,bob");
  for (const { process } of [one, two]) {
    expect(process.stderr).not.toContain('"msg":"not connected"');
    expect(process.stderr.match(/"msg":"certificate renewed"/g), "once a step").toHaveLength(3);
    // Once, when it was new.
    expect(process.stderr.match(/"mode":3/g) ?? []).toHaveLength(1);
  }
  const { entries } = await (await plane.client(AuditService)).listAudit({ org: "-", action: "authority." });
  expect(entries.map(({ after }) => (JSON.parse(after) as { signs?: string }).signs ?? "-").toReversed()).toEqual([
    "-",
    fresh,
    "-",
  ]);
});

test("an open stream whose certificate is of the retired authority ends at once, and is not let in again", {
  timeout: 240_000,
}, async () => {
  await using plane = await ControlPlane.start();
  const { server, identities } = await enrolled(plane, 2);
  const [early, late] = identities as [Identity, Identity];
  using holder = new Holder(server, early);
  await until(() => holder.heard.includes("welcome"));
  await plane.authority("prepare");
  // It speaks the oldest protocol and never renews: it is only asked.
  await until(() => holder.heard.filter((each) => each === "welcome").length === 2);
  await expect(plane.authority("activate")).rejects.toThrow(/2 nodes would be locked out/);
  await plane.authority("activate", "--force");
  await plane.process.says(/"msg":"the authorities changed"/);
  const caPem = await readFile(plane.caFile, "utf8");
  await until(async () => (await issuerAt(plane.urls.nodes)) === (await names(plane))[0]);
  expect(holder.ended, "trusted still").toBeUndefined();
  using other = new Holder({ ...server, caPem }, late);
  await until(() => other.heard.includes("welcome"));
  // Whoever trusts the old one alone no longer knows the server.
  using stranger = new Holder(server, late);
  await until(() => stranger.ended !== undefined);
  expect(stranger.ended).toMatch(/certificate/);

  await plane.authority("retire", "--force");
  await until(() => holder.ended !== undefined && other.ended !== undefined);
  await plane.process.says(/the authority of its certificate was retired/);
  using again = new Holder({ ...server, caPem }, late);
  await until(() => again.ended !== undefined);
  expect([again.heard, again.ended]).toEqual([[], expect.stringMatching(/14 UNAVAILABLE/)]);
  await plane.process.says(/client certificate refused/);
});

test("a node that missed the change waits, and is let in by the new ca.pem alone, without a restart", {
  timeout: 240_000,
}, async () => {
  await using plane = await ControlPlane.start();
  await using node = await AgentNode.join(plane, "missed", "login");
  await node.stop();
  await plane.authority("prepare");
  await plane.authority("activate", "--force");
  await until(async () => (await issuerAt(plane.urls.nodes)) === (await names(plane))[0]);
  node.start();
  await node.process.says(/certificate.*"msg":"not connected"/);
  expect((await look(plane, "missed"))?.state).toBe(Node_State.STALE);
  await writeFile(join(node.folder, "ca.pem"), await readFile(plane.caFile));
  await until(async () => (await look(plane, "missed"))?.rotation === Node_Rotation.DONE);
  await plane.authority("retire");
});

/** An authority of openssl's that calls itself as another one, and what it signs. */
async function forger(folder: string, likePem: string) {
  const subject = (new X509Certificate(likePem).subject ?? "").replace("CN=", "/CN=");
  const [key, cert] = [join(folder, "forged-ca-key.pem"), join(folder, "forged-ca.pem")];
  const p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run(["req", "-x509", ...p256, "-subj", subject, "-days", "2", "-keyout", key, "-out", cert]);
  return {
    certPem: await readFile(cert, "utf8"),
    async sign(name: string, extensions: string, ca = cert, caKey = key) {
      const [ownKey, csr, ext] = ["key", "csr", "ext"].map((kind) => join(folder, `${name}.${kind}`)) as [
        string,
        string,
        string,
      ];
      await writeFile(ext, extensions);
      run(["req", "-new", ...p256, "-subj", "/CN=x", "-keyout", ownKey, "-out", csr]);
      const chainPem = run([
        "x509",
        "-req",
        "-in",
        csr,
        "-CA",
        ca,
        "-CAkey",
        caKey,
        "-CAcreateserial",
        "-days",
        "1",
        "-extfile",
        ext,
      ]);
      return { keyPem: await readFile(ownKey, "utf8"), chainPem };
    },
  };
}

function run(args: string[]): string {
  return execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] }).toString();
}

test("forged chains open nothing, whoever they claim to come from", { timeout: 240_000 }, async () => {
  await using plane = await ControlPlane.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-forged-"));
  const { server, identities } = await enrolled(plane, 1);
  const [node] = identities as [Identity];
  const { caPem } = server;
  const forged = await forger(folder.path, caPem);
  const san = "subjectAltName=critical,URI:spiffe://rollcall/cluster/default/role/controller/node/boss\n";
  const client = `${san}extendedKeyUsage=clientAuth\nbasicConstraints=critical,CA:FALSE\n`;
  const impostor = await forged.sign("impostor", client);
  // The node signs for somebody else, with the certificate that it was given in the chain.
  const [nodePath, nodeKey] = [join(folder.path, "node.pem"), join(folder.path, "node-key.pem")];
  await writeFile(nodePath, node.chainPem);
  await writeFile(nodeKey, node.keyPem);
  const below = await forged.sign("below", client, nodePath, nodeKey);
  const chains = {
    "an authority of the same name": impostor,
    "the same, with the real authority behind it": { ...impostor, chainPem: impostor.chainPem + caPem },
    "the same, with its own authority": { ...impostor, chainPem: impostor.chainPem + forged.certPem },
    "a node's certificate": { ...below, chainPem: below.chainPem + node.chainPem },
  };
  for (const [by, identity] of Object.entries(chains)) {
    using holder = new Holder(server, identity);
    await until(() => holder.ended !== undefined);
    expect([holder.heard, holder.ended], by).toEqual([[], expect.stringMatching(/14 UNAVAILABLE/)]);
  }
  using honest = new Holder(server, node);
  await until(() => honest.heard.includes("welcome"));

  // The other way: a server that the authority of the same name vouches for hears no agent.
  const fake = await forged.sign("fake", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
  let heard = 0;
  const listener = createServer({ key: fake.keyPem, cert: fake.chainPem + forged.certPem, ALPNProtocols: ["h2"] });
  listener.on("secureConnection", () => heard++);
  listener.on("tlsClientError", () => undefined);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  using duped = new Holder({ address, caPem }, node);
  await until(() => duped.ended !== undefined);
  expect([duped.ended, heard]).toEqual([expect.stringMatching(/14 UNAVAILABLE/), 0]);
  listener.close();
});

/** The authority against the real openssl: what it signs must verify there, and what it is sent comes from there. */

import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempDisposableSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openAuthority } from "./authority.ts";
import type { NodeSubject } from "./identity.ts";

const start = Date.parse("2026-11-02T12:00:00Z");
const day = 24 * 3_600_000;
const subject: NodeSubject = { cluster: "default", role: "login", node: "login-1" };

async function authority(options: { trustDomain?: string } = {}) {
  const folder = mkdtempDisposableSync("/tmp/rollcall-authority-");
  const clock = { now: start };
  const open = () => openAuthority(folder.path, { now: () => clock.now, ...options });
  const path = (name: string) => join(folder.path, name);
  return { authority: await open(), open, clock, path, [Symbol.dispose]: () => folder.remove() };
}

/** A request as openssl makes it. */
function request(...args: string[]): Buffer {
  return openssl(["req", "-new", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=root", "-outform", "DER", ...args]);
}

const p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

function openssl(args: string[], input?: Buffer | string): Buffer {
  return execFileSync("openssl", args, { input, stdio: ["pipe", "pipe", "ignore"] });
}

function verified(ca: string, pem: string, purpose: "sslclient" | "sslserver", at = start): string {
  return openssl(["verify", "-x509_strict", "-purpose", purpose, "-attime", `${at / 1000}`, "-CAfile", ca], pem)
    .toString()
    .trim();
}

test("a node's certificate is good for a client and nothing else, and says who the node is", async () => {
  using made = await authority();
  const { chainPem, serial, notAfter } = await made.authority.issueNode(subject, request(...p256));
  const certificate = new X509Certificate(chainPem);
  expect(verified(made.path("ca.pem"), chainPem, "sslclient")).toBe("stdin: OK");
  expect(() => verified(made.path("ca.pem"), chainPem, "sslserver")).toThrow();
  expect(certificate.subjectAltName).toBe("URI:spiffe://rollcall/cluster/default/role/login/node/login-1");
  expect(certificate.subject ?? "", "the request's own subject is dropped").not.toContain("root");
  expect(certificate.ca).toBe(false);
  expect(certificate.keyUsage, "extended key usage: clientAuth").toEqual(["1.3.6.1.5.5.7.3.2"]);
  expect(Date.parse(certificate.validFrom)).toBe(start - 5 * 60_000);
  expect(notAfter).toBe(start + day);
  expect(chainPem).toContain(made.authority.caPem);
  expect(made.authority.identityOf(certificate.raw)).toEqual({ ...subject, serial, notAfter });
  expect(serial.toUpperCase()).toBe(certificate.serialNumber);
});

test("serials are 128 random bits", async () => {
  using made = await authority();
  const csr = request(...p256);
  const issued = await Promise.all(Array.from({ length: 50 }, () => made.authority.issueNode(subject, csr)));
  expect(new Set(issued.map(({ serial }) => serial)).size).toBe(50);
  for (const { serial } of issued) expect(serial).toMatch(/^01[0-9a-f]{32}$/);
});

test.each([
  ["P-256", p256],
  ["P-384", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]],
  ["Ed25519", ["-newkey", "ed25519"]],
  ["RSA 3072", ["-newkey", "rsa:3072"]],
])("a request with a key of kind %s is signed", async (_, args) => {
  using made = await authority();
  const { chainPem } = await made.authority.issueNode(subject, request(...args));
  expect(verified(made.path("ca.pem"), chainPem, "sslclient")).toBe("stdin: OK");
});

test.each([
  ["RSA 2048", ["-newkey", "rsa:2048"]],
  ["RSA-PSS", ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:3072"]],
  ["RSA with exponent 3", ["-newkey", "rsa:3072", "-pkeyopt", "rsa_keygen_pubexp:3"]],
  ["P-521", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"]],
  ["secp256k1", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]],
  ["a curve by its parameters", [...p256, "-pkeyopt", "ec_param_enc:explicit"]],
  ["Ed448", ["-newkey", "ed448"]],
])("a request with a key of kind %s is refused", async (_, args) => {
  using made = await authority();
  await expect(made.authority.issueNode(subject, request(...args))).rejects.toMatchObject({ reason: "invalid" });
});

test("a request is refused unless its own key signed exactly it", async () => {
  using made = await authority();
  const good = request(...p256);
  const sha1 = request("-newkey", "rsa:3072", "-sha1");
  const flipped = Buffer.from(good);
  flipped[flipped.length - 1]! ^= 1;
  // Another's public key under one's own signature: what a thief of public keys would send.
  const other = request(...p256);
  const swapped = Buffer.from(good);
  const place = (der: Buffer) => der.indexOf(Buffer.from("034200", "hex")) + 3;
  other.copy(swapped, place(good), place(other), place(other) + 65);
  const long = Buffer.concat([good, Buffer.alloc(9000)]);
  const hostile = [flipped, swapped, sha1, Buffer.concat([good, Buffer.from([0])]), long, good.subarray(0, 80)];
  for (const der of [...hostile, Buffer.alloc(0), Buffer.from("hello"), Buffer.from("30".repeat(4000), "hex")]) {
    await expect(made.authority.issueNode(subject, der)).rejects.toMatchObject({ reason: "invalid" });
  }
});

test("extensions that a request asks for are not granted", async () => {
  using made = await authority();
  const wish = "spiffe://rollcall/cluster/default/role/controller/node/boss";
  const csr = request(...p256, "-addext", `subjectAltName=URI:${wish}`, "-addext", "basicConstraints=CA:TRUE");
  const { chainPem } = await made.authority.issueNode(subject, csr);
  expect(openssl(["x509", "-noout", "-text"], chainPem).toString()).not.toMatch(/boss|CA:TRUE/);
});

test.each([
  { ...subject, node: "login-1/../controller-1" },
  { ...subject, node: "Login" },
  { ...subject, node: "" },
  { ...subject, cluster: "a/role/controller/node/b" },
  { ...subject, role: "root" as "login" },
])("no certificate is made for a name that would not come back: %j", async (odd) => {
  using made = await authority();
  await expect(made.authority.issueNode(odd, request(...p256))).rejects.toMatchObject({ reason: "invalid" });
});

test.each([
  ["another trust domain", "URI:spiffe://evil/cluster/default/role/login/node/login-1"],
  ["a trust domain that begins alike", "URI:spiffe://rollcallx/cluster/default/role/login/node/login-1"],
  ["two URIs", `URI:${uri("login-1")},URI:${uri("login-2")}`],
  ["a URI and a DNS name", `URI:${uri("login-1")},DNS:login-1`],
  ["a DNS name that holds the URI", `DNS:${uri("login-1")}`],
  ["a path too long", `URI:${uri("login-1/admin")}`],
  ["upper case", `URI:${uri("LOGIN-1")}`],
  ["an escaped slash", `URI:${uri("a%2fb")}`],
  ["a query", `URI:${uri("login-1?x")}`],
  ["a slash at the end", `URI:${uri("login-1/")}`],
])("a certificate with %s is nobody's", async (_, san) => {
  using made = await authority();
  const args = ["req", "-x509", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x", "-outform", "DER", ...p256];
  expect(made.authority.identityOf(openssl([...args, "-addext", `subjectAltName=${san}`]))).toBeUndefined();
  expect(made.authority.identityOf(openssl(args)), "no subject alternative name at all").toBeUndefined();
  const good = openssl([...args, "-addext", `subjectAltName=URI:${uri("login-1")}`]);
  expect(made.authority.identityOf(good), "the same way, well-formed").toMatchObject(subject);
  expect(made.authority.identityOf(Buffer.from("no DER"))).toBeUndefined();
});

function uri(node: string): string {
  return `spiffe://rollcall/cluster/default/role/login/node/${node}`;
}

test("the server's certificate serves its names, is kept, and is made anew when they change or half its life is over", async () => {
  using made = await authority();
  const names = ["Rollcall.example.org", "127.0.0.1", "0:0::1"];
  const first = await made.authority.issueServer(names);
  const certificate = new X509Certificate(first.cert);
  expect(verified(made.path("ca.pem"), first.cert, "sslserver")).toBe("stdin: OK");
  expect(() => verified(made.path("ca.pem"), first.cert, "sslclient")).toThrow();
  expect(certificate.checkHost("rollcall.example.org")).toBeDefined();
  expect(certificate.checkIP("127.0.0.1")).toBeDefined();
  expect(certificate.checkIP("::1")).toBeDefined();
  expect(certificate.checkHost("other.example.org")).toBeUndefined();
  expect(first.notAfter).toBe(start + 90 * day);

  made.clock.now = start + 44 * day;
  expect(await (await made.open()).issueServer(names.toReversed())).toEqual(first);
  made.clock.now = start + 46 * day;
  const second = await made.authority.issueServer(names);
  expect(second.notAfter).toBe(start + 136 * day);
  expect((await made.authority.issueServer(["localhost"])).cert).not.toBe(second.cert);
  await expect(made.authority.issueServer(["a b"])).rejects.toMatchObject({ reason: "invalid" });
});

test("a server key that a crash left without its certificate is replaced", async () => {
  using made = await authority();
  const old = await made.authority.issueServer(["localhost"]);
  const other = openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
  writeFileSync(made.path("server-key.pem"), other);
  const { cert, key } = await made.authority.issueServer(["localhost"]);
  expect(cert).not.toBe(old.cert);
  expect(readFileSync(made.path("server-key.pem"), "utf8")).toBe(key);
});

test("the authority is made once, its keys are nobody else's to read", async () => {
  using made = await authority();
  await made.authority.issueServer(["localhost"]);
  const mode = (name: string) => (statSync(made.path(name)).mode & 0o777).toString(8);
  expect([mode("ca.pem"), mode("ca-key.pem"), mode("server-key.pem")]).toEqual(["644", "600", "600"]);
  const again = await made.open();
  expect(again.caPem).toBe(made.authority.caPem);
  const { chainPem } = await again.issueNode(subject, request(...p256));
  expect(verified(made.path("ca.pem"), chainPem, "sslclient")).toBe("stdin: OK");
  const ca = new X509Certificate(again.caPem);
  expect(Date.parse(ca.validTo)).toBeGreaterThan(start + 3650 * day);
});

test("a certificate without its key is not repaired by a new authority", async () => {
  using made = await authority();
  const key = readFileSync(made.path("ca-key.pem"));
  rmSync(made.path("ca-key.pem"));
  await expect(made.open()).rejects.toThrow("restore the key from a backup");
  writeFileSync(made.path("ca-key.pem"), openssl(["genpkey", "-algorithm", "ED25519"]));
  await expect(made.open()).rejects.toThrow("is not the key of");
  writeFileSync(made.path("ca-key.pem"), key);
  expect((await made.open()).caPem).toBe(made.authority.caPem);
  // A key alone is what a crash in the first start leaves: nobody has seen its certificate.
  rmSync(made.path("ca.pem"));
  expect((await made.open()).caPem).not.toBe(made.authority.caPem);
});

test("no certificate outlives the authority's", async () => {
  using made = await authority();
  made.clock.now = start + 3651 * day + day / 2;
  const { notAfter } = await made.authority.issueNode(subject, request(...p256), 30 * day);
  expect(notAfter).toBe(Date.parse(new X509Certificate(made.authority.caPem).validTo));
});

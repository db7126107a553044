/** The node's credentials: openssl must accept what is asked for, and no crash may separate a certificate from its key. */

import { execFileSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { mkdtempDisposableSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Credentials, halfLife, loadCredentials, newRequest, storeChain } from "./credentials.ts";
import { type Disk, realDisk } from "./disk.ts";
import { foldersIn } from "./folders.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const folders = foldersIn("/state");
const keyPath = "/state/private/key.pem";

function openssl(args: string[], input?: string | Uint8Array): Buffer {
  return execFileSync("openssl", args, { input, stdio: ["pipe", "pipe", "ignore"] });
}

/** An authority of openssl's own: the agent's requests must mean the same to anybody. */
function authority() {
  const folder = mkdtempDisposableSync("/tmp/rollcall-credentials-");
  const [key, cert, names] = ["ca-key.pem", "ca.pem", "names"].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  openssl(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", key, "-out", cert]);
  return {
    sign(request: Uint8Array, name?: string): string {
      writeFileSync(names, name === undefined ? "" : `subjectAltName=${name}\n`);
      writeFileSync(join(folder.path, "node.csr"), request);
      const args = ["-req", "-inform", "DER", "-in", join(folder.path, "node.csr"), "-CA", cert, "-CAkey", key];
      return openssl([
        "x509",
        ...args,
        "-CAcreateserial",
        "-days",
        "1",
        "-subj",
        "/CN=node",
        "-extfile",
        names,
      ]).toString();
    },
    [Symbol.dispose]: () => folder.remove(),
  };
}

test("openssl accepts the request: it is well-formed and signed by its own key", async () => {
  const disk = new SimulatedDisk();
  const request = await newRequest(disk, folders);
  const text = openssl(["req", "-inform", "DER", "-verify", "-noout", "-text"], request).toString();
  expect(text).toMatch(/Subject:\s*\n/);
  expect(text).toContain("NIST CURVE: P-256");
  expect(text).toContain("ecdsa-with-SHA256");
});

test("the key is made once, for its owner only, and every request is signed by it", async () => {
  using folder = mkdtempDisposableSync("/tmp/rollcall-credentials-");
  const real = foldersIn(folder.path);
  await realDisk.folder(real.private, 0o700);
  const publicKey = (der: Uint8Array) => openssl(["req", "-inform", "DER", "-noout", "-pubkey"], der).toString();
  const first = publicKey(await newRequest(realDisk, real));
  expect(publicKey(await newRequest(realDisk, real))).toBe(first);
  expect(statSync(join(real.private, "key.pem")).mode & 0o777).toBe(0o600);
});

test("a chain for the node's key is kept and comes back after a power cut", async () => {
  using ca = authority();
  const disk = new SimulatedDisk();
  expect(await loadCredentials(disk, folders)).toBeUndefined();
  const request = await newRequest(disk, folders);
  expect(await loadCredentials(disk, folders), "a key alone is no credential").toBeUndefined();
  const stored = await storeChain(disk, folders, ca.sign(request));
  expect(stored.life.to - stored.life.from).toBe(24 * 3_600_000);
  expect(await loadCredentials(disk.after("power cut"), folders)).toEqual(stored);
});

test.each([
  ["URI:spiffe://rollcall/cluster/default/role/login/node/n1", "login"],
  ["URI:spiffe://rollcall/cluster/default/role/compute/node/n1", "compute"],
  ["URI:spiffe://rollcall/cluster/default/role/king/node/n1", undefined],
  ["URI:spiffe://rollcall/cluster/role/login/node/n1", undefined],
  ["DNS:login-1", undefined],
])("a certificate for %s says the role %s", async (name, role) => {
  using ca = authority();
  const disk = new SimulatedDisk();
  await storeChain(disk, folders, ca.sign(await newRequest(disk, folders), name));
  expect(await loadCredentials(disk, folders)).toMatchObject({ role });
});

test("a chain for another key is refused, and what was held is kept", async () => {
  using ca = authority();
  const disk = new SimulatedDisk();
  const held = await storeChain(disk, folders, ca.sign(await newRequest(disk, folders)));
  const another = ca.sign(await newRequest(new SimulatedDisk(), folders));
  for (const chain of [another, "", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]) {
    await expect(storeChain(disk, folders, chain)).rejects.toThrow();
  }
  expect(await loadCredentials(disk, folders)).toEqual(held);
});

test("a certificate without its key is named, with what to do", async () => {
  using ca = authority();
  const disk = new SimulatedDisk();
  await storeChain(disk, folders, ca.sign(await newRequest(disk, folders)));
  disk.plant(keyPath, undefined);
  await expect(loadCredentials(disk, folders)).rejects.toThrow("enrol again with a new join token");
  await newRequest(disk, folders);
  await expect(loadCredentials(disk, folders)).rejects.toThrow("the certificate is for another key");
});

test("killed at any call of enrolling or renewing, the node has its old credentials or its new ones", {
  timeout: 60_000,
}, async () => {
  using ca = authority();
  const enrol = async (disk: Disk): Promise<Credentials> =>
    storeChain(disk, folders, ca.sign(await newRequest(disk, folders)));
  for (const end of ["kill", "power cut"] as const) {
    const enrolled = new SimulatedDisk();
    const before = await enrol(enrolled);
    for (const [start, old] of [
      [new SimulatedDisk(), undefined],
      [enrolled, before],
    ] as const) {
      for (let at = 1, done = false; !done; at++) {
        const disk = start.after("power cut");
        disk.fault = { kind: "killed", at, torn: true };
        const stored = await enrol(disk).catch(() => undefined);
        done = stored !== undefined;
        const survivor = disk.after(end);
        const found = await loadCredentials(survivor, folders);
        if (stored) expect(found).toEqual(stored);
        else if (old) expect(found?.keyPem).toBe(old.keyPem);
        // Whatever is left, the next start goes on from it.
        createPrivateKey((await enrol(survivor)).keyPem);
      }
    }
  }
});

test("a certificate is renewed from half its life on, spread over a tenth of it", () => {
  const life = { from: 1000, to: 2000 };
  expect(halfLife(life, 0)).toBe(1500);
  expect(halfLife(life, 0.5)).toBe(1550);
  expect(halfLife(life, 1)).toBe(1600);
});

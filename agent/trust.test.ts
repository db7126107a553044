/** Whom a node takes for its control plane, as authorities come and go; the certificates are openssl's. */

import { execFileSync } from "node:child_process";
import { mkdtempDisposableSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { foldersIn } from "./folders.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { Trust } from "./trust.ts";

const folders = foldersIn("/state");

interface Made {
  readonly pem: string;
  /** Signs a node's certificate. */
  readonly leaf: string;
}

/** Two authorities, with a certificate that each signed. */
const [old, fresh] = ((): [Made, Made] => {
  using folder = mkdtempDisposableSync("/tmp/rollcall-trust-");
  const path = (name: string) => join(folder.path, name);
  const p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const openssl = (args: string[]) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] }).toString();
  openssl(["req", "-new", ...p256, "-subj", "/CN=node", "-keyout", path("node.key"), "-out", path("node.csr")]);
  writeFileSync(path("ext"), "basicConstraints=critical,CA:FALSE\n");
  return ["old", "fresh"].map((name) => {
    const [key, cert] = [path(`${name}.key`), path(`${name}.pem`)];
    openssl(["req", "-x509", ...p256, "-subj", `/CN=${name}`, "-keyout", key, "-out", cert]);
    const by = ["-CA", cert, "-CAkey", key, "-CAcreateserial", "-days", "1", "-extfile", path("ext")];
    return { pem: readFileSync(cert, "utf8"), leaf: openssl(["x509", "-req", "-in", path("node.csr"), ...by]) };
  }) as [Made, Made];
})();

/** A node whose operator's file says something, or is not there. */
function node(disk: SimulatedDisk, file: { says: string | undefined }): Trust {
  return new Trust(disk, folders, async () => {
    if (file.says === undefined) throw new Error("ENOENT");
    return file.says;
  });
}

test("the operator's file counts until the control plane names others; a retired authority never comes back by it", async () => {
  const disk = new SimulatedDisk();
  const file: { says: string | undefined } = { says: old.pem };
  const trust = node(disk, file);
  expect(await trust.now()).toBe(old.pem);
  await trust.keep(old.pem + fresh.pem, old.leaf);
  expect(await trust.now()).toBe(old.pem + fresh.pem);
  await trust.keep(fresh.pem, fresh.leaf);
  expect(await trust.now()).toBe(fresh.pem);
  expect(await node(disk.after("power cut"), file).now(), "after a power cut").toBe(fresh.pem);
  file.says = undefined;
  expect(await trust.now(), "the file is gone").toBe(fresh.pem);
  await trust.keep(fresh.pem, fresh.leaf);
  file.says = old.pem;
  expect(await trust.now(), "it is there again, and says what it said").toBe(fresh.pem);
});

test("another file is a new word of the operator, until the control plane speaks again", async () => {
  const file = { says: old.pem };
  const trust = node(new SimulatedDisk(), file);
  await trust.keep(old.pem, old.leaf);
  file.says = fresh.pem;
  expect(await trust.now()).toBe(fresh.pem);
  await trust.keep(fresh.pem + old.pem, fresh.leaf);
  expect(await trust.now()).toBe(fresh.pem + old.pem);
});

test("without a file and without anything kept there is nobody to trust", async () => {
  await expect(node(new SimulatedDisk(), { says: undefined }).now()).rejects.toThrow("ENOENT");
});

test.each([
  ["holds nothing", "", /holds 0 certificates/],
  ["holds too many", old.pem.repeat(17), /holds 17 certificates/],
  ["is too long", old.pem + " ".repeat(70_000), /more than 65536 characters/],
  ["holds a certificate that is no authority's", old.pem + old.leaf, /no authority's: CN=node/],
  ["lacks the authority of the node's own certificate", fresh.pem, /lacks the authority/],
  ["is no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /./],
])("a bundle that %s is refused, and changes nothing", async (_, bundle, why) => {
  const trust = node(new SimulatedDisk(), { says: old.pem });
  await trust.keep(old.pem + fresh.pem, old.leaf);
  await expect(trust.keep(bundle, old.leaf)).rejects.toThrow(why);
  expect(await trust.now()).toBe(old.pem + fresh.pem);
});

test("killed at any call, a node trusts what it did or what it was told", async () => {
  for (const end of ["kill", "power cut"] as const) {
    const told = new SimulatedDisk();
    await node(told, { says: old.pem }).keep(old.pem, old.leaf);
    for (let at = 1, done = false; !done; at++) {
      const disk = told.after("power cut");
      disk.fault = { kind: "killed", at, torn: true };
      done = await node(disk, { says: old.pem })
        .keep(old.pem + fresh.pem, old.leaf)
        .then(
          () => true,
          () => false,
        );
      const found = await node(disk.after(end), { says: old.pem }).now();
      expect(done ? [old.pem + fresh.pem] : [old.pem, old.pem + fresh.pem]).toContain(found);
    }
  }
});

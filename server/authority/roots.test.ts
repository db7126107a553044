/** The steps of a rotation on the files of a data folder. */

import { mkdirSync, mkdtempDisposableSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { newRoot, openAuthority } from "./authority.ts";
import { activateRoot, openRoots, prepareRoot, readRoots, retireRoot } from "./roots.ts";

const make = () => newRoot(Date.now);

function dataFolder() {
  const folder = mkdtempDisposableSync("/tmp/rollcall-roots-");
  const path = (name: string) => join(folder.path, name);
  const mode = (name: string) => (statSync(path(name)).mode & 0o777).toString(8);
  const keys = () => readFileSync(path("ca-key.pem"), "utf8").split("BEGIN PRIVATE KEY").length - 1;
  return { data: folder.path, path, mode, keys, [Symbol.dispose]: () => folder.remove() };
}

test("one signs and another comes, takes over, and the first one goes with its key", async () => {
  using folder = dataFolder();
  const { data } = folder;
  const first = await openRoots(data, make);
  expect(first.other).toBeUndefined();
  await expect(activateRoot(data)).rejects.toMatchObject({ reason: "conflict" });
  await expect(retireRoot(data)).rejects.toMatchObject({ reason: "conflict" });
  const prepared = await prepareRoot(data, make);
  expect([prepared.signer, prepared.keyPem]).toEqual([first.signer, first.keyPem]);
  await expect(prepareRoot(data, make)).rejects.toMatchObject({ reason: "conflict" });
  const active = await activateRoot(data);
  expect([active.signer, active.other]).toEqual([prepared.other, first.signer]);
  expect(active.keyPem).not.toBe(first.keyPem);
  expect([folder.mode("ca.pem"), folder.mode("ca-key.pem"), folder.keys()]).toEqual(["644", "600", 2]);
  const back = await activateRoot(data);
  expect(back.signer, "a step that turned out wrong is taken back").toEqual(first.signer);
  await activateRoot(data);
  const retired = await retireRoot(data);
  expect([retired.signer, retired.other, retired.keyPem]).toEqual([active.signer, undefined, active.keyPem]);
  expect([folder.mode("ca.pem"), folder.mode("ca-key.pem"), folder.keys()]).toEqual(["644", "600", 1]);
});

test("a crash between the two files of a step leaves what was before, or what comes after", async () => {
  using folder = dataFolder();
  const { data, path } = folder;
  const first = await openRoots(data, make);
  const [cert, key] = ["ca.pem", "ca-key.pem"].map((name) => [path(name), readFileSync(path(name))] as const);
  if (!cert || !key) throw new Error("no files");
  await prepareRoot(data, make);
  writeFileSync(...cert);
  expect(await readRoots(data), "the key of one that nobody has seen").toEqual(first);
  expect((await prepareRoot(data, make)).signer).toEqual(first.signer);
  expect(folder.keys()).toBe(2);
  const active = await activateRoot(data);
  const both = readFileSync(path("ca-key.pem"));
  await retireRoot(data);
  writeFileSync(path("ca-key.pem"), both);
  expect((await readRoots(data)).signer, "a key that should be gone").toEqual(active.signer);
  expect((await prepareRoot(data, make)).signer).toEqual(active.signer);
  expect(folder.keys()).toBe(2);
});

test("a step whose second file cannot be written changes nobody's trust, and loses no key", async () => {
  using folder = dataFolder();
  const { data, path, keys } = folder;
  const first = await openRoots(data, make);
  // What is written for a while is in the way.
  mkdirSync(path("ca-key.pem.new"));
  await expect(prepareRoot(data, make)).rejects.toThrow(/EISDIR/);
  expect(await readRoots(data), "no authority is trusted whose key is nowhere").toEqual(first);
  rmdirSync(path("ca-key.pem.new"));
  const prepared = await prepareRoot(data, make);
  mkdirSync(path("ca.pem.new"));
  await expect(retireRoot(data)).rejects.toThrow(/EISDIR/);
  expect([await readRoots(data), keys()], "it may still be activated").toEqual([prepared, 2]);
});

test("a server that has the certificate but not the key cannot have it sign", async () => {
  using here = dataFolder();
  using there = dataFolder();
  await openRoots(here.data, make);
  for (const name of ["ca.pem", "ca-key.pem"]) writeFileSync(there.path(name), readFileSync(here.path(name)));
  await prepareRoot(here.data, make);
  writeFileSync(there.path("ca.pem"), readFileSync(here.path("ca.pem")));
  await expect(activateRoot(there.data)).rejects.toThrow(/lacks the key of/);
  writeFileSync(there.path("ca-key.pem"), readFileSync(here.path("ca-key.pem")));
  expect((await activateRoot(there.data)).signer).toEqual((await activateRoot(here.data)).signer);
});

test("an open authority takes in what becomes of its folder, and keeps what it has if that cannot be used", async () => {
  using folder = dataFolder();
  const authority = await openAuthority(folder.data, { now: Date.now });
  const [first] = authority.trusted;
  const served = await authority.issueServer(["localhost"]);
  await prepareRoot(folder.data, make);
  expect(authority.trusted).toEqual([first]);
  await authority.reload();
  expect(authority.trusted).toEqual([first, expect.any(String)]);
  expect(await authority.issueServer(["localhost"]), "nothing is of the second one yet").toEqual(served);
  await activateRoot(folder.data);
  await authority.reload();
  expect(authority.trusted[1]).toBe(first);
  expect(authority.caPem).toBe(readFileSync(folder.path("ca.pem"), "utf8"));
  expect((await authority.issueServer(["localhost"])).cert).not.toBe(served.cert);
  const { trusted, caPem } = authority;
  for (const broken of [
    "",
    "rubbish",
    caPem.repeat(2),
    `${caPem.slice(0, caPem.indexOf("-----END"))}-----END CERTIFICATE-----\n${served.cert}`,
    served.cert,
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
  ]) {
    writeFileSync(folder.path("ca.pem"), broken);
    await expect(authority.reload()).rejects.toThrow();
    expect([authority.trusted, authority.caPem]).toEqual([trusted, caPem]);
  }
});

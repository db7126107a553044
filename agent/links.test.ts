import { lstat, mkdir, mkdtempDisposable, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { placeLinks, tendLinks } from "./links.ts";

const temporary = () => mkdtempDisposable(join(tmpdir(), "rollcall-links-"));

test("places all links once, dangling if need be", async () => {
  await using folder = await temporary();
  expect(await placeLinks(folder.path, "/srv/rollcall")).toHaveLength(10);
  expect(await readlink(join(folder.path, "passwd.cache"))).toBe("/srv/rollcall/nss/passwd.cache");
  expect(await readlink(join(folder.path, "ssh/authorized_keys.d"))).toBe("/srv/rollcall/ssh/authorized_keys.d");
  expect(await readlink(join(folder.path, "sudoers.d/rollcall"))).toBe("/srv/rollcall/sudo/rollcall");
  expect(await placeLinks(folder.path, "/srv/rollcall")).toEqual([]);
});

test("A7: what somebody else made is named, and nothing is placed", async () => {
  await using folder = await temporary();
  await writeFile(join(folder.path, "shadow.cache"), "theirs");
  await expect(placeLinks(folder.path, "/srv")).rejects.toThrow(/shadow.cache is in the way: it is a file/);
  expect(await readdir(folder.path)).toEqual(["shadow.cache"]);
});

test("A7: nor is a link to elsewhere followed or replaced, nor a folder", async () => {
  await using folder = await temporary();
  await symlink("/elsewhere", join(folder.path, "group.cache"));
  await expect(placeLinks(folder.path, "/srv")).rejects.toThrow("group.cache is in the way: /elsewhere");
  expect((await lstat(join(folder.path, "group.cache"))).isSymbolicLink()).toBe(true);
  await using other = await temporary();
  await mkdir(join(other.path, "ssh/authorized_keys.d"), { recursive: true });
  await expect(placeLinks(other.path, "/srv")).rejects.toThrow("it is a folder");
});

test("tending places what is missing, names what is in the way, and touches nothing else", async () => {
  await using folder = await temporary();
  await placeLinks(folder.path, "/srv/rollcall");
  await rm(join(folder.path, "passwd.cache"));
  await rm(join(folder.path, "sudoers.d"), { recursive: true });
  await rm(join(folder.path, "shadow.cache"));
  await writeFile(join(folder.path, "shadow.cache"), "theirs");
  const inTheWay = [`${join(folder.path, "shadow.cache")} is in the way: it is a file that Rollcall did not make`];
  expect(await tendLinks(folder.path, "/srv/rollcall")).toEqual({
    placed: [join(folder.path, "passwd.cache"), join(folder.path, "sudoers.d/rollcall")],
    inTheWay,
  });
  expect(await readlink(join(folder.path, "passwd.cache"))).toBe("/srv/rollcall/nss/passwd.cache");
  expect(await readFile(join(folder.path, "shadow.cache"), "utf8")).toBe("theirs");
  expect(await tendLinks(folder.path, "/srv/rollcall")).toEqual({ placed: [], inTheWay });
});

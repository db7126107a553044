import { chmod, chown, mkdir, mkdtempDisposable, readdir, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { errnoOf, realDisk } from "./disk.ts";

const temporary = () => mkdtempDisposable(join(tmpdir(), "rollcall-disk-"));

test("creates with its final mode, replaces a leftover, appends, cuts, renames, removes", async () => {
  await using folder = await temporary();
  const path = join(folder.path, "file");
  await writeFile(path, "left over");
  await realDisk.create(path, Buffer.from("abc"), { mode: 0o640, gid: process.getgid?.() ?? 0 });
  await realDisk.append(path, Buffer.from("def"));
  await realDisk.cut(path, 5);
  await realDisk.rename(path, `${path}2`);
  await realDisk.sync(folder.path);
  expect(await realDisk.read(`${path}2`)).toMatchObject({ bytes: Buffer.from("abcde"), mode: 0o640 });
  await realDisk.remove(`${path}2`);
  await realDisk.remove(`${path}2`);
  expect(await readdir(folder.path)).toEqual([]);
});

test("knows whether a file is just these bytes", async () => {
  await using folder = await temporary();
  const path = join(folder.path, "file");
  const bytes = Buffer.alloc(1_200_000, "abc");
  await realDisk.create(path, bytes, { mode: 0o600 });
  expect(await realDisk.holds(path, bytes)).toBe(true);
  for (const at of [0, 600_000, bytes.length - 1]) {
    const other = Buffer.from(bytes);
    other[at] = 0;
    expect(await realDisk.holds(path, other), `byte ${at}`).toBe(false);
  }
  expect(await realDisk.holds(path, bytes.subarray(1))).toBe(false);
  expect(await realDisk.holds(path, Buffer.concat([bytes, bytes]))).toBe(false);
  expect(await realDisk.holds(join(folder.path, "none"), bytes)).toBe(false);
  await symlink(path, join(folder.path, "link"));
  expect(await realDisk.holds(join(folder.path, "link"), bytes)).toBe(false);
});

test("touches a file, and nothing through a link", async () => {
  await using folder = await temporary();
  const path = join(folder.path, "file");
  await writeFile(path, "as it is");
  await utimes(path, 1, 1);
  await symlink(path, join(folder.path, "link"));
  await realDisk.touch(join(folder.path, "link"));
  expect((await realDisk.read(path))?.mtime).toBe(1);
  await realDisk.touch(path);
  expect((await realDisk.read(path))?.mtime).toBeGreaterThan(1_700_000_000);
  await realDisk.touch(join(folder.path, "none"));
});

test("makes folders with their parents, and mends a mode", async () => {
  await using folder = await temporary();
  const path = join(folder.path, "a/b");
  await realDisk.folder(path, 0o700);
  await chmod(path, 0o777);
  await realDisk.folder(path, 0o700);
  expect((await stat(path)).mode & 0o777).toBe(0o700);
  expect((await stat(join(folder.path, "a"))).mode & 0o777).toBe(0o755);
});

test("reads no symlink, and lists no folder", async () => {
  await using folder = await temporary();
  await symlink("/etc/hostname", join(folder.path, "link"));
  await mkdir(join(folder.path, "folder"));
  expect(await realDisk.read(join(folder.path, "link"))).toBeUndefined();
  expect(await realDisk.read(join(folder.path, "none"))).toBeUndefined();
  expect(await realDisk.read(join(folder.path, "folder"))).toBeUndefined();
  expect(await realDisk.list(folder.path)).toEqual(["link"]);
  expect(await realDisk.list(join(folder.path, "none"))).toEqual([]);
});

test("errors say what was done, to which file, and why", async () => {
  await using folder = await temporary();
  const error: unknown = await realDisk
    .rename(join(folder.path, "none"), join(folder.path, "x"))
    .catch((e: unknown) => e);
  expect(String(error)).toBe(`Error: replace ${folder.path}/x: ENOENT`);
  expect(errnoOf(error)).toBe("ENOENT");
});

test("names an errno that libuv has no name for", () => {
  const overQuota = Object.assign(new Error("write"), { code: "Unknown system error -122", errno: -122 });
  expect(errnoOf(new Error("stage", { cause: overQuota }))).toBe("EDQUOT");
});

test("a stamp tells a change of content, times, mode and owner; a folder's only of mode and owner", async () => {
  await using folder = await temporary();
  await mkdir(join(folder.path, "a/b"), { recursive: true });
  const file = join(folder.path, "a/b/c");
  await writeFile(file, "one");
  await symlink("/etc", join(folder.path, "a/link"));
  expect((await realDisk.tree(folder.path)).sort()).toEqual(["a/", "a/b/", "a/b/c", "a/link"]);
  expect(await realDisk.tree(join(folder.path, "none"))).toEqual([]);
  const inside = join(folder.path, "a/b/");
  const look = () => realDisk.stamps([file, inside, join(folder.path, "none")]);
  const [first, holding, none] = await look();
  expect(none).toBeUndefined();
  expect(await look()).toEqual([first, holding, undefined]);
  await writeFile(file, "two");
  const [second] = await look();
  expect(second).not.toBe(first);
  await utimes(file, 1, 1);
  await chmod(file, 0o600);
  expect((await look())[0]).not.toBe(second);
  expect((await look())[1]).toBe(holding);
  await chmod(inside, 0o777);
  expect((await look())[1]).not.toBe(holding);
  const many = Array.from({ length: 1000 }, () => file);
  expect(new Set(await realDisk.stamps(many)).size).toBe(1);
});

test("takes a folder back that was given away", async () => {
  if (process.geteuid?.() !== 0) return;
  await using folder = await temporary();
  const path = join(folder.path, "a");
  await realDisk.folder(path, 0o755);
  await chown(path, 12_345, 12_345);
  await realDisk.folder(path, 0o755);
  expect(await stat(path)).toMatchObject({ uid: 0 });
});

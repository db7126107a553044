import { createHash } from "node:crypto";
import { chmod, chown, mkdtempDisposable, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { unstated } from "./policy.ts";
import { parsePolicy, readPolicy } from "./read.ts";

const whole = `
uids: [200000-524287]
gids: [70000-99999, 100000-110000]
reserved_users: [installer]
reserved_groups: [wheelers]
shells: [/bin/bash, /bin/sh]
sudo:
  ops: ALL
  helpers: [/usr/bin/id, /bin/echo one]
shrink: {people: 20, share: 0.3}
sessions: leave
homes: {skeleton: /etc/skel-hpc, mode: "0711", below: [/home, /srv/homes], mounted: [/home]}
slurm: {enabled: false, adopt: true, admin_level: operator, every: 300}
stale_after: 30m
stale: {after: 24h, withdraw: sudo}
`;

test("everything that may be stated", () => {
  expect(parsePolicy(whole)).toEqual({
    uids: [{ first: 200_000, last: 524_287 }],
    gids: [
      { first: 70_000, last: 99_999 },
      { first: 100_000, last: 110_000 },
    ],
    reservedUsers: new Set(["installer"]),
    reservedGroups: new Set(["wheelers"]),
    shells: new Set(["/bin/bash", "/bin/sh"]),
    sudo: new Map<string, unknown>([
      ["ops", "ALL"],
      ["helpers", ["/bin/echo one", "/usr/bin/id"]],
    ]),
    shrink: { people: 20, share: 0.3 },
    sessions: "leave",
    homes: { skeleton: "/etc/skel-hpc", mode: 0o711, below: ["/home", "/srv/homes"], mounted: ["/home"] },
    slurm: { enabled: false, adopt: true, adminLevel: "operator", every: 300 },
    staleAfter: 1_800_000,
    withdrawSudoAfter: 86_400_000,
    sum: undefined,
  });
  expect(parsePolicy("homes: {below: [/home]}").homes).toEqual({
    skeleton: "/etc/skel",
    mode: 0o700,
    below: ["/home"],
    mounted: [],
  });
  expect(parsePolicy("")).toEqual(unstated);
  expect(parsePolicy("sudo: {}").sudo).toEqual(new Map());
});

test.each([
  ["uid: [1-2]", 'the policy has no field "uid"'],
  ["uids: 200000-524287", "uids must be a list"],
  ["uids: []", "uids must hold a range"],
  ["uids: [200000]", "must be text"],
  ["uids: [0-524287]", "belongs to the system"],
  ["gids: [27-27]", "belongs to the system"],
  ["uids: [300000-200000]", "ends before it begins"],
  ["uids: null", "uids must be a list"],
  ["reserved_users: [no way]", "no name that anybody could have"],
  ["shells: [/tmp/sh]", "must be a program"],
  ["sudo: ALL", "sudo must be a mapping"],
  ["sudo: {root: ALL}", "is reserved for the system"],
  ["sudo: {ops: [id]}", "absolute path"],
  ["sudo: {ops: }", "commands must be ALL"],
  ["shrink: {people: 3}", 'share "undefined"'],
  ["slurm: {admin_level: root}", "admin level"],
  ["slurm: {adopt: yes please}", "true or false"],
  ["slurm: {every: 1}", "from 5"],
  ["slurm: {cluster: hpc}", 'no field "cluster"'],
  ["shrink: {people: -1, share: 0.5}", "people"],
  ["shrink: {people: 1, share: 50}", "from 0 to 1"],
  ["shrink: {people: 1, share: 0.5, more: 1}", 'no field "more"'],
  ["sessions: kill", 'sessions "kill" must be end or leave'],
  ["homes: {}", "below must name a folder"],
  ["homes: {below: []}", "below must name a folder"],
  ["homes: {below: [home]}", 'below: "home" must be an absolute path'],
  ["homes: {below: [/home/]}", "must be an absolute path"],
  ["homes: {below: [/home/../etc]}", "must be an absolute path"],
  ["homes: {below: [/home], mode: 700}", "must be text"],
  ['homes: {below: [/home], mode: "0770"}', "nobody else to write"],
  ['homes: {below: [/home], mode: "0500"}', "must be text"],
  ["homes: {below: [/home], skeleton: skel}", 'skeleton: "skel" must be an absolute path'],
  ["homes: {below: [/home], skel: /etc/skel}", 'homes has no field "skel"'],
  ["sessions: true", "must be end or leave"],
  ["stale_after: 3600", "such as 90s"],
  ["stale_after: 1w", "such as 90s"],
  ["stale_after: 30s", "shorter than a minute"],
  ["stale: {after: 24h}", "withdraw"],
  ["stale: {after: 24h, withdraw: keys}", "nothing else ever is"],
  ["stale: {withdraw: sudo}", "such as 90s"],
  ["stale: 24h", "must be a mapping"],
  ["uids: [200000-300000]\nuids: [1000-2000]", "unique"],
  ["uids: &a [200000-300000]\ngids: *a", "anchors"],
  ["uids: !!js/function x", "tag"],
  ["- 1", "must be a mapping"],
  ["uids: [", ""],
  ["--- \nuids: [200000-300000]\n---\n{}", "documents"],
])("%j is refused", (text, why) => {
  expect(() => parsePolicy(text)).toThrow(why);
});

describe("the file", () => {
  const temporary = () => mkdtempDisposable(join(tmpdir(), "rollcall-policy-"));

  test("may be missing", async () => {
    await using folder = await temporary();
    expect(await readPolicy(join(folder.path, "policy.yaml"))).toBeUndefined();
    expect(await readPolicy(join(folder.path, "rollcall/policy.yaml"))).toBeUndefined();
  });

  test.each<[string, (file: string, folder: string) => Promise<void>]>([
    ["written by its group", (file) => chmod(file, 0o664)],
    ["written by all", (file) => chmod(file, 0o646)],
    ["written by others than root", (_, folder) => chmod(folder, 0o777)],
    ["may be written", (_, folder) => chmod(folder, 0o775)],
  ])("is refused if it may be %s", async (_, spoil) => {
    await using folder = await temporary();
    const file = join(folder.path, "policy.yaml");
    await writeFile(file, whole);
    expect(await readPolicy(file)).toMatchObject({ sum: createHash("sha256").update(whole).digest("hex") });
    await spoil(file, folder.path);
    await expect(readPolicy(file)).rejects.toThrow(/policy .*policy.yaml: .* may be written by others than root/);
  });

  test("is refused as a symlink, a pipe's kin, somebody's, or too long", async () => {
    await using folder = await temporary();
    const file = join(folder.path, "policy.yaml");
    await symlink("/etc/hostname", file);
    await expect(readPolicy(file)).rejects.toThrow("it is a symlink");
    await expect(readPolicy(folder.path)).rejects.toThrow("not a regular file");
    const long = join(folder.path, "long");
    await writeFile(long, "#".repeat(70_000));
    await expect(readPolicy(long)).rejects.toThrow("longer than");
    if (process.geteuid?.() !== 0) return;
    await chown(long, 12_345, 0);
    await expect(readPolicy(long)).rejects.toThrow("belongs to uid 12345");
  });
});

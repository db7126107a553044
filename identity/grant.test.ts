/** Grants are read strictly: what sudo or Slurm could take for more than it says is refused. */

import { describe, expect, test } from "vitest";
import { hostileInputs } from "../test/hostile.ts";
import { parseGrant } from "./grant.ts";
import { parseAccountName, parseLimits, parseLimitsLine, printLimits } from "./slurm.ts";
import { parseSudoCommands } from "./sudo.ts";

describe("commands of sudo", () => {
  test.each([
    ["/usr/bin/systemctl restart slurmd.service"],
    ["/usr/bin/id"],
    ["/opt/vendor-1.2/bin/gpu_reset -i 0 --force"],
    ["/sbin/g++"],
  ])("%s is one", (command) => {
    expect(parseSudoCommands([command])).toEqual([command]);
  });

  test.each([
    "",
    "id",
    "./id",
    "/",
    "/usr/bin/",
    "/usr//bin/id",
    "/usr/bin/../../bin/sh",
    "/usr/bin/cat /var/log/../../etc/shadow",
    "/usr/bin/vi *",
    "/usr/bin/*",
    "/usr/bin/id,/bin/sh",
    "/usr/bin/id, !/bin/sh",
    "/usr/bin/id:x",
    "/usr/bin/a=b",
    "/usr/bin/id \\",
    '/usr/bin/id ""',
    "/usr/bin/id\n%all ALL=(ALL) NOPASSWD: ALL",
    "/usr/bin/id #",
    "/usr/bin/id  x",
    " /usr/bin/id",
    "/usr/bin/id ",
    "!/bin/sh",
    "sudoedit /etc/motd",
    "/usr/bin/x sudoedit",
    "/usr/bin/ALL ALL",
    "NOPASSWD: /bin/sh",
    "/bin/\u202esh",
    `/${"a".repeat(300)}`,
  ])("%j is none", (command) => {
    expect(() => parseSudoCommands([command])).toThrow(/the command ".*" must/);
  });

  test("they are sorted, each once; ALL stands alone", () => {
    expect(parseSudoCommands(["/b/b", "/a/a", "/b/b"])).toEqual(["/a/a", "/b/b"]);
    expect(parseSudoCommands("ALL")).toBe("ALL");
    expect(() => parseSudoCommands(["ALL", "/a/a"])).toThrow();
    expect(() => parseSudoCommands([])).toThrow(/1 to 64/);
    expect(() => parseSudoCommands(Array.from({ length: 65 }, (_, i) => `/bin/c${i}`))).toThrow(/1 to 64/);
  });
});

describe("Slurm accounts", () => {
  test.each(hostileInputs("slurm.name", "reject"))("%s", (_, value) => {
    expect(() => parseAccountName(value)).toThrow(/account/);
  });

  test.each(["physics", "ml-2", "a_b", "7x"])("%s is a name", (name) => {
    expect(parseAccountName(name)).toBe(name);
  });

  test.each(["root", "Physics", "123", "-a", "a".repeat(41), "a,b", "a b"])("%j is none", (name) => {
    expect(() => parseAccountName(name)).toThrow(/account/);
  });

  test.each<Record<string, string>>([
    { fairshare: "100" },
    { grptres: "cpu=4,gres/gpu:a100=2,mem=10G" },
    { maxwalldurationperjob: "1-12:00:00" },
    { maxwalldurationperjob: "60" },
    { qos: "normal,high", defaultqos: "normal" },
  ])("%j are limits", (limits) => {
    expect(parseLimits(limits)).toEqual(limits);
    expect(parseLimitsLine(printLimits(parseLimits(limits)))).toEqual(limits);
  });

  test.each<Record<string, string>>([
    { maxjobs: "-1" },
    { maxjobs: "01" },
    { maxjobs: "1 where user=root" },
    { MaxJobs: "1" },
    { grptres: "cpu=4,cpu=4" },
    { grptres: "cpu=4 account=root" },
    { adminlevel: "Administrator" },
    { constructor: "1" },
    { qos: "" },
    { grpwall: "1:99" },
  ])("%j are none", (limits) => {
    expect(() => parseLimits(limits)).toThrow(/the limit/);
  });
});

const anAccount = { kind: "account", account: "physics", isDefault: false, adminLevel: "none", limits: {} };

describe("grants", () => {
  test.each<unknown>([
    undefined,
    "login",
    { kind: "root" },
    { kind: "__proto__" },
    { kind: "login", commands: "ALL" },
    { kind: "sudo", commands: "ALL" },
    { kind: "sudo", password: "no", commands: "ALL" },
    { kind: "account", account: "physics", parent: "root", isDefault: false, adminLevel: "none", limits: {} },
    {
      kind: "account",
      account: "physics",
      parent: undefined,
      isDefault: false,
      adminLevel: "Administrator",
      limits: {},
    },
    { ...anAccount, jobs: "kill" },
    { ...anAccount, description: "a'b" },
    { ...anAccount, description: " a" },
    { ...anAccount, accountLimits: { maxjobs: "-1" } },
  ])("%j is none", (grant) => {
    expect(() => parseGrant(grant)).toThrow();
  });

  test("what an account's grant leaves out", () => {
    expect(parseGrant(anAccount)).toMatchObject({ jobs: "cancel", description: "", accountLimits: {} });
  });
});

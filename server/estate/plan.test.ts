/** Who of an estate is who, and what stands against it: one number has one subject, and no rule of an operator is lost. */

import { describe, expect, test } from "vitest";
import { parseGrant, type Rule } from "../../identity/grant.ts";
import { ed25519Line } from "../../identity/testing.ts";
import type { Account, Team } from "./estate.ts";
import { parseMapping } from "./mapping.ts";
import { type DirectoryGroup, match, type Person } from "./match.ts";
import { plan, type Standing } from "./plan.ts";
import { parseSacctmgrDump } from "./sacctmgr.ts";
import { planSlurm } from "./slurm-plan.ts";

const noMapping = parseMapping("map", "");
const nobody: Standing = {
  numbers: new Map(),
  names: new Map(),
  released: new Set(),
  gids: new Set(),
  primaries: new Map(),
  keys: new Set(),
  shells: ["/bin/bash"],
};

function account(name: string, uid: number, more: Partial<Account> = {}): Account {
  const rest = { gecos: "", home: `/home/${name}`, shell: "/bin/bash", mails: [], keys: [] };
  return { file: "passwd", line: uid - 5000, name, uid, gid: uid, ...rest, ...more };
}

function team(name: string, gid: number, ...members: string[]): Team {
  return { file: "group", line: gid - 6000, name, gid, members };
}

function person(name: string, more: Partial<Person> = {}): Person {
  const rest = { uid: 200_000, gid: undefined, home: undefined, shell: undefined, mail: undefined };
  return { id: `id-${name}`, userName: `${name}@example.org`, name, ...rest, ...more };
}

function group(displayName: string, name: string, gid = 70_000): DirectoryGroup {
  return { id: `id-${name}`, displayName, name, gid };
}

function problemsOf(
  { accounts = [], teams = [] }: { accounts?: Account[]; teams?: Team[] },
  people: Person[] = [],
  groups: DirectoryGroup[] = [],
  standing: Partial<Standing> = {},
  create = false,
): string[] {
  const gids = new Set(groups.map(({ gid }) => gid));
  const matches = match({ accounts, teams }, noMapping, people, groups);
  return plan(matches, { ...nobody, gids, ...standing }, create).problems.map(
    ({ file, line, field, rule }) => `${file}:${line} ${field}: ${rule}`,
  );
}

describe("groups of the directory", () => {
  test("are found by POSIX name before display name", () => {
    const [byName, other] = [group("Physics dept", "physics"), group("Physics", "physics2", 70_001)];
    const { groups, problems } = match(
      { accounts: [], teams: [team("physics", 6001)] },
      noMapping,
      [],
      [byName, other],
    );
    expect(groups.map(([, found]) => found)).toEqual([byName]);
    expect(problems).toEqual([]);
  });

  test("have one line: two names of one group are a problem, whichever comes first", () => {
    const lines = [team("physics", 6001), team("physics_lab", 6002)];
    for (const teams of [lines, lines.toReversed()]) {
      expect(problemsOf({ teams }, [], [group("Physics_Lab", "physics")])).toEqual([
        expect.stringMatching(/^group:[12] name: the group Physics_Lab is matched by group:[12] already/),
      ]);
    }
  });
});

describe("a primary group", () => {
  const moving = group("lab", "lab", 6009);

  test("is not the number that the import takes from a group", () => {
    const estate = { accounts: [account("ada", 5001, { gid: 6009 })], teams: [team("lab", 6001)] };
    expect(problemsOf(estate, [], [moving])).toEqual([expect.stringContaining("passwd:1 gid: ")]);
    expect(problemsOf({ ...estate, accounts: [account("ada", 5001, { gid: 6001 })] }, [], [moving])).toEqual([]);
  });

  test("takes along who has it, or stays", () => {
    const ada = person("ada", { gid: 6009 });
    const standing = { primaries: new Map([[6009, [ada]]]) };
    const teams = [team("lab", 6001)];
    expect(problemsOf({ teams }, [ada], [moving], standing)).toEqual([
      "group:1 gid: 6009 is the primary group of 1 whom the files do not have: give their accounts too",
    ]);
    expect(problemsOf({ accounts: [account("ada", 5001, { gid: 6001 })], teams }, [ada], [moving], standing)).toEqual(
      [],
    );
  });
});

test("a second name of root is a problem, root itself and system accounts are not", () => {
  const system = (name: string, uid: number): Account => account(name, uid, { line: 1 });
  expect(problemsOf({ accounts: [system("root", 0), system("daemon", 1)] })).toEqual([]);
  expect(problemsOf({ accounts: [system("toor", 0)] })).toEqual([
    expect.stringContaining("passwd:1 uid: uid 0 is root's"),
  ]);
});

test("a key signs in one person: not two accounts, nor somebody of the directory", () => {
  const keys = [ed25519Line("one")];
  const accounts = [account("ada", 5001, { keys }), account("bob", 5002, { keys })];
  const told = problemsOf({ accounts }, [], [], {}, true);
  expect(told).toEqual([
    expect.stringMatching(/^passwd:2 sshPublicKey: the key SHA256:\S+ signs in one person, and passwd:1 /),
  ]);
  expect(told.join()).not.toContain("AAAA");
  const { people } = plan(match({ accounts: accounts.slice(0, 1), teams: [] }, noMapping, [], []), nobody, true);
  const taken = new Set(people.flatMap((each) => each.keys).map(({ sha256 }) => sha256));
  expect(problemsOf({ accounts: accounts.slice(0, 1) }, [], [], { keys: taken }, true)).toEqual([
    expect.stringContaining("it is a directory user's"),
  ]);
  // Nobody is created, and no key is taken over.
  expect(problemsOf({ accounts }, [], [], { keys: taken })).toEqual([]);
});

describe("a Slurm dump", () => {
  const dump = (...lines: string[]) => parseSacctmgrDump("dump", lines.map((line) => `${line}\n`).join(""));
  const groups = new Map([
    ["physics", "Physics"],
    ["optics", "Optics"],
  ]);
  const rule = (name: string, account: string, parent?: string): Rule => ({
    group: name,
    grant: parseGrant({ kind: "account", account, parent, isDefault: true, adminLevel: "operator", limits: {} }),
  });
  const tree = dump("Parent - 'root'", "Account - 'physics'", "Parent - 'physics'", "Account - 'optics'");

  test("gives a rule to each group of an account's name", () => {
    expect(planSlurm(tree, new Set(), groups, [])).toMatchObject({
      rules: [
        { group: "Physics", grant: { account: "physics", parent: undefined, adminLevel: "none" } },
        { group: "Optics", grant: { account: "optics", parent: "physics" } },
      ],
      problems: [],
    });
  });

  test("leaves the operator's rule as it is", () => {
    expect(planSlurm(tree, new Set(), groups, [rule("physics", "physics", "science")])).toMatchObject({
      rules: [{ group: "Optics" }],
      kept: ["physics"],
      problems: [],
    });
  });

  test.each([
    ["another parent by another group's rule", tree, [rule("else", "optics", "science")], /below science/],
    ["a circle with what is there", tree, [rule("else", "physics", "optics")], /below optics|below itself/],
    [
      "the same account twice",
      dump("Parent - 'root'", "Account - 'physics'", "Parent - 'physics'", "Account - 'physics'"),
      [],
      /dump:2 has the same account/,
    ],
  ])("%s is a problem", (_, what, present, why) => {
    const { problems } = planSlurm(what, new Set(), groups, present);
    expect(problems).not.toEqual([]);
    for (const { field, rule: told } of problems)
      expect([field, told]).toEqual(["account", expect.stringMatching(why)]);
  });
});

test("the work grows with the estate, not with its square", () => {
  // 20 ms of work apart; as it was, with each group asked of each account, the larger took minutes.
  const accounts = Array.from({ length: 100_000 }, (_, i) => account(`u${i}`, 200_000 + i, { line: i }));
  const teams = accounts.map(({ name, uid }) => team(name, uid));
  const { people, problems, system } = plan(match({ accounts, teams }, noMapping, [], []), nobody, true);
  expect([people.length, problems, system]).toEqual([100_000, [], 0]);
}, 20_000);

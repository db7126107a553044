import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { commit, emptyCopy } from "../../identity/copy.ts";
import { printSshKey } from "../../identity/ssh-key.ts";
import { Gate } from "../policy/gate.ts";
import { firstStep, key, member, person, stepTo, team } from "../sample.ts";
import { type Ask, fingerprintsIn, parseGroups, parsePeople, presentOf } from "./answers.ts";
import { Comparer, type Comparison, mostDifferences } from "./comparer.ts";
import { type Difference, differencesOf } from "./differences.ts";
import { expectedOf } from "./expected.ts";

const content = [person(1), person(2), team(1), member(1, 1), key(1, 0), key(2, 1)];

function copyOf(resources = content) {
  const copy = emptyCopy();
  commit(copy, firstStep(resources));
  return copy;
}

/** A getent over some lines; one that does not list whom it knows answers only by name or number. */
function getentOf(passwd: readonly string[], group: readonly string[], lists = true): Ask & { asked: string[][] } {
  const asked: string[][] = [];
  const ask: Ask = async (database, keys) => {
    asked.push([database, ...keys]);
    const lines = database === "passwd" ? passwd : group;
    if (keys.length === 0) return lists ? lines.join("\n") : "";
    const isAsked = (line: string) =>
      keys.includes(line.split(":")[0] ?? "") || keys.includes(line.split(":")[2] ?? "");
    return lines.filter(isAsked).join("\n");
  };
  return Object.assign(ask, { asked });
}

const same = {
  passwd: [
    "root:x:0:0:root:/root:/bin/bash",
    "user1:x:200001:200001:Person 1:/home/user1:/bin/bash",
    "user2:*:200002:200002:Person 2:/home/user2:/bin/bash",
    "nobody:x:65534:65534::/:/bin/false",
  ],
  group: ["root:x:0:", "team1:x:70001:user1", "user1:x:200001:", "user2:x:200002:"],
};

interface Node {
  readonly passwd?: readonly string[];
  readonly group?: readonly string[];
  readonly lists?: boolean;
  /** Files of its /etc. */
  readonly files?: Readonly<Record<string, string>>;
}

async function compared({ passwd = same.passwd, group = same.group, lists = true, files = {} }: Node) {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-compare-"));
  await mkdir(join(folder.path, "ssh"));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder.path, name, ".."), { recursive: true });
    await writeFile(join(folder.path, name), text);
  }
  const expected = await expectedOf(copyOf());
  return differencesOf(expected, await presentOf(folder.path, expected, getentOf(passwd, group, lists)));
}

const without = (lines: readonly string[], name: string) => lines.filter((line) => !line.startsWith(`${name}:`));

test("what the sinks would serve is what is expected", async () => {
  const { people, groups, keys } = await expectedOf(copyOf());
  expect([...people.values()]).toEqual([...parsePeople(same.passwd.slice(1, 3).join("\n")).values()]);
  expect([...groups.keys()].sort()).toEqual(["team1", "user1", "user2"]);
  expect(groups.get("team1")).toMatchObject({ gid: "70001", members: new Set(["user1"]) });
  expect([...keys.keys()]).toEqual(["user1", "user2"]);
});

test("a node that answers the same differs in nothing, whether its source lists whom it knows or not", async () => {
  const counts = { users: 2, usersDiffering: 0, groups: 3, groupsDiffering: 0, keys: 0, keysDiffering: 0 };
  for (const lists of [true, false]) expect(await compared({ lists })).toEqual({ ...counts, differences: [] });
});

describe("a difference", () => {
  const other = "user1:x:200001:100:P:/data/user1:/bin/zsh";
  test.each<[string, Node, Difference[]]>([
    [
      "of every field",
      { passwd: [...without(same.passwd, "user1"), other] },
      [
        { kind: "user", name: "user1", field: "gid", here: "100", there: "200001" },
        { kind: "user", name: "user1", field: "gecos", here: "P", there: "Person 1" },
        { kind: "user", name: "user1", field: "home", here: "/data/user1", there: "/home/user1" },
        { kind: "user", name: "user1", field: "shell", here: "/bin/zsh", there: "/bin/bash" },
      ],
    ],
    [
      "of the number, in a source that does not list",
      {
        passwd: [
          ...without(same.passwd, "user1"),
          other
            .replace("200001", "5001")
            .replace(":100:P", ":200001:Person 1")
            .replace("/data", "/home")
            .replace("zsh", "bash"),
        ],
        lists: false,
      },
      [{ kind: "user", name: "user1", field: "uid", here: "5001", there: "200001" }],
    ],
    [
      "who is to come",
      { passwd: without(same.passwd, "user2") },
      [{ kind: "user", name: "user2", field: "entry", here: "", there: "uid 200002" }],
    ],
    [
      "whose number is somebody else's now",
      { passwd: [...without(same.passwd, "user2"), "eve:x:200002:200002::/:/bin/sh"], lists: false },
      [
        { kind: "user", name: "user2", field: "entry", here: "uid 200002 is eve", there: "uid 200002" },
        { kind: "user", name: "eve", field: "entry", here: "uid 200002", there: "" },
      ],
    ],
    [
      "who is to go; not the system's own, nor whom the node's own files name",
      {
        passwd: [...same.passwd, "old:x:7000:7000::/:/bin/sh", "local:x:1001:1001::/:/bin/sh", "sys:x:999:999::/:/x"],
        group: [...same.group, "olds:x:7000:", "locals:x:1001:"],
        files: { passwd: "local:x:1001:1001::/:/bin/sh\n", group: "locals:x:1001:\n" },
      },
      [
        { kind: "user", name: "old", field: "entry", here: "uid 7000", there: "" },
        { kind: "group", name: "olds", field: "entry", here: "gid 7000", there: "" },
      ],
    ],
    [
      "that stays, because the node's own file answers first",
      {
        passwd: [...without(same.passwd, "user2"), "user2:x:1500:200002:Person 2:/home/user2:/bin/bash"],
        files: { passwd: "user2:x:1500:200002:Person 2:/home/user2:/bin/bash\n" },
      },
      [
        {
          kind: "user",
          name: "user2",
          field: "uid",
          here: "1500 (in the node's own passwd, which stays)",
          there: "200002",
        },
      ],
    ],
    [
      "of a group's number and members",
      { group: [...without(same.group, "team1"), "team1:x:5000:user2,eve"] },
      [
        { kind: "group", name: "team1", field: "gid", here: "5000", there: "70001" },
        { kind: "group", name: "team1", field: "members", here: "eve user2", there: "user1" },
      ],
    ],
    ["of a private group that nobody has is none", { group: without(same.group, "user2") }, []],
    [
      "of a private group whose number is another's",
      { group: [...without(same.group, "user2"), "eve:x:200002:"], files: { group: "eve:x:200002:\n" } },
      [{ kind: "group", name: "user2", field: "entry", here: "gid 200002 is eve", there: "gid 200002" }],
    ],
  ])("%s", async (_, node, differences) => {
    expect((await compared(node)).differences).toEqual(differences);
  });

  test("of keys is told by fingerprints, from sshd's folder and from nsscache's file", async () => {
    const [mine, theirs] = [key(1, 0).key, key(1, 5).key];
    const sum = (text: string) => fingerprintsIn(text)[0] ?? "";
    const files = {
      "ssh/authorized_keys.d/user1": `# an old one\nfrom="10.0.0.1" ${printSshKey(mine)}\n${printSshKey(theirs)}\n`,
      "sshkey.cache": `user2:['${printSshKey(key(2, 1).key)}', '${printSshKey(key(2, 7).key)}']\n`,
    };
    const found = await compared({ files });
    expect(found).toMatchObject({ keys: 2, keysDiffering: 2, usersDiffering: 0 });
    expect(found.differences).toEqual([
      { kind: "key", name: "user1", field: "keys", here: sum(printSshKey(theirs)), there: "" },
      { kind: "key", name: "user2", field: "keys", here: sum(printSshKey(key(2, 7).key)), there: "" },
    ]);
    expect(JSON.stringify(found)).not.toContain("AAAA");
  });
});

test("lines of others are read as readers do: the first of a name counts, nonsense is passed over", () => {
  expect([...parsePeople("a:x:1:1:::\na:x:2:2:::\n#b:x:3:3:::\nc\nd:x:y:1:::\n:x:1:1:::\n+::::::\n").keys()]).toEqual([
    "a",
  ]);
  expect([...parseGroups("a:x:1:b,,c\nx:y\n").values()]).toEqual([
    { name: "a", gid: "1", members: new Set(["b", "c"]) },
  ]);
});

test("it compares when something new came and every ten minutes, and tells what could not be compared", async () => {
  let now = 0;
  const told: Comparison[] = [];
  let fails = false;
  const copy = copyOf();
  const comparer = new Comparer({
    replica: {
      copy,
      get at() {
        return copy.at;
      },
    },
    gate: new Gate(),
    present: (expected) =>
      fails ? Promise.reject(new Error("getent passwd failed")) : presentOf("/nowhere", expected, getentOf([], [])),
    clock: {
      boot: "",
      now: () => 5,
      elapsed: () => now,
      uptime: () => now,
      random: () => 0.5,
      sleep: async () => undefined,
    },
    log: pino({ level: "silent" }),
    told: (found) => told.push(found),
  });
  const after = async (ms: number): Promise<number> => {
    now += ms;
    await comparer.turn();
    return told.length;
  };
  expect(await after(0)).toBe(1);
  expect(told[0]).toMatchObject({ at: 5, revision: "1", usersDiffering: 2, fault: "" });
  expect(await after(300_000)).toBe(1);
  commit(copy, stepTo(copy, [...content, person(3)]));
  expect(await after(2_000)).toBe(2);
  expect(told[1]).toMatchObject({ revision: "2", usersDiffering: 3 });
  commit(copy, stepTo(copy, [...content, ...Array.from({ length: 200 }, (_, n) => person(n + 3))]));
  expect(await after(2_000)).toBe(3);
  expect(told[2]).toMatchObject({ usersDiffering: 202 });
  expect(told[2]?.differences, "the first are named").toHaveLength(mostDifferences);
  fails = true;
  expect(await after(700_000)).toBe(4);
  expect(told[3]).toMatchObject({ users: 0, differences: [], fault: "getent passwd failed" });
});

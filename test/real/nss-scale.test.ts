/**
 * A3 in files of some megabytes: 30,000 people, a group of 10,000, which grows in its slot, outgrows it, shrinks and is
 * left by most; people who come, go, and change names. Two neighbouring versions are mixed as a reader may catch them, and glibc
 * with libnss-cache is asked for whoever changed, and for many who did not, by name and by id; and for their groups.
 *
 * nss-pair.test.ts asks each question in a process of its own; here one process asks thousands, and its death would be noticed.
 */

import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { apply } from "../../agent/apply.ts";
import { SimulatedDisk } from "../../agent/simulated-disk.ts";
import { type Copy, prepare } from "../../identity/copy.ts";
import { shift } from "../../identity/digest.ts";
import { keyOf, type Resource, type ResourceKey } from "../../identity/resource.ts";
import { aGroup, aMember, aUser } from "../../identity/testing.ts";
import { openGround, stepTo } from "../fault/ground.ts";
import { type Host, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";

const people = 30_000;
const crowd = 10_000;

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);

/** What happens from one version to the next, and the numbers of the people whom it is about. */
const chapters: readonly { about: string; puts: Resource[]; removals: Resource[]; who: number[] }[] = [
  {
    about: "one joins the large group, one leaves it",
    puts: [aMember(1, 20_000)],
    removals: [aMember(1, 7)],
    who: [7, 20_000],
  },
  {
    about: "one comes, one goes, two change names, one outgrows a slot",
    puts: [
      ...[aUser(people), aMember(1, people), aMember(2, people)],
      ...[aUser(11, { name: "user12" }), aUser(12, { name: "user11" }), aUser(13, { gecos: "x".repeat(120) })],
    ],
    removals: [aUser(29_999), aUser(500), aMember(1, 500), aMember(2, 500)],
    who: [people, 11, 12, 13, 500, 29_999],
  },
  {
    about: "the large group outgrows its slot",
    puts: range(20_001, 24_000).map((n) => aMember(1, n)),
    removals: [],
    who: [20_001, 23_999],
  },
  {
    about: "most leave the group, others take free slots",
    puts: [aUser(people + 1), aGroup(3), ...range(0, 300).map((n) => aMember(3, 25_000 + n))],
    removals: range(1000, 9000).map((n) => aMember(1, n)),
    who: [1000, 8999, people + 1, 25_000],
  },
];

describeHosts("glibc with libnss-cache, among 30,000 people", () => {
  test("finds everybody's own record in files of two versions, and never aborts", async () => {
    const versions = await publish();
    await using lab = await openLab({ name: "scale" });
    await using host = await lab.host("login-1");
    const many = range(0, 800).map((n) => (n * 7919) % people);
    for (const [n, { about, who }] of chapters.entries()) {
      const [before, after] = [versions[n] ?? new Map(), versions[n + 1] ?? new Map()];
      const questions = questionsAbout(before, after, [...who, ...many]);
      for (const [mix, index] of [
        ["old index", before],
        ["new index", after],
      ] as const) {
        const where = `${about}: ${mix}, new data`;
        lay(host, index, after);
        const answers = await ask(
          host,
          questions.map(({ question }) => question),
        );
        expect(await groupsSeen(host, who), where).toEqual(groupsSaid(after, who));
        const wrong = questions.filter(({ right }, at) => !right.has(answers[at] ?? ""));
        expect(
          wrong.map(({ question }, at) => `${question}: ${answers[at]}`.slice(0, 200)),
          where,
        ).toEqual([]);
        expect(answers.length, where).toBe(questions.length);
      }
    }
  });
});

type Version = ReadonlyMap<string, Buffer>;

/** The files of the first version, and of what each chapter makes of it. */
async function publish(): Promise<Version[]> {
  const disk = new SimulatedDisk();
  const { ground } = await openGround("/state", disk);
  const { memory } = ground;
  const base = [aGroup(1), aGroup(2), ...range(0, people).map((n) => aUser(n))];
  const members = [...range(0, crowd).map((n) => aMember(1, n)), ...range(400, 600).map((n) => aMember(2, n))];
  await apply(ground, stepTo(memory.copy, [...base, ...members]));
  const files = (): Version =>
    new Map(names.map((name) => [name, disk.bytes(join(ground.folders.served, "nss", name)) ?? Buffer.alloc(0)]));
  const versions = [files()];
  expectMembers(versions[0] ?? new Map(), memory.copy);
  for (const { puts, removals } of chapters) {
    const { at, resources } = memory.copy;
    const went = [...puts, ...removals].flatMap((resource) => resources.get(keyOf(resource)) ?? []);
    const to = { ...at, revision: at.revision + 1n, digest: shift(at.digest, puts, went) };
    await apply(ground, prepare(memory.copy, { from: at, to, puts, removals: removals.map(keyOf) }));
    const version = files();
    expectMembers(version, memory.copy);
    versions.push(version);
  }
  return versions;
}

/** What glibc finds is compared with the files; here the files are, with what the node holds. */
function expectMembers(version: Version, { resources }: Copy): void {
  const expected = new Map<string, string[]>();
  for (const resource of resources.values()) {
    if (resource.kind === "group") expected.set(String(resource.gid), []);
  }
  for (const resource of resources.values()) {
    const user = resource.kind === "member" ? resources.get(`user/${resource.uid}` as ResourceKey) : undefined;
    if (resource.kind === "member" && user?.kind === "user") expected.get(String(resource.gid))?.push(user.name);
  }
  const { group } = tablesOf(version);
  for (const [gid, names] of expected) {
    const line = group.byId.get(gid) ?? "";
    const found = line.slice(line.lastIndexOf(":") + 1).split(",");
    expect(found, `gid ${gid}`).toEqual(names.sort());
  }
}

const names = ["passwd", "group", "shadow"].flatMap((map) =>
  ["", ".ixname", ...(map === "shadow" ? [] : [map === "group" ? ".ixgid" : ".ixuid"])].map(
    (end) => `${map}.cache${end}`,
  ),
);

/** Puts one version's indexes beside another's data, all of one time. */
function lay(host: Host, index: Version, data: Version): void {
  for (const name of names) {
    const path = join(host.root, "etc", name);
    writeFileSync(path, (name.includes(".ix") ? index : data).get(name) ?? "");
    utimesSync(path, 1_000_000_000, 1_000_000_000);
  }
}

interface Question {
  /** `passwd NAME`, `uid UID`, `group NAME`, `gid GID`. */
  readonly question: string;
  readonly right: ReadonlySet<string>;
}

/** About some people and the groups, by what either version says. */
function questionsAbout(before: Version, after: Version, who: readonly number[]): Question[] {
  const [old, now] = [tablesOf(before), tablesOf(after)];
  const right = (of: (tables: Tables) => string | undefined) => new Set([of(old) ?? "", of(now) ?? ""]);
  const asked = new Set<string>();
  for (const n of who) {
    const id = String(200_000 + n);
    for (const tables of [old, now]) {
      const [name] = tables.passwd.byId.get(id)?.split(":") ?? [`user${n}`];
      for (const question of [`passwd ${name}`, `uid ${id}`, `group ${name}`, `gid ${id}`]) asked.add(question);
    }
  }
  for (const n of [1, 2, 3]) asked.add(`group group${n}`).add(`gid ${70_000 + n}`);
  return [...asked].map((question) => {
    const [kind, key = ""] = question.split(" ");
    if (kind === "passwd") return { question, right: right(({ passwd }) => passwd.byName.get(key)) };
    if (kind === "uid") return { question, right: right(({ passwd }) => passwd.byId.get(key)) };
    if (kind === "group") return { question, right: right(({ group }) => group.byName.get(key)) };
    return { question, right: right(({ group }) => group.byId.get(key)) };
  });
}

interface Tables {
  readonly passwd: Table;
  readonly group: Table;
}

interface Table {
  readonly byName: ReadonlyMap<string, string>;
  readonly byId: ReadonlyMap<string, string>;
}

const known = new WeakMap<Version, Tables>();

function tablesOf(version: Version): Tables {
  const tables = known.get(version) ?? readTables(version);
  known.set(version, tables);
  return tables;
}

function readTables(version: Version): Tables {
  const table = (name: string): Table => {
    const lines = (version.get(name)?.toString() ?? "").split("\n");
    const records = lines.filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("rollcall.end:"));
    const by = (field: number) => new Map(records.map((line) => [line.split(":")[field] ?? "", line]));
    return { byName: by(0), byId: by(2) };
  };
  return { passwd: table("passwd.cache"), group: table("group.cache") };
}

/** By initgroups(3), which reads the data from its start to its end, whatever the index. */
async function groupsSeen(host: Host, who: readonly number[]): Promise<string[]> {
  const script = 'for name; do getent -s cache initgroups "$name" || exit; done';
  const { code, stdout } = await host.run("bash", ["--norc", "-c", script, "bash", ...who.map((n) => `user${n}`)]);
  expect(code).toBe(0);
  return stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => line.replaceAll(/ +/g, " ").trim());
}

function groupsSaid(version: Version, who: readonly number[]): string[] {
  const { group } = tablesOf(version);
  return who.map((n) => {
    const theirs = [...group.byId].filter(([, line]) =>
      line
        .slice(line.lastIndexOf(":") + 1)
        .split(",")
        .includes(`user${n}`),
    );
    return [`user${n}`, ...theirs.map(([gid]) => gid)].join(" ");
  });
}

// Of a passwd record, perl gives root the password of shadow(5): it is left out.
const asking = `
use strict; use warnings;
sub user { my @p = @_; return @p ? join(":", $p[0], "x", @p[2, 3, 6, 7, 8]) : "" }
sub crew { my @g = @_; return @g ? join(":", @g[0 .. 2], join(",", split / /, $g[3])) : "" }
my %ask = (
  passwd => sub { user(getpwnam($_[0])) }, uid => sub { user(getpwuid($_[0])) },
  group => sub { crew(getgrnam($_[0])) }, gid => sub { crew(getgrgid($_[0])) },
);
while (<STDIN>) { my ($kind, $key) = split; print $ask{$kind}->($key), "\n" }
print "all\n";
`;

/** The answers, in order. @throws Error if the process that asked was killed. */
async function ask(host: Host, questions: readonly string[]): Promise<string[]> {
  const input = questions.map((question) => `${question}\n`).join("");
  const { code, stdout, stderr } = await host.run("perl", ["-e", asking], { input, timeout: 60_000 });
  const lines = stdout.split("\n").slice(0, -1);
  if (code !== 0 || lines.pop() !== "all") throw new Error(`it ended with ${code} after ${lines.length}: ${stderr}`);
  return lines;
}

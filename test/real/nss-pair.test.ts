/**
 * A3: libnss-cache opens an index and the data apart, so a reader may hold the index of one version and the data of the next.
 * Every such mix is set up, with equal times, and every name and id is looked up in it by glibc, each in a process of its
 * own: none is killed, and each gets the record of one of these versions, or nothing if one of them has none.
 *
 * The mixes are those that the order of renames allows: data is never older than its index.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { apply } from "../../agent/apply.ts";
import { SimulatedDisk } from "../../agent/simulated-disk.ts";
import { print, type Resource } from "../../identity/resource.ts";
import { openGround, stepTo } from "../fault/ground.ts";
import { type Host, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";
import { Started } from "../processes/started.ts";
import { history } from "./nss-history.ts";

type Database = "passwd" | "group" | "shadow" | "initgroups";

/** What `getent DATABASE KEY` may print; "" for not found. */
interface Question {
  readonly database: Database;
  readonly key: string;
  readonly right: ReadonlySet<string>;
}

interface Answer {
  readonly database: string;
  readonly key: string;
  readonly code: number;
  readonly text: string;
}

/** How much older than its data an index may be, in versions. */
const ages = [0, 1, 2];

/** Nobody's, in any version. */
const strangers = ["nobody-here", "alic", "rollcall", "200000", "1879048192", "7"];

/** The agent starts again before every so manieth version, also before the one after most went: it reads its files back. */
const restartEvery = 4;

const writer = fileURLToPath(new URL("nss-writer.ts", import.meta.url));

describeHosts("glibc with libnss-cache, on files of two versions", () => {
  test("finds the record of one of them by name and by id, and never aborts", async () => {
    const versions = await publish(history());
    const mixes = versions.flatMap((data, n) =>
      ages.flatMap((age) =>
        n < age ? [] : { name: `index ${n - age}, data ${n}`, between: versions.slice(n - age, n + 1), data },
      ),
    );
    await using lab = await openLab({ name: "nss" });
    const hosts = await Promise.all([lab.host("login-1"), lab.host("login-2")]);
    const queue = mixes.values();
    let asked = 0;
    const lane = async (host: Host): Promise<void> => {
      for (const { name, between, data } of queue) {
        const [index = data] = between;
        await lay(host, index, data);
        const questions = questionsAbout(between, data);
        const answers = await ask(host, questions);
        expect(answers.length, name).toBe(questions.length);
        expect(wrong(questions, answers), name).toEqual([]);
        asked += questions.length;
      }
    };
    await Promise.all(hosts.map(lane));
    expect(asked).toBeGreaterThan(5_000);
    // A process each.
  }, 300_000);

  test("finds them while versions are applied at full speed, also when it is slow between the index and the data", async () => {
    const contents = history();
    const versions = await publish(contents);
    await using lab = await openLab({ name: "nss" });
    await using host = await lab.host("login-1");
    for (const [n, content] of contents.entries()) await host.write(`/tmp/content/${n}`, linesOf(content));
    const files = contents.map((_, n) => `/tmp/content/${n}`);
    const inmate = host.spawn("node", ["--disable-warning=ExperimentalWarning", writer, "/var/lib/rollcall", ...files]);
    await using writing = new Started(inmate);
    await writing.says(/writing/);

    // By a name that every version has, by ids and names that come and go.
    const questions = questionsAbout(versions).filter(({ database }) => database !== "initgroups");
    const readers = [
      ask(host, questions, { seconds: 5 }),
      ...[1, 2, 3].map(() => ask(host, questions, { seconds: 5, slow: true })),
    ];
    const answers = (await Promise.all(readers)).flat();
    inmate.stdin.end();
    const [, count = "0"] = await writing.says(/^wrote (\d+)$/m);
    expect(wrong(questions, answers)).toEqual([]);
    // Only that both sides did something: how much is the machine's affair.
    expect(Number(count)).toBeGreaterThan(10);
    expect(answers.length).toBeGreaterThan(100);
    console.info(`${answers.length} look-ups beside ${count} applies`);
  });
});

/** One version's files, by name: `passwd.cache.ixname`. */
type Version = ReadonlyMap<string, string>;

/** What the agent writes for each content in turn. */
async function publish(contents: readonly (readonly Resource[])[]): Promise<Version[]> {
  const disk = new SimulatedDisk();
  let { ground } = await openGround("/state", disk);
  const versions: Version[] = [];
  for (const [n, content] of contents.entries()) {
    if (n % restartEvery === 1) ({ ground } = await openGround("/state", disk));
    await apply(ground, stepTo(ground.memory.copy, content));
    const nss = join(ground.folders.served, "nss/");
    const files = [...disk.files()].filter(([path]) => path.startsWith(nss));
    versions.push(new Map(files.map(([path, text]) => [path.slice(nss.length), text])));
  }
  return versions;
}

/** Puts one version's indexes beside another's data, all of one time. */
async function lay(host: Host, index: Version, data: Version): Promise<void> {
  const files = [...data.keys()].map((name) => [name, (name.includes(".ix") ? index : data).get(name) ?? ""] as const);
  // Base64: shells and NULs do not agree.
  const input = files.map(([name, text]) => `${name} ${Buffer.from(text).toString("base64")}\n`).join("");
  const script =
    'while read -r name text; do echo "$text" | base64 -d >"/etc/$name"; touch -d @1000000000 "/etc/$name"; done';
  expect(await host.run("sh", ["-euc", script], { input })).toMatchObject({ code: 0, stderr: "" });
}

/** Every name and id of some versions, asked of data which is one of them or, while it is being replaced, any. */
function questionsAbout(versions: readonly Version[], data?: Version): Question[] {
  const maps = [
    { database: "passwd", field: 0 },
    { database: "passwd", field: 2 },
    { database: "group", field: 0 },
    { database: "group", field: 2 },
    { database: "shadow", field: 0 },
  ] as const;
  const found = maps.flatMap(({ database, field }) => {
    const tables = versions.map((version) => recordsBy(version, database, field));
    const keys = new Set([...tables.flatMap((table) => [...table.keys()]), ...strangers]);
    return [...keys].map((key) => ({ database, key, right: new Set(tables.map((table) => table.get(key) ?? "")) }));
  });
  const names = new Set(versions.flatMap((version) => [...recordsBy(version, "passwd", 0).keys()]));
  // initgroups reads the data from its start to its end, whatever the index.
  const groups = [...names].map((key) => ({
    database: "initgroups" as const,
    key,
    right: new Set((data ? [data] : versions).map((version) => `${key} ${groupsOf(version, key).join(" ")}`.trim())),
  }));
  return [...found, ...groups];
}

function recordsBy(version: Version, database: Exclude<Database, "initgroups">, field: number): Map<string, string> {
  const lines = (version.get(`${database}.cache`) ?? "").split("\n");
  const records = lines.filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("rollcall.end:"));
  return new Map(records.map((line) => [line.split(":")[field] ?? "", line]));
}

function groupsOf(version: Version, name: string): string[] {
  const groups = [...recordsBy(version, "group", 2)];
  return groups.flatMap(([gid, line]) => (line.split(":")[3]?.split(",").includes(name) ? [gid] : []));
}

/**
 * Asks each question of libnss-cache alone, whoever else the machine has, in a process of its own, once, or over and over for some seconds. A slow reader waits some
 * milliseconds before it opens the data, with the index read.
 */
async function ask(
  host: Host,
  questions: readonly Question[],
  { seconds = 0, slow = false }: { seconds?: number; slow?: boolean } = {},
): Promise<Answer[]> {
  const paths = ["passwd", "group", "shadow"].flatMap((map) => ["-P", `/etc/${map}.cache`]);
  const wait = [
    "strace",
    "-qq",
    "-o",
    "/dev/null",
    ...paths,
    "-e",
    "trace=openat",
    "-e",
    "inject=openat:delay_enter=4000",
  ];
  // dash forks three times as fast as bash, and there are tens of thousands of questions.
  const script = `
    seconds=$1; shift
    questions=$(cat)
    uptime() { read -r now _ </proc/uptime; now=\${now%.*}; }
    uptime; end=$((now + seconds))
    while :; do
      while read -r database key; do
        printf '? %s\\t%s\\n' "$database" "$key"
        "$@" getent -s cache "$database" "$key" 2>/dev/null </dev/null
        printf '= %s\\n' "$?"
        uptime; [ "$seconds" = 0 ] || [ "$now" -lt "$end" ] || exit 0
      done <<EOF
$questions
EOF
      [ "$now" -lt "$end" ] || exit 0
    done`;
  const shuffled = seconds === 0 ? questions : questions.toSorted(() => Math.random() - 0.5);
  const input = shuffled.map(({ database, key }) => `${database} ${key}\n`).join("");
  const { stdout } = await host.run("dash", ["-c", script, "ask", String(seconds), ...(slow ? wait : [])], { input });
  const blocks = stdout.split(/^\? /m).slice(1);
  return blocks.map((block) => {
    const [, database = "", key = "", text = "", code] = /^(.*)\t(.*)\n([^]*)= (\d+)\n$/.exec(block) ?? [];
    return { database, key, code: Number(code), text: text.trimEnd() };
  });
}

/** The answers that no version explains. A process that was killed has a code above 128; 2 is "not found". */
function wrong(questions: readonly Question[], answers: readonly Answer[]): string[] {
  const right = new Map(questions.map((question) => [`${question.database} ${question.key}`, question.right]));
  const bad = answers.filter(({ database, key, code, text }) => {
    if (code !== 0 && code !== 2) return true;
    const plain = database === "initgroups" ? text.replaceAll(/ +/g, " ").trim() : text;
    return !right.get(`${database} ${key}`)?.has(plain);
  });
  return bad.map(({ database, key, code, text }) => `${database} ${key}: ${code} ${text}`);
}

function linesOf(content: readonly Resource[]): string {
  return content.map((resource) => `${print(resource)}\n`).join("");
}

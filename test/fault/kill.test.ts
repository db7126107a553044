/**
 * A6: the agent is killed at every system call with which an apply changes a file, by strace, before that call is made. Each
 * served file is then whole, old or new, in the order of sink.ts's phases; the next start finishes the step or
 * finds it never begun, and knows where it is: no snapshot is needed.
 *
 * The counting is exact: Node makes its calls on files in a pool of threads, which is given one thread here; strace joins
 * that thread when the apply is about to begin, and sees its calls on the state folder only. A run under a wider strace
 * tells how many these are, and that no other thread or process makes any.
 */

import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { apply } from "../../agent/apply.ts";
import { origin, type Position, samePosition } from "../../identity/position.ts";
import { print, type Resource } from "../../identity/resource.ts";
import { aGroup, aKey, aMember, aSudo, aUser } from "../../identity/testing.ts";
import { type Host, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";
import { Started } from "../processes/started.ts";
import { openGround, stepTo } from "./ground.ts";

/** One leaves, one comes, one is described anew and loses a key, one stays as it is; a group may run more. */
const before: readonly Resource[] = [
  ...[aUser(1, { name: "leaver" }), aMember(1, 1), aKey(1, "leaver")],
  ...[aUser(2, { name: "changed", gecos: "Old" }), aMember(1, 2), aKey(2, "kept"), aKey(2, "dropped")],
  ...[aUser(3, { name: "steady" }), aMember(2, 3), aKey(3, "steady")],
  ...[aGroup(1), aGroup(2), aSudo(1, ["/usr/bin/id"])],
];
const after: readonly Resource[] = [
  ...[aUser(4, { name: "joiner" }), aMember(1, 4), aKey(4, "joiner")],
  ...[aUser(2, { name: "changed", gecos: "N".repeat(100) }), aMember(1, 2), aKey(2, "kept")],
  ...[aUser(3, { name: "steady" }), aMember(2, 3), aKey(3, "steady")],
  ...[aGroup(1), aGroup(2), aSudo(1, ["/usr/bin/id"]), aSudo(2, "ALL")],
];

/** Every file that the step changes, in the order in which they may: all of one line before any of the next. */
const safeOrder: readonly (readonly string[])[] = [
  ["ssh/authorized_keys.d/leaver", "ssh/authorized_keys.d/changed"],
  ["nss/shadow.cache"],
  ["nss/shadow.cache.ixname"],
  ["nss/passwd.cache"],
  ["nss/passwd.cache.ixuid", "nss/passwd.cache.ixname"],
  ["nss/group.cache"],
  ["nss/group.cache.ixgid", "nss/group.cache.ixname"],
  ["sudo/rollcall"],
  ["ssh/authorized_keys.d/joiner"],
];

/** Calls that change files, or make what was changed durable. */
const calls =
  "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,fchmod,fchown,chmod,chown," +
  "fchownat,fchmodat,ftruncate,mkdir,mkdirat,link,linkat,symlink,symlinkat,close";

const driver = fileURLToPath(new URL("apply-once.ts", import.meta.url));
const prepared = "/tmp/prepared";
const content = "/tmp/content";
const lanes = 2;

describeHosts("an agent that is killed in an apply", () => {
  test("leaves whole files in a safe order, and finishes or forgets the step at its next start", async () => {
    await using lab = await openLab({ name: "kill" });
    await using host = await lab.host("login-1");
    const outside = (path: string) => join(host.root, path);
    await host.write(content, after.map((resource) => `${print(resource)}\n`).join(""));

    const { ground } = await openGround(outside(prepared));
    const { at: old } = await apply(ground, stepTo(ground.memory.copy, before));
    const oldFiles = filesIn(outside(prepared));
    const { made, paths, strangers } = await traceCalls(host, await copyOf(host, "undisturbed"));
    expect(strangers, "calls of other threads").toEqual([]);
    const { ground: finished, repaired } = await openGround(outside("/tmp/undisturbed"));
    expect(repaired?.changed).toEqual([]);
    const fresh = finished.memory.at;
    const newFiles = filesIn(outside("/tmp/undisturbed"));
    expect(changed(oldFiles, newFiles)).toEqual(safeOrder.flat().sort());
    const whole: Whole = { paths, old: { at: old, files: oldFiles }, fresh: { at: fresh, files: newFiles } };

    const outcomes: ("old" | "new")[] = [];
    const turns = made.entries();
    const lane = async (): Promise<void> => {
      for (const [at, call] of turns) outcomes[at] = await killAt(host, call, whole);
    };
    await Promise.all(Array.from({ length: lanes }, lane));

    // One call makes the step stand: a start after a kill before it has nothing to finish, after it always.
    const stands = made.findIndex(({ line }) => /^\d+ +write\(\d+<[^>]+\/journal>, "begin/.test(line));
    expect(stands).toBeGreaterThan(0);
    expect(outcomes).toEqual(made.map((_, at) => (at <= stands ? "old" : "new")));
  });
});

/** What there is to choose from: how it was, how it is to be, and on which paths calls are counted. */
interface Whole {
  readonly paths: readonly string[];
  readonly old: { readonly at: Position; readonly files: Files };
  readonly fresh: { readonly at: Position; readonly files: Files };
}

/** Kills an apply before one of its calls, checks everything, and says where the next start led. */
async function killAt(host: Host, call: Call, { paths, old, fresh }: Whole): Promise<"old" | "new"> {
  const state = await copyOf(host, `killed-${call.name}-${call.nth}`);
  const { signal } = await applyUnder(host, state, (_, thread) => [
    ...["-p", thread, "-o", "/dev/null", ...paths.flatMap((path) => ["-P", join(state, path)])],
    ...["-e", `trace=${call.name}`, "-e", `inject=${call.name}:signal=SIGKILL:when=${call.nth}`],
  ]);
  const where = `after a kill before ${call.line}`;
  expect(signal, where).toBe("SIGKILL");
  const path = join(host.root, state);
  expectSafe(where, filesIn(path), old.files, fresh.files);

  const { ground, warning, repaired, fault } = await openGround(path);
  expect({ warning, fault, unfinished: ground.memory.unfinished }, where).toEqual({});
  expect(ground.memory.at, where).not.toEqual(origin);
  const outcome = samePosition(ground.memory.at, fresh.at) ? "new" : "old";
  expect(ground.memory.at, where).toEqual(outcome === "new" ? fresh.at : old.at);
  expect(repaired?.at, where).toEqual(ground.memory.at);
  expect(meaningOf(filesIn(path)), where).toEqual(meaningOf(outcome === "new" ? fresh.files : old.files));
  expect(readdirSync(join(path, "stage")), where).toEqual([]);
  if (outcome === "old") {
    await apply(ground, stepTo(ground.memory.copy, after));
    expect(ground.memory.at, where).toEqual(fresh.at);
    expect(meaningOf(filesIn(path)), where).toEqual(meaningOf(fresh.files));
  }
  const { code } = await host.run("rm", ["-r", state]);
  expect(code).toBe(0);
  return outcome;
}

/** Every file is old or new, and none is new before all that must be so earlier are. */
function expectSafe(where: string, live: Files, old: Files, fresh: Files): void {
  const states = safeOrder.map((paths) =>
    paths.map((path) => {
      if (live[path] === fresh[path]) return "new";
      return live[path] === old[path] ? "old" : "neither";
    }),
  );
  const mixed = states.findIndex((line) => line.some((state) => state !== "new"));
  const late = mixed < 0 ? [] : states.slice(mixed + 1).flat();
  expect(states.flat(), where).not.toContain("neither");
  expect(late, `${where}: ${JSON.stringify(states)}`).not.toContain("new");
  const others = Object.keys({ ...live, ...old, ...fresh }).filter((path) => !safeOrder.flat().includes(path));
  for (const path of others) expect(live[path], `${path} ${where}`).toBe(old[path]);
}

/** One call on a file: strace counts those of each name apart. */
interface Call {
  readonly name: string;
  readonly nth: number;
  /** As strace shows it. */
  readonly line: string;
}

/** An apply's calls on the state folder, on which paths they are (relative to it), and such calls of other threads. */
interface Trace {
  readonly made: readonly Call[];
  readonly paths: readonly string[];
  readonly strangers: readonly string[];
}

async function traceCalls(host: Host, state: string): Promise<Trace> {
  let files = "";
  const { signal, said } = await applyUnder(host, state, (process, thread) => {
    files = thread;
    return ["-f", "-y", "-p", process, "-o", "/tmp/trace", "-e", `trace=${calls}`];
  });
  expect({ signal, said }).toMatchObject({ signal: null, said: expect.stringContaining("applied") });
  const lines = readFileSync(join(host.root, "/tmp/trace"), "utf8").split("\n");
  const seen = lines.filter((line) => line.includes(`${state}/`) && !line.includes("resumed>"));
  const own = seen.filter((line) => line.startsWith(`${files} `));
  const named = own.flatMap((line) => [...line.matchAll(/["<](\/[^">]+)[">]/g)].map(([, path = ""]) => path));
  const paths = [...new Set(named)].filter((path) => path.startsWith(`${state}/`));
  const counts = new Map<string, number>();
  const made = own.map((line): Call => {
    const [, name = ""] = /^\d+ +(\w+)\(/.exec(line) ?? [];
    const nth = (counts.get(name) ?? 0) + 1;
    counts.set(name, nth);
    return { name, nth, line };
  });
  return {
    made,
    paths: paths.map((path) => relative(state, path)),
    strangers: seen.filter((line) => !own.includes(line)),
  };
}

/** Applies the step in a process of its own, which strace joins before it begins. */
async function applyUnder(
  host: Host,
  state: string,
  strace: (process: string, thread: string) => readonly string[],
): Promise<{ signal: NodeJS.Signals | null; said: string }> {
  const options = { env: { UV_THREADPOOL_SIZE: "1", NODE_COMPILE_CACHE: "/tmp/compiled" } };
  const inmate = host.spawn("node", ["--disable-warning=ExperimentalWarning", driver, state, content], options);
  await using agent = new Started(inmate);
  const [, pid = "", thread = ""] = await agent.says(/^ready (\d+) (\d+)$/m);
  await using tracer = new Started(host.spawn("strace", strace(pid, thread)));
  await tracer.says(/attached/);
  const ends = Promise.all([once(inmate, "exit"), once(tracer.process, "exit")]);
  inmate.stdin.end("go\n");
  const [[, signal]] = (await ends) as [[number | null, NodeJS.Signals | null], unknown];
  return { signal, said: agent.stdout };
}

async function copyOf(host: Host, name: string): Promise<string> {
  const path = `/tmp/${name}`;
  expect(await host.run("cp", ["-a", prepared, path])).toMatchObject({ code: 0 });
  return path;
}

/** By path below the served folder: mode, owners and bytes. */
type Files = Readonly<Record<string, string>>;

function filesIn(state: string): Files {
  const served = join(state, "served");
  const entries = readdirSync(served, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
  return Object.fromEntries(
    entries.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      const { mode, uid, gid } = statSync(path);
      return [relative(served, path), `${mode.toString(8)} ${uid}:${gid}\n${readFileSync(path, "latin1")}`];
    }),
  );
}

/**
 * What readers find in files, whatever the layout: a repair may give a record another slot than the step would have. A data
 * file is its records, an index the record at each entry's offset, a key file its bytes.
 */
function meaningOf(files: Files): Files {
  const meaning = ([path, text]: [string, string]): string => {
    if (!path.startsWith("nss/")) return text;
    const [held, bytes] = parted(text);
    const [data, index] = path.split(/(?<=\.cache)\./);
    if (index === undefined)
      return [
        held,
        ...bytes
          .split("\n")
          .filter((line) => !/^(#|$)/.test(line))
          .sort(),
      ].join("\n");
    const [, lines] = parted(files[data ?? ""] ?? "");
    const entries = bytes.split("\n").slice(0, -1);
    const found = entries.map((entry) => {
      const [key, offset] = entry.split("\0", 2);
      return `${key} -> ${lines.slice(Number(offset)).split("\n", 1)[0]}`;
    });
    return [held, ...found].join("\n");
  };
  return Object.fromEntries(Object.entries(files).map((file) => [file[0], meaning(file)]));
}

/** What stands before the first line break, and all behind it. */
function parted(text: string): [string, string] {
  const at = text.indexOf("\n");
  return [text.slice(0, at), text.slice(at + 1)];
}

function changed(old: Files, fresh: Files): string[] {
  return Object.keys({ ...old, ...fresh })
    .filter((path) => old[path] !== fresh[path])
    .sort();
}

/**
 * `npm run bench:peer -- --nsscache CHECKOUT [--users N] [--json]`: one user changes on a node that holds 100,000, by the agent
 * and by nsscache (github.com/google/nsscache, of which nothing is in this repository), which updates the same maps from a
 * server on the same host. Both write to the same ext4 of a test host, a loop device in memory: fsync costs its calls there, not a
 * disk's time. And then look-ups through libnss-cache in the files of both: at rest, and while the agent swaps files without a
 * pause (for nsscache's: while it swaps others beside them, so that the processors are as busy).
 */

import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Host, openLab } from "../../lab/host.ts";
import { mountDisk } from "../../lab/power.ts";
import { Started } from "../../processes/started.ts";
import { median } from "../apply-one.ts";
import { AgentNode, type Cost } from "./agent-node.ts";
import { changes, content, type Kind, mapsOf } from "./content.ts";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const disk = "/srv/disk";
const ours = `${disk}/state/served/nss`;
const theirs = `${disk}/nsscache`;
const sources = "/srv/maps";
const port = 8080;

/** Microseconds of one look-up by name. */
interface LookUp {
  readonly median: number;
  readonly p99: number;
  readonly mean: number;
}

const { values: args } = parseArgs({
  options: { nsscache: { type: "string" }, users: { type: "string", default: "100000" }, json: { type: "boolean" } },
});
if (args.nsscache === undefined)
  throw new Error("--nsscache CHECKOUT is needed: a checkout of github.com/google/nsscache");
const users = Number(args.users);

await using lab = await openLab({ name: "peer", packages: ["python3", "python3-pycurl"] });
await using host = await lab.host("login-1");
await using _ = await mountDisk(host, disk, { mb: 640 });
await copyCheckout(host, args.nsscache);

say(`the agent takes ${users} people`);
await using node = await AgentNode.start(host, `${disk}/state`, users);
say(JSON.stringify(node.ready));
say("nsscache takes them");
await writeMaps(content(users), "1 hour ago");
await using server = new Started(
  host.spawn("node", ["--disable-warning=ExperimentalWarning", here("maps-server.ts"), sources, String(port)]),
);
await server.says(/serving/);
await host.write("/srv/nsscache.conf", configuration());
const full = await nsscache("--full");
say(JSON.stringify(full));

const rows: { what: Kind; ours: Cost; theirs: Cost }[] = [];
for (const what of Object.keys(changes) as Kind[]) {
  const [own, other]: [Cost[], Cost[]] = [[], []];
  for (let round = 0; round < 5; round++) {
    say(`${what}, round ${round + 1}`);
    own.push(await node.change(what, round));
    // It takes twenty times as long: two rounds tell enough.
    if (round >= 2) continue;
    await writeMaps([...content(users), ...changes[what](users, round)], `${10 - round - 3 * rows.length} minutes ago`);
    other.push(await nsscache());
  }
  rows.push({ what, ours: typical(own), theirs: typical(other) });
  say(JSON.stringify(rows.at(-1)));
}

say("look-ups");
await placeLinks();
const lookUps = {
  atRest: await compareLookUps(undefined),
  whileSwapping: {
    "a user's gecos": await compareLookUps("a user's gecos"),
    "a new user, in a group, with a key": await compareLookUps("a new user, in a group, with a key"),
  },
};
const processes = await compareProcesses();

if (args.json)
  process.stdout.write(`${JSON.stringify({ users, full, ready: node.ready, rows, lookUps, processes })}\n`);
else print();

function print(): void {
  const line = (what: string, figure: string) => process.stdout.write(`${what.padEnd(52)}${figure}\n`);
  const times = (a: number, b: number) => `${(a / b).toFixed(a / b < 10 ? 2 : 0)} times`;
  line(`${users} people, taken from nothing`, "");
  line("  the agent", `${(node.ready.wall / 1000).toFixed(1)} s, ${(node.ready.cpu / 1000).toFixed(1)} s of processor`);
  line(
    "  nsscache --full",
    `${(full.wall / 1000).toFixed(1)} s, ${(full.cpu / 1000).toFixed(1)} s of processor, ${full.bytes} bytes`,
  );
  for (const { what, ours: own, theirs: other } of rows) {
    line(what, "");
    line(
      "  wall",
      `${own.wall.toFixed(1)} ms, nsscache ${other.wall.toFixed(0)} ms: ${times(other.wall, own.wall)} less`,
    );
    line(
      "  processor",
      `${own.cpu.toFixed(1)} ms, nsscache ${other.cpu.toFixed(0)} ms: ${times(other.cpu, own.cpu)} less`,
    );
    line("  bytes fetched", `${own.bytes}, nsscache ${other.bytes}: ${times(other.bytes, own.bytes)} less`);
  }
  const compared = (what: string, { own, other }: { own: LookUp; other: LookUp }) =>
    line(
      `  ${what}`,
      `${own.median.toFixed(0)} us (mean ${own.mean.toFixed(0)}), in nsscache's files ${other.median.toFixed(0)} us (mean ${other.mean.toFixed(0)}): ${times(own.median, other.median)} (mean ${times(own.mean, other.mean)})`,
    );
  line("getpwnam of any of them, median", "");
  compared("at rest", lookUps.atRest);
  for (const [what, figures] of Object.entries(lookUps.whileSwapping))
    compared(`while ${what} is applied, over and over`, figures);
  line(
    "  getent passwd, a process each",
    `${processes.own.toFixed(2)} ms, in nsscache's files ${processes.other.toFixed(2)} ms: ${times(processes.own, processes.other)}`,
  );
}

/** One after the other, round by round: this machine's speed changes within seconds. */
async function compareLookUps(swapping: Kind | undefined): Promise<{ own: LookUp; other: LookUp }> {
  if (swapping) node.tell(`swap ${swapping}`);
  const [own, other]: [LookUp[], LookUp[]] = [[], []];
  for (let round = 0; round < 5; round++) {
    const turns = [
      { folder: ours, list: own },
      { folder: theirs, list: other },
    ];
    for (const { folder, list } of round % 2 ? turns : turns.toReversed()) {
      const figures = await showing(folder, "/usr/bin/python3", here("lookups.py"), "2000", String(users));
      const [mid = Number.NaN, p99 = Number.NaN, mean = Number.NaN, missing] = figures.split(" ").map(Number);
      if (missing !== 0) throw new Error(`${missing} names were not found in ${folder}`);
      list.push({ median: mid, p99, mean });
    }
  }
  if (swapping) say(JSON.stringify(await node.ask("stop")));
  const middle = (list: LookUp[]): LookUp => ({
    median: median(list.map((each) => each.median)),
    p99: median(list.map(({ p99 }) => p99)),
    mean: median(list.map(({ mean }) => mean)),
  });
  return { own: middle(own), other: middle(other) };
}

async function compareProcesses(): Promise<{ own: number; other: number }> {
  const script = `
    TIMEFORMAT=%R
    { time for n in $(seq 1 100); do getent -s cache passwd user$((RANDOM * 3 % $1)) >/dev/null || exit 1; done; } 2>&1`;
  const [own, other]: [number[], number[]] = [[], []];
  for (let round = 0; round < 3; round++) {
    for (const [folder, list] of [[ours, own] as const, [theirs, other] as const]) {
      const seconds = Number(await showing(folder, "bash", "--norc", "-c", script, "bash", String(users)));
      list.push((seconds * 1000) / 100);
    }
  }
  return { own: median(own), other: median(other) };
}

/** Runs a command while libnss-cache reads a folder's files. */
function showing(folder: string, ...command: string[]): Promise<string> {
  return succeeded("sh", ["-euc", 'ln -sfn "$1" /srv/shown; shift; exec "$@"', "sh", folder, ...command]);
}

async function placeLinks(): Promise<void> {
  const suffixes = ["", ".ixname", ".ixuid", ".ixgid"];
  const names = ["passwd", "group", "shadow"].flatMap((map) => suffixes.map((suffix) => `${map}.cache${suffix}`));
  const script = `
    sed -i -E 's/^(passwd|group|shadow):.*/\\1: cache files/' /etc/nsswitch.conf
    for name; do ln -sfn "/srv/shown/$name" "/etc/$name"; done`;
  await succeeded("sh", ["-euc", script, "sh", ...names]);
}

/** One run of nsscache, as its timer would start it. */
async function nsscache(...flags: string[]): Promise<Cost> {
  const before = sentBy(server);
  const script = `
    cd /srv/nsscache; TIMEFORMAT='%R %U %S'
    { time PYTHONPATH=. /usr/bin/python3 ./nsscache --config-file=/srv/nsscache.conf update --sleep 0 "$@" >/srv/log 2>&1; } 2>/srv/times ||
      { tail -n 5 /srv/log >&2; exit 1; }
    cat /srv/times`;
  const [wall = NaN, user = NaN, system = NaN] = (await succeeded("bash", ["--norc", "-c", script, "bash", ...flags]))
    .split(" ")
    .map(Number);
  return { wall: wall * 1000, cpu: (user + system) * 1000, bytes: sentBy(server) - before };
}

function sentBy({ stdout }: Started): number {
  return Number(/sent (\d+)\n$/.exec(stdout)?.[1] ?? 0);
}

function configuration(): string {
  const maps = ["passwd", "group", "shadow", "sshkey"];
  return `[DEFAULT]
source = http
cache = files
maps = ${maps.join(", ")}
timestamp_dir = /srv/timestamps
lockfile = /srv/lock
files_dir = ${theirs}
files_cache_filename_suffix = cache
${maps.map((map) => `http_${map}_url = http://127.0.0.1:${port}/${map}`).join("\n")}
[suffix]
prefix =
suffix =
`;
}

async function writeMaps(resources: Parameters<typeof mapsOf>[0], time: string): Promise<void> {
  for (const [map, text] of Object.entries(mapsOf(resources))) {
    const path = join(sources, map);
    const before = await readFile(join(host.root, path), "utf8").catch(() => "");
    if (before === text) continue;
    await host.write(path, text);
    await succeeded("touch", ["-d", time, path]);
  }
}

async function copyCheckout(to: Host, checkout: string): Promise<void> {
  const archive = execFileSync("tar", ["-C", checkout, "-cf", "-", "--exclude=.git", "."], { maxBuffer: 1 << 28 });
  const { code, stderr } = await to.run(
    "sh",
    ["-euc", `mkdir -p /srv/nsscache /srv/timestamps ${theirs} ${sources}; tar -xf - -C /srv/nsscache`],
    { input: archive },
  );
  if (code !== 0) throw new Error(`copy ${checkout}: ${stderr}`);
}

async function succeeded(command: string, argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await host.run(command, argv, { timeout: 120_000 });
  if (code !== 0) throw new Error(`${command} ${argv.join(" ")}: ${stderr || stdout}`);
  return stdout.trim();
}

function typical(costs: readonly Cost[]): Cost {
  const middle = (of: keyof Cost) => median(costs.map((cost) => cost[of]));
  return { wall: middle("wall"), cpu: middle("cpu"), bytes: middle("bytes") };
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

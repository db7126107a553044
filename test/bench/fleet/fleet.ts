/**
 * `npm run bench:fleet -- --nodes N [--threads N] [--users N] [--json]`: a whole fleet on one server. Ratios are against bare
 * TLS sockets that are sent the same bytes by a server of their own, to the same load processes, in the same run.
 *
 * Agents are light ones (load.c): the real protocol and mutual TLS, one connection each, nothing applied; all have
 * one key, each its own certificate. They share the machine with the server: the floor does as well.
 */

import { fork } from "node:child_process";
import { randomBytes, randomUUIDv7 } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { newRequest } from "../../../agent/credentials.ts";
import { realDisk } from "../../../agent/disk.ts";
import { foldersIn, prepareFolders } from "../../../agent/folders.ts";
import { wholeList } from "../../../cli/command.ts";
import { origin } from "../../../identity/position.ts";
import { HelloSchema, NodeService, SyncRequestSchema } from "../../../proto/gen/rollcall/v1/node_pb.ts";
import { RolloutService } from "../../../proto/gen/rollcall/v1/rollout_pb.ts";
import { printPosition } from "../../../proto/wire.ts";
import { openAuthority } from "../../../server/authority/authority.ts";
import { seed } from "../../../server/directory/clusters.ts";
import type { Context } from "../../../server/directory/context.ts";
import { enrol } from "../../../server/directory/nodes.ts";
import { createJoinToken, createScimToken } from "../../../server/directory/tokens.ts";
import { openSqlite } from "../../../server/store/sqlite.ts";
import { ControlPlane } from "../../processes/control-plane.ts";
import type { FloorRound } from "./floor-server.ts";
import { type Counts, Load, makeLoad } from "./load.ts";

const { values: options } = parseArgs({
  options: {
    nodes: { type: "string", default: "1000" },
    threads: { type: "string", default: "2" },
    users: { type: "string", default: "200" },
    bulk: { type: "string", default: "10000" },
    rounds: { type: "string", default: "7" },
    json: { type: "boolean", default: false },
  },
});
const nodes = Number(options.nodes);
const rounds = Number(options.rounds);
const processes = 2;
/** Rounds before those that count. */
const warmUps = 3;
const admin = { kind: "admin" } as const;
const now = (): number => performance.timeOrigin + performance.now();
const say = (text: string): void => {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
};

await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-fleet-"));
const data = join(folder.path, "server");
const stalls = join(folder.path, "stalls");
await mkdir(stalls);
await mkdir(data, { mode: 0o700 });

const program = makeLoad(folder.path);
say(`enrolling ${nodes} nodes`);
const { folders, hello, scimToken } = await enrolAll();
const load = await Promise.all(folders.map((each) => Load.start(program, each)));
// The first bytes of a delta of one user's change: its size is what the floor sends, and an ack's is what it is answered.
const deltaBytes = 350;
const ackBytes = 130;

say("the floor: bare TLS");
const floor = await measureFloor();

// The load is as nice as the threads that hold the streams (server/stream/worker.ts), as it was to the floor: neither takes the other's share.
for (const each of load) each.niceness = 5;
process.env["ROLLCALL_BENCH_STALLS"] = stalls;
await using plane = await probed(() => ControlPlane.start(data, ["--stream-threads", options.threads]));
const scimAgent = new Agent({ ca: await readFile(plane.caFile), keepAlive: true, maxSockets: 32 });
const rollouts = await plane.client(RolloutService);
const fleet = await plane.client(NodeService);

say(`${options.users} users`);
const people: string[] = [];
for (let n = 0; n < Number(options.users); n++) people.push(await createUser(n));
const group = await scim("POST", "/Groups", {
  displayName: "slurm-users",
  members: people.map((value) => ({ value })),
});

const rssBefore = await rss();
say("all connect");
const connecting = now();
const port = Number(plane.urls.nodes.split(":")[1]);
await Promise.all(load.map((each) => each.connect(port, hello.first, hello.later)));
await acks(await head());
const connectMs = now() - connecting;
await sleep(3000);
const rssPerAgentKb = ((await rss()) - rssBefore) / nodes;
say(
  `connected in ${Math.round(connectMs)} ms, the floor in ${Math.round(floor.connectMs)} ms; ${Math.round(rssPerAgentKb)} KiB each`,
);

say("one change, acknowledged by all");
// A server that runs has compiled its code.
await repeated(warmUps, changeOne);
const change = await repeated(rounds, changeOne);

for (const side of ["nodes", "server"] as const) {
  const shown = [change, floor.rounds].map((measured) => show(measured.map((round) => round[side])));
  say(`as the ${side} had it: ${shown.join("; the floor ")}`);
}
say("200 writes a second");
// A server that runs has compiled its code, and its clients have their connections.
await writesAtRate(200, 2_000);
const calmFrom = Date.now();
const writes = await writesAtRate(200, 10_000);
const calmStall = await longestStall(calmFrom);

say(`a revocation while ${options.bulk} users are loaded`);
const bulkFrom = Date.now();
const revoke = await whileLoading(Number(options.bulk), () =>
  repeated(4, async (round) => {
    await sleep(1500);
    const at = now();
    await scim("PATCH", `/Users/${people[round + 1]}`, replace("active", false));
    return (await acks(await head())).map((time) => time - at);
  }),
);
say(show(revoke.result));
const stall = Math.max(calmStall, await longestStall(bulkFrom));
const rssLoaded = await rss();

say("the server is killed, and all come back");
await plane.down("SIGKILL");
await sleep(1000);
const before = await counts();
const back = now();
await probed(() => plane.up());
while ((await counts()).live < nodes) await sleep(100);
const reconnectMs = now() - back;
const after = await counts();

const result = {
  nodes,
  threads: Number(options.threads),
  // Acknowledged is what the server has heard.
  ack_p50_ms: typical(change, "server", 0.5),
  ack_p99_ms: typical(change, "server", 0.99),
  floor_p50_ms: typical(floor.rounds, "server", 0.5),
  floor_p99_ms: typical(floor.rounds, "server", 0.99),
  ratio_p99: 0,
  // What the nodes say is earlier: when they sent it.
  node_p99_ms: typical(change, "nodes", 0.99),
  floor_node_p99_ms: typical(floor.rounds, "nodes", 0.99),
  // A server that goes on to load users has told the nodes of more by the time that it can be asked: as the nodes say.
  revoke_p99_ms: median(revoke.result.map((times) => quantile(times, 0.99))),
  bulk_users_per_second: revoke.perSecond,
  rss_per_agent_kb: rssPerAgentKb,
  rss_loaded_mb: rssLoaded / 1024,
  max_stall_ms: stall,
  write_p50_ms: quantile(writes, 0.5),
  write_p99_ms: quantile(writes, 0.99),
  connect_ms: connectMs,
  floor_connect_ms: floor.connectMs,
  reconnect_ms: reconnectMs,
  ratio_reconnect: reconnectMs / floor.connectMs,
  snapshots_on_reconnect: after.snapshots - before.snapshots,
  // On the way back; until the server listens, they are refused.
  closed: Object.fromEntries(Object.entries(after.closed).map(([why, n]) => [why, n - (before.closed[why] ?? 0)])),
};
result.ratio_p99 = result.ack_p99_ms / result.floor_p99_ms;
if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
else {
  for (const [what, figure] of Object.entries(result)) {
    const shown = typeof figure === "number" ? String(Math.round(figure * 100) / 100) : JSON.stringify(figure);
    process.stdout.write(`${what.padEnd(26)}${shown}\n`);
  }
}
for (const each of load) each[Symbol.dispose]();
scimAgent.destroy();

/** Starts a server with the probe in each of its threads. */
async function probed<T>(start: () => Promise<T>): Promise<T> {
  process.env["NODE_OPTIONS"] = `--import=${new URL("probe.mjs", import.meta.url).pathname}`;
  try {
    return await start();
  } finally {
    delete process.env["NODE_OPTIONS"];
  }
}

async function enrolAll() {
  await using store = await openSqlite(join(data, "rollcall.db"), Date.now);
  const newSecret = (): string => randomBytes(32).toString("base64url");
  const ctx: Context = { store, now: Date.now, newId: randomUUIDv7, newSecret };
  await seed(ctx);
  const authority = await openAuthority(data, { now: Date.now });
  const node = foldersIn(join(folder.path, "agent"));
  await realDisk.folder(join(folder.path, "agent"), 0o755);
  await prepareFolders(realDisk, node);
  const csr = await newRequest(realDisk, node);
  const key = await readFile(join(node.private, "key.pem"), "utf8");
  const chains: string[] = [];
  for (let from = 0; from < nodes; from += 50) {
    const some = Array.from({ length: Math.min(50, nodes - from) }, async (_, i) => {
      const { secret } = await createJoinToken(ctx, admin, "default", "login", 600_000);
      const issue = (subject: Parameters<typeof authority.issueNode>[0]) => authority.issueNode(subject, csr);
      const { issued } = await enrol(ctx, secret, `n${from + i}`, () => false, issue);
      return issued.chainPem;
    });
    chains.push(...(await Promise.all(some)));
  }
  const folders = await Promise.all(
    Array.from({ length: processes }, async (_, n) => {
      const path = join(folder.path, `load-${n}`);
      await mkdir(path);
      const own = chains.filter((_chain, i) => i % processes === n).join("");
      const files = { "ca.pem": authority.caPem, "key.pem": key, "chains.pem": own };
      for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
      return path;
    }),
  );
  const { key: serverKey, cert } = await authority.issueServer(["localhost", "127.0.0.1"]);
  await writeFile(join(folder.path, "floor.json"), JSON.stringify({ ca: authority.caPem, key: serverKey, cert }));
  const { secret } = await createScimToken(ctx, admin, "default", "bench");
  return { folders, hello: hellos(), scimToken: secret };
}

/** What an agent says first: one that holds nothing, whole; and one that holds something, without what it is. */
function hellos() {
  const own = { protocolMin: 1, protocolMax: 1, software: "bench", instanceId: "bench" };
  const value = create(HelloSchema, { ...own, position: printPosition(origin) });
  return {
    first: toBinary(SyncRequestSchema, create(SyncRequestSchema, { say: { case: "hello", value } })),
    later: toBinary(HelloSchema, create(HelloSchema, own)),
  };
}

/** When each had acknowledged something, in milliseconds since it began: as nodes say, and as the server had it. */
interface Round {
  readonly nodes: readonly number[];
  readonly server: readonly number[];
}

async function measureFloor(): Promise<{ connectMs: number; rounds: Round[] }> {
  const arguments_ = [join(folder.path, "floor.json"), String(deltaBytes), String(ackBytes)];
  const server = fork(new URL("floor-server.ts", import.meta.url), arguments_, { stdio: "inherit" });
  const [{ port }] = (await once(server, "message")) as [{ port: number }];
  const from = now();
  await Promise.all(load.map((each) => each.connectBare(port, deltaBytes, ackBytes)));
  const connectMs = now() - from;
  await sleep(2000);
  const broadcast = async (): Promise<Round> => {
    const answered = Promise.all(load.map((each) => each.answered()));
    server.send("go");
    const [{ at, heard }] = (await once(server, "message")) as [FloorRound];
    const since = (time: number): number => time - at;
    return { nodes: (await answered).flat().map(since), server: heard.map(since) };
  };
  await repeated(warmUps, broadcast);
  const measured = await repeated(rounds, broadcast);
  await Promise.all(load.map((each) => each.leave()));
  server.kill();
  await once(server, "exit");
  return { connectMs, rounds: measured };
}

/** The times at which every agent acknowledged a revision or a newer one. */
async function acks(revision: number): Promise<number[]> {
  return (await Promise.all(load.map((each) => each.times(revision)))).flat();
}

/** The times at which the server had heard that every node holds the newest revision. */
async function heard(revision: number): Promise<number[]> {
  for (;;) {
    const list = await wholeList("nodes", (page) => fleet.listNodes(page));
    const times = list.nodes.flatMap(({ acked, ackedAt }) =>
      acked && ackedAt && acked.revision >= BigInt(revision) ? [timestampMs(ackedAt)] : [],
    );
    if (times.length === nodes) return times;
    await sleep(100);
  }
}

async function counts(): Promise<Counts> {
  const all = await Promise.all(load.map((each) => each.counts()));
  const closed: Record<string, number> = {};
  for (const each of all) {
    for (const [why, count] of Object.entries(each.closed)) closed[why] = (closed[why] ?? 0) + count;
  }
  return {
    live: all.reduce((sum, { live }) => sum + live, 0),
    snapshots: all.reduce((sum, { snapshots }) => sum + snapshots, 0),
    closed,
  };
}

/** The newest revision; asked for without counting who holds it, which is the server's work too. */
async function head(): Promise<number> {
  const { revisions } = await rollouts.listRevisions({ pageSize: 1 });
  return Number(revisions[0]?.revision ?? 0n);
}

async function changeOne(round: number): Promise<Round> {
  const at = now();
  const since = (time: number): number => time - at;
  await scim("PATCH", `/Users/${people[0]}`, replace("displayName", `Round ${round} at ${at}`));
  const revision = await head();
  return { nodes: (await acks(revision)).map(since), server: (await heard(revision)).map(since) };
}

async function createUser(n: number): Promise<string> {
  const { id } = await scim("POST", "/Users", { userName: `person${n}@example.org`, displayName: `Person ${n}` });
  return String(id);
}

function replace(path: string, value: unknown) {
  const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
  return { schemas, Operations: [{ op: "replace", path, value }] };
}

async function scim(method: string, path: string, body: unknown): Promise<Record<string, unknown>> {
  const text = JSON.stringify(body);
  const headers = {
    authorization: `Bearer ${scimToken}`,
    "content-type": "application/scim+json",
    "content-length": Buffer.byteLength(text),
  };
  const url = `${plane.urls.public}/scim/default/v2${path}`;
  return new Promise((resolve, reject) => {
    const call = request(url, { method, agent: scimAgent, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("end", () => {
        const said = Buffer.concat(pieces).toString();
        const answer = (said === "" ? {} : JSON.parse(said)) as Record<string, unknown>;
        if ((response.statusCode ?? 500) < 300) resolve(answer);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${JSON.stringify(answer)}`));
      });
    });
    call.on("error", reject);
    call.end(text);
  });
}

/** Milliseconds that each of some writes took, sent at a rate whether the ones before are answered or not. */
async function writesAtRate(perSecond: number, ms: number): Promise<number[]> {
  const took: Promise<number>[] = [];
  const from = now();
  for (let n = 0; n < (perSecond * ms) / 1000; n++) {
    const due = from + (n * 1000) / perSecond;
    const wait = due - now();
    if (wait > 0) await sleep(wait);
    const at = now();
    const who = people[10 + (n % 100)];
    took.push(scim("PATCH", `/Users/${who}`, replace("displayName", `Write ${n}`)).then(() => now() - at));
  }
  return Promise.all(took);
}

/** Loads users as fast as eight clients can while something else is done; stops once that is over. */
async function whileLoading<T>(most: number, work: () => Promise<T>): Promise<{ result: T; perSecond: number }> {
  let isOver = false;
  let made = 0;
  const from = now();
  const loading = Array.from({ length: 8 }, async () => {
    while (!isOver && made < most) {
      const n = made++;
      const id = await createUser(100_000 + n);
      // Into the cluster, so that every node is told of it.
      if (n % 10 === 0) await scim("PATCH", `/Groups/${String(group["id"])}`, addMember(id));
    }
  });
  const loaded = Promise.all(loading).then(() => made / ((now() - from) / 1000));
  const result = await work();
  isOver = true;
  return { result, perSecond: await loaded };
}

function addMember(value: string) {
  const schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
  return { schemas, Operations: [{ op: "add", path: "members", value: [{ value }] }] };
}

async function repeated<T>(times: number, work: (round: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let round = 0; round < times; round++) {
    results.push(await work(round));
    await sleep(500);
  }
  return results;
}

/** KiB. */
async function rss(): Promise<number> {
  const status = await readFile(`/proc/${plane.process.process.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}

/** The longest stall of any thread of the server since a time, milliseconds. */
async function longestStall(since: number): Promise<number> {
  let longest = 0;
  for (const name of await readdir(stalls)) {
    const quarter = Number(name.split("-")[1]);
    if (quarter * 250 >= since) longest = Math.max(longest, Number(await readFile(join(stalls, name), "utf8")));
  }
  return longest;
}

function quantile(times: readonly number[], q: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

function typical(measured: readonly Round[], side: keyof Round, q: number): number {
  return median(measured.map((round) => quantile(round[side], q)));
}

function show(measured: readonly (readonly number[])[]): string {
  const each = measured.map((times) => `${Math.round(quantile(times, 0.5))}/${Math.round(quantile(times, 0.99))}`);
  return `p50/p99 ${each.join(" ")} ms`;
}

function median(figures: readonly number[]): number {
  return quantile(figures, 0.5);
}

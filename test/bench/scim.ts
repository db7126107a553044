/**
 * SCIM against scimmy-routers in the same run: ours with every answer durable, theirs in memory. And what a list, a filter
 * and the process cost when the directory is large.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createInterface } from "node:readline";
import { median } from "./apply-one.ts";
import { person } from "./scim-person.ts";

export interface ScimFigures {
  readonly creates: Compared;
  readonly patches: Compared;
  /** Milliseconds of one member more and one less in a group of 10,000. */
  readonly memberPatch: Compared;
  /** Milliseconds of `userName eq`, in a directory of 100 and in the large one. */
  readonly lookup: { readonly small: number; readonly large: number; readonly ratio: number };
  readonly users: number;
  /** Milliseconds, the worst but one in a hundred. */
  readonly p99: Readonly<Record<string, number>>;
  readonly rssMb: number;
}

/** Ours, theirs, and how many times better ours is. */
export interface Compared {
  readonly ours: number;
  readonly theirs: number;
  readonly ratio: number;
}

const inFlight = 16;

export async function scimBench(users: number, say: (text: string) => void): Promise<ScimFigures> {
  const rates = { ours: [] as [number, number][], theirs: [] as [number, number][] };
  for (let round = 0; round < 3; round++) {
    for (const side of ["ours", "theirs"] as const) {
      say(`SCIM creates and PATCHes, ${side}, round ${round + 1} of 3`);
      await using server = side === "ours" ? await rollcall(0) : await scimmy();
      rates[side].push(await createsAndPatches(server, 2000));
    }
  }
  const rate = (index: 0 | 1): Compared => {
    const [ours, theirs] = [rates.ours, rates.theirs].map((rounds) => median(rounds.map((round) => round[index])));
    return compared(ours ?? Number.NaN, theirs ?? Number.NaN, (ours ?? 0) / (theirs ?? 0));
  };
  say("SCIM with 100 users: look-ups");
  const small = await lookupAt(100);
  say(`SCIM with ${users} users: making them`);
  await using large = await rollcall(users);
  say("one member of 10,000");
  const members = await memberIds(large, 10_000);
  const mine = await memberPatch(large, members);
  await using other = await scimmy();
  const theirs = await memberPatch(other, members);
  say("look-ups, lists and filters");
  const big = await lookup(large, users);
  return {
    creates: rate(0),
    patches: rate(1),
    memberPatch: compared(mine, theirs, theirs / mine),
    lookup: { small, large: big, ratio: big / small },
    users,
    p99: await worst(large, users),
    rssMb: large.rssMb(),
  };
}

function compared(ours: number, theirs: number, ratio: number): Compared {
  return { ours, theirs, ratio };
}

async function lookupAt(users: number): Promise<number> {
  await using server = await rollcall(users);
  return await lookup(server, users);
}

async function createsAndPatches(server: Server, count: number): Promise<[number, number]> {
  const ids: string[] = [];
  const creates = await perSecond(count, async (n) => {
    ids[n] = (await server.ask("POST", "/Users", person(n))).id as string;
  });
  const patches = await perSecond(count, async (n) => {
    const Operations = [{ op: "replace", path: "title", value: `Title ${n}` }];
    await server.ask("PATCH", `/Users/${ids[n]}`, { schemas: [patchOp], Operations });
  });
  return [creates, patches];
}

const patchOp = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

async function memberIds(server: Server, count: number): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length <= count) {
    const path = `/Users?attributes=id&count=1000&startIndex=${ids.length + 1}`;
    ids.push(...((await server.ask("GET", path)).Resources as { id: string }[]).map(({ id }) => id));
  }
  return ids.slice(0, count + 1);
}

/** All but the last are in the group; the last comes and goes. */
async function memberPatch(server: Server, ids: readonly string[]): Promise<number> {
  const last = ids.at(-1);
  const members = ids.slice(0, -1).map((value) => ({ value }));
  const schemas = ["urn:ietf:params:scim:schemas:core:2.0:Group"];
  const group = await server.ask("POST", "/Groups", { schemas, displayName: "slurm-users", members });
  const taken: number[] = [];
  for (let round = 0; round < 3; round++) {
    const add = { op: "add", path: "members", value: [{ value: last }] };
    const remove = { op: "remove", path: `members[value eq "${last}"]` };
    for (const operation of [add, remove]) {
      const body = { schemas: [patchOp], Operations: [operation] };
      taken.push(await timed(() => server.ask("PATCH", `/Groups/${group.id as string}`, body)));
    }
  }
  return median(taken);
}

async function lookup(server: Server, users: number): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < 200; n++) {
    const { userName } = person((n * 7919) % users);
    taken.push(
      await timed(() => server.ask("GET", `/Users?filter=${encodeURIComponent(`userName eq "${userName}"`)}`)),
    );
  }
  return median(taken);
}

async function worst(server: Server, users: number): Promise<Record<string, number>> {
  const classes: Record<string, (n: number) => string> = {
    "list page": (n) => `startIndex=${((n * 7919) % users) + 1}&count=100`,
    eq: (n) => asked(`displayName eq "Given${n} Family${n}"`),
    ne: (n) => asked(`title ne "Researcher ${n % 31}"`),
    co: (n) => asked(`userName co "ser${n}7@"`),
    sw: (n) => asked(`userName sw "user${n}"`),
    ew: (n) => asked(`emails.value ew "${n}@example.com"`),
    gt: (n) => asked(`meta.lastModified gt "2026-01-0${(n % 9) + 1}T00:00:00Z"`),
    pr: () => asked("title pr"),
    "and, or, not": (n) => asked(`(title pr and not (userName sw "user${n}")) or externalId eq "00u${n}"`),
    "emails[...]": (n) => asked(`emails[type eq "work" and value eq "user${n}@example.com"]`),
    sorted: () => "sortBy=name.familyName&count=100",
  };
  const figures: Record<string, number> = {};
  for (const [name, query] of Object.entries(classes)) {
    const taken: number[] = [];
    for (let n = 0; n < 100; n++) taken.push(await timed(() => server.ask("GET", `/Users?${query(n)}`)));
    figures[name] = taken.sort((a, b) => a - b)[98] ?? Number.NaN;
  }
  return figures;
}

function asked(filter: string): string {
  return `count=100&filter=${encodeURIComponent(filter)}`;
}

async function perSecond(count: number, work: (n: number) => Promise<void>): Promise<number> {
  let next = 0;
  const ms = await timed(() =>
    Promise.all(
      Array.from({ length: inFlight }, async () => {
        while (next < count) await work(next++);
      }),
    ),
  );
  return (count * 1000) / ms;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

interface Server extends AsyncDisposable {
  /** Sends one request; an answer that is no 2xx is an error of the benchmark. */
  ask(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
  rssMb(): number;
}

function rollcall(users: number): Promise<Server> {
  return started(["test/bench/scim-server.ts", String(users)], "/scim/default/v2");
}

function scimmy(): Promise<Server> {
  return started(["test/bench/scimmy-server.mjs"], "/scim");
}

async function started(args: readonly string[], base: string): Promise<Server> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [port = "", token = "any"] = (await firstLine(child)).split(" ");
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  return {
    ask: (method, path, body) => send(agent, Number(port), token, method, base + path, body),
    rssMb: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1024,
    async [Symbol.asyncDispose]() {
      agent.destroy();
      child.kill();
      await new Promise((resolve) => child.once("exit", resolve));
    },
  };
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error("no output to read");
  for await (const line of createInterface(child.stdout)) return line;
  throw new Error("the server ended before it listened");
}

function send(agent: Agent, port: number, token: string, method: string, path: string, body: unknown) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    authorization: `Bearer ${token}`,
    ...(text && { "content-type": "application/scim+json", "content-length": Buffer.byteLength(text) }),
  };
  return new Promise<Record<string, unknown>>((resolve, reject) => {
    const call = request({ agent, host: "127.0.0.1", port, method, path, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("end", () => {
        const answer = Buffer.concat(pieces).toString();
        if ((response.statusCode ?? 500) >= 300)
          reject(new Error(`${method} ${path}: ${response.statusCode} ${answer}`));
        else resolve(answer === "" ? {} : (JSON.parse(answer) as Record<string, unknown>));
      });
    });
    call.on("error", reject);
    call.end(text);
  });
}

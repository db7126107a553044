/**
 * SCIM at scale: our server as a real process, TLS and durable commits included, beside SCIMMY's routers with maps in
 * memory over plain HTTP; then how answers slow down from a hundred users to a hundred thousand.
 */

import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { TokenService } from "../../proto/gen/rollcall/v1/token_pb.ts";
import { openSqlite } from "../../server/store/sqlite.ts";
import { ControlPlane } from "../processes/control-plane.ts";
import { perSecond, quantile, type ScimClient, scimClient, times } from "./scim-client.ts";

export interface ScimFigures {
  readonly against: readonly { readonly what: string; readonly ours: number; readonly theirs: number }[];
  readonly scale: { readonly few: number; readonly many: number; readonly eqFew: number; readonly eqMany: number };
  /** p99 in milliseconds at the many; undefined: the server does not offer it. */
  readonly reads: readonly { readonly what: string; readonly p99: number | undefined }[];
  readonly group: {
    readonly members: number;
    readonly oursMs: number;
    readonly smallMs: number;
    readonly theirsMs: number;
  };
  readonly rssMb: { readonly few: number; readonly many: number };
}

const members = 10_000;
const writes = 1_000;

const person = (index: number) => ({
  schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
  userName: `user${index}@example.com`,
  name: { givenName: `Given${index}`, familyName: `Family${index}` },
  emails: [{ primary: true, value: `user${index}@example.com`, type: "work" }],
  displayName: `Given${index} Family${index}`,
  title: `Title${index}`,
  externalId: `external${index}`,
  active: true,
});

const patch = (...operations: object[]) => ({
  schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
  Operations: operations,
});

export async function scimAtScale(many: number, say: (text: string) => void): Promise<ScimFigures> {
  const few = 100;
  say("SCIMMY's routers: writes, a large group");
  const theirs = await theirFigures();
  say("ours: the same");
  await using plane = await ControlPlane.start();
  using client = await ourClient(plane);
  const ours = await writeFigures(client);
  const small = await largeGroup(client, 10, 100);
  const large = await largeGroup(client, members, 100);
  say(`${few} users`);
  const smaller = await atSize(few);
  say(`${many} users`);
  const larger = await atSize(many, say);
  return {
    against: [
      { what: "creates/s", ours: ours.creates, theirs: theirs.creates },
      { what: "PATCH/s", ours: ours.patches, theirs: theirs.patches },
    ],
    group: { members, oursMs: large, smallMs: small, theirsMs: theirs.groupMs },
    scale: { few, many, eqFew: smaller.eq, eqMany: larger.eq },
    reads: larger.reads,
    rssMb: { few: smaller.rssMb, many: larger.rssMb },
  };
}

async function theirFigures() {
  const child = fork(new URL("scimmy-server.mjs", import.meta.url), { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  try {
    child.send({ members });
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    using client = scimClient(`http://127.0.0.1:${port}/scim`, "bench");
    const figures = await writeFigures(client);
    return { ...figures, groupMs: await memberPatch(client, "large", "newcomer", 5) };
  } finally {
    child.kill();
    await once(child, "exit");
  }
}

async function ourClient(plane: ControlPlane): Promise<ScimClient> {
  const tokens = await plane.client(TokenService);
  const { token, baseUrl } = await tokens.createScimToken({ name: "bench" });
  return scimClient(baseUrl, token, await readFile(plane.caFile));
}

async function writeFigures(client: ScimClient): Promise<{ creates: number; patches: number }> {
  const ids: string[] = [];
  const creates = await perSecond(writes, async (index) => {
    ids[index] = String((await client.send("POST", "/Users", person(index)))["id"]);
  });
  const patches = await perSecond(writes, async (index) => {
    const body = patch({ op: "replace", path: "title", value: `Other${index}` });
    await client.send("PATCH", `/Users/${ids[index]}`, body);
  });
  return { creates, patches };
}

/** Milliseconds (median) to add or remove one member of a group that has so many. */
async function largeGroup(client: ScimClient, size: number, rounds: number): Promise<number> {
  const ids: string[] = [];
  await perSecond(size + 1, async (index) => {
    ids[index] = String((await client.send("POST", "/Users", person(1_000_000 * size + index)))["id"]);
  });
  const [newcomer = "", ...rest] = ids;
  const body = { displayName: `group-of-${size}`, members: rest.map((value) => ({ value })) };
  const { id } = await client.send("POST", "/Groups", body);
  return memberPatch(client, String(id), newcomer, rounds);
}

async function memberPatch(client: ScimClient, group: string, value: string, rounds: number): Promise<number> {
  let isIn = false;
  const taken = await times(rounds, async () => {
    const add = { op: "add", path: "members", value: [{ value }] };
    const remove = { op: "remove", path: `members[value eq "${value}"]` };
    await client.send("PATCH", `/Groups/${group}`, patch(isIn ? remove : add));
    isIn = !isIn;
  });
  return quantile(taken, 0.5);
}

/** A server whose store was filled to a size: how it reads. */
async function atSize(size: number, say: (text: string) => void = () => {}) {
  await using plane = await ControlPlane.start();
  using client = await ourClient(plane);
  await client.send("POST", "/Users", person(0));
  await plane.down();
  await fill(plane.data, size);
  await plane.up();
  const spread = (index: number) => (index * 7919) % size;
  const eq = quantile(await times(200, (index) => find(client, `userName eq "user${spread(index)}@example.com"`)), 0.5);
  const reads: { what: string; p99: number | undefined }[] = [];
  const read = async (what: string, act: (index: number) => Promise<unknown>) => {
    say(what);
    reads.push({
      what,
      p99: await times(100, act).then(
        (taken) => quantile(taken, 0.99),
        () => undefined,
      ),
    });
  };
  await read("list, 100 a page", (i) => client.send("GET", `/Users?startIndex=${1 + spread(i)}&count=100`));
  for (const [what, filter] of filters) await read(what, (index) => find(client, filter(spread(index))));
  return { eq, reads, rssMb: await rssMb(plane) };
}

const filters: readonly (readonly [string, (index: number) => string])[] = [
  ["eq", (i) => `userName eq "user${i}@example.com"`],
  ["ne", (i) => `title ne "Title${i}"`],
  ["co", (i) => `name.familyName co "mily${i}"`],
  ["sw", (i) => `userName sw "user${i}"`],
  ["ew", (i) => `userName ew "r${i}@example.com"`],
  ["gt", (i) => `userName gt "user${i}@"`],
  ["pr", () => "title pr"],
  ["and", (i) => `title eq "Title${i}" and active eq true`],
  ["or", (i) => `userName eq "user${i}@example.com" or externalId eq "external${i}"`],
  ["not", (i) => `not (title eq "Title${i}")`],
  ["emails[...]", (i) => `emails[type eq "work" and value eq "user${i}@example.com"]`],
];

async function find(client: ScimClient, filter: string): Promise<unknown> {
  return client.send("GET", `/Users?count=100&filter=${encodeURIComponent(filter)}`);
}

/** Writes users beside the one that SCIM made, each like it, through the store's own rows: a create each would take minutes. */
async function fill(data: string, size: number): Promise<void> {
  await using store = await openSqlite(join(data, "rollcall.db"), Date.now);
  await store.write(async (tx) => {
    const org = (await tx.clusters.org("default"))?.id ?? "";
    const model = await tx.users.byUserName(org, "user0@example.com");
    if (!model) throw new Error("no user to copy");
    const text = JSON.stringify(model);
    for (let index = 1; index < size; index++) {
      const copy = JSON.parse(
        text.replaceAll("user0@", `user${index}@`).replace(/(Given|Family|Title|external)0/g, `$1${index}`),
      ) as typeof model;
      const id = crypto.randomUUID();
      const [name, uid] = [`user${index}`, model.uid + index];
      await tx.users.put({ ...copy, id, name: name as typeof model.name, uid: uid as typeof model.uid });
    }
  });
}

async function rssMb(plane: ControlPlane): Promise<number> {
  const status = await readFile(`/proc/${plane.process.process.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(status)?.[1]) / 1024;
}

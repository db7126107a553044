/**
 * A control plane that was taken over, and a real agent: whatever it is sent, the node keeps what it holds, names the rule that
 * was broken, goes on, and does not grow. What the node's own policy forbids is not served even if all else is right.
 */

import { mkdir, mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { nothing, shift } from "../../identity/digest.ts";
import type { Position } from "../../identity/position.ts";
import { keyOf, type Resource } from "../../identity/resource.ts";
import { aGroup, aKey, aMember, aSudo, aUser } from "../../identity/testing.ts";
import type { SyncResponse } from "../../proto/gen/rollcall/v1/node_pb.ts";
import {
  DeltaSchema,
  SnapshotBeginSchema,
  SnapshotChunkSchema,
  SnapshotEndSchema,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import { printPosition, printResource } from "../../proto/wire.ts";
import { startBin } from "../processes/started.ts";
import { HostileServer } from "./hostile-server.ts";

type Say = SyncResponse["say"];

const epoch = { seq: 1n, id: "1".repeat(32) };
const held: readonly Resource[] = [
  ...Array.from({ length: 30 }, (_, n) => aUser(n)),
  aGroup(1),
  aMember(1, 1),
  aKey(1, "a"),
];

/** Where a copy of exactly these resources is. */
function positionOf(resources: readonly Resource[], revision: bigint): Position {
  return { epoch, revision, digest: shift(nothing, resources, []) };
}

function snapshot(resources: readonly Resource[], revision: bigint): Say[] {
  const to = printPosition(positionOf(resources, revision));
  const chunk = create(SnapshotChunkSchema, { resources: resources.map(printResource) });
  return [
    { case: "snapshotBegin", value: create(SnapshotBeginSchema, { to, resources: BigInt(resources.length) }) },
    ...(resources.length > 0 ? [{ case: "snapshotChunk" as const, value: chunk }] : []),
    { case: "snapshotEnd", value: create(SnapshotEndSchema, { to }) },
  ];
}

/** A delta whose digests are right, whatever is in it. */
function delta(from: readonly Resource[], puts: readonly Resource[], revision = 1n): Say {
  const keys = new Set(puts.map(keyOf));
  const after = [...from.filter((resource) => !keys.has(keyOf(resource))), ...puts];
  const value = create(DeltaSchema, {
    from: printPosition(positionOf(from, revision)),
    to: printPosition(positionOf(after, revision + 1n)),
    puts: puts.map(printResource),
  });
  return { case: "delta", value };
}

const evil = (fields: object): Resource => ({ ...aUser(99), ...fields }) as Resource;

const attacks: readonly (readonly [what: string, puts: readonly Resource[], reason: RegExp])[] = [
  ["uid 0", [evil({ uid: 0 })], /uid 0 is in 0\.\.999, which belongs to the system/],
  ["nobody's uid", [evil({ uid: 65_534 })], /uid 65534 is in/],
  ["the uid -1", [evil({ uid: 4_294_967_295 })], /uid 4294967295 is in/],
  ["the name root", [evil({ name: "root" })], /"root" is reserved for the system/],
  ["primary gid 27", [evil({ gid: 27 })], /gid 27 is in 0\.\.999/],
  ["a group of gid 27", [{ ...aGroup(9), gid: 27 } as Resource], /gid 27 is in 0\.\.999/],
  ["a member of gid 27", [{ ...aMember(9, 1), gid: 27 } as Resource], /gid 27 is in 0\.\.999/],
  ["a group named sudo", [{ ...aGroup(9), name: "sudo" } as Resource], /"sudo" is reserved/],
  ["a way up in a home", [evil({ home: "/home/../root" })], /home .* must be an absolute path/],
  ["the home /root/x", [evil({ home: "/root/x" })], /home .* is in a tree of the system's/],
  ["a way up in a shell", [evil({ shell: "/bin/../tmp/sh" })], /shell .* must be a program/],
  ["a second line", [evil({ gecos: "x\nroot2:x:0:0::/root:/bin/sh" })], /gecos .* must be printable/],
  ["a name that is a path", [evil({ name: "../../etc/passwd" })], /does not match/],
  ["sudo of a wildcard", [{ ...aSudo(1, ["/bin/*"]) } as Resource], /the command .* must be an absolute path/],
  ["sudo of a second rule", [{ ...aSudo(1, ["/bin/a\nALL ALL=(ALL) ALL"]) } as Resource], /the command .* must be/],
];

test("a control plane that was taken over gets nothing past the node", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-victim-"));
  await using hostile = await HostileServer.open();
  const [etc, state] = [join(folder.path, "etc"), join(folder.path, "state")];
  await mkdir(join(etc, "rollcall"), { recursive: true });
  const policy = "uids: [200000-200049]\nsudo: {}\nshrink: {people: 5, share: 0.5}\nsessions: leave\n";
  await writeFile(join(etc, "rollcall/policy.yaml"), policy);
  await writeFile(join(folder.path, "token"), "any");
  const options = {
    server: hostile.address,
    ca: hostile.caFile,
    "join-token-file": join(folder.path, "token"),
    state,
    etc,
  };
  const flags = Object.entries({ ...options, node: "victim" }).flatMap(([name, value]) => [`--${name}`, value]);
  await using agent = startBin("rollcall-agent", flags);
  const start = await hostile.hears("hello");
  expect(start.position?.revision).toBe(0n);
  hostile.say(...snapshot(held, 1n));
  expect((await hostile.hears("ack")).position?.revision).toBe(1n);
  const good = await servedIn(state);
  expect(Object.keys(good)).toContain("nss/passwd.cache");

  const unharmed = async (what: string): Promise<void> => {
    expect(await servedIn(state), what).toEqual(good);
    expect(agent.process.exitCode, what).toBeNull();
  };
  const refused = async (what: string, reason: RegExp, ...messages: readonly Say[]): Promise<void> => {
    hostile.say(...messages);
    const nack = await hostile.hears("nack");
    expect(nack.reason, what).toMatch(reason);
    expect(nack.at?.revision, what).toBe(1n);
    await unharmed(what);
  };

  for (const [what, puts, reason] of attacks) await refused(what, reason, delta(held, puts));
  // Everything at once, and good people among it: not half applied.
  await refused("one of many", /uid 0 is in/, delta(held, [aUser(40), evil({ uid: 0 }), aUser(41)]));
  await refused("a path in a removal", /does not name a resource/, {
    case: "delta",
    value: create(DeltaSchema, {
      from: printPosition(positionOf(held, 1n)),
      to: printPosition(positionOf(held, 2n)),
      removals: [{ key: "user/../../etc" }] as never,
    }),
  });
  await refused("a wrong end", /end digest would be/, {
    case: "delta",
    value: create(DeltaSchema, {
      from: printPosition(positionOf(held, 1n)),
      to: printPosition(positionOf(held, 2n)),
      puts: [printResource(aUser(40))],
    }),
  });
  await refused("another start", /does not fit/, delta(held.slice(1), [aUser(40)]));
  await refused("too large a snapshot", /at most \d+ are taken/, {
    case: "snapshotBegin",
    value: create(SnapshotBeginSchema, { to: printPosition(positionOf(held, 2n)), resources: 1n << 62n }),
  });

  const before = await memoryOf(agent.process.pid);
  const [begin, chunk] = snapshot(held, 2n);
  if (!begin || !chunk) throw new Error("no snapshot");
  hostile.say(begin);
  for (let n = 0; n < 20_000; n++) await hostile.flood(chunk);
  expect((await hostile.hears("nack")).reason).toMatch(/more than the \d+ resources that it announced/);
  hostile.say(begin);
  const empty: Say = { case: "snapshotChunk", value: create(SnapshotChunkSchema, {}) };
  for (let n = 0; n < 50_000; n++) await hostile.flood(empty);
  await refused("a snapshot that ends early", /ends with 0 of \d+ resources/, ...snapshot(held, 2n).slice(-1));
  expect((await memoryOf(agent.process.pid)) - before, "kB more than before").toBeLessThan(150_000);

  // Larger than any message may be: the stream ends, and the agent comes back with what it held.
  hostile.say(
    delta(
      held,
      Array.from({ length: 60_000 }, (_, n) => aUser(1_000 + n, { gecos: "x".repeat(100) })),
    ),
  );
  expect((await hostile.hears("hello")).position).toMatchObject({
    revision: 1n,
    digest: start.position && expect.anything(),
  });
  await unharmed("an oversized message");

  // All is right but for the node's own policy. Too few people are left: the whole step waits for the node's operator.
  await refused("an empty snapshot", /policy: this would take away 30 of 30 people/, ...snapshot([], 2n));
  // A number and a rule that are not this node's: left out by name, and nobody else waits.
  const more = [aUser(40, { name: "welcome" }), aUser(60, { name: "outsider" }), aSudo(1, "ALL")];
  hostile.say(delta(held, more));
  const { sinks } = await hostile.hears("ack");
  expect(Object.fromEntries(sinks.flatMap(({ isolated }) => isolated.map(({ key, reason }) => [key, reason])))).toEqual(
    {
      "user/200060": "policy: uid 200060 is outside 200000..200049 (uids)",
      "sudo/70001": "policy: the group group1 may run nothing (sudo)",
    },
  );
  const passwd = (await servedIn(state))["nss/passwd.cache"];
  expect(passwd).toContain("welcome:x:200040:");
  expect(passwd).not.toContain("outsider");
  expect(Object.keys(await servedIn(state))).not.toContain("sudo/rollcall");
  expect(await agent.end()).toBe(0);
});

async function servedIn(state: string): Promise<Record<string, string>> {
  const served = join(state, "served");
  const entries = await readdir(served, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(
    await Promise.all(
      files.map(async (path) => [path.slice(served.length + 1), await readFile(path, "latin1")] as const),
    ),
  );
}

/** Resident memory, kB. */
async function memoryOf(pid: number | undefined): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);
}

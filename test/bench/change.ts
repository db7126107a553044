/**
 * What changing one person costs the control plane, in a small directory and in a large one: everybody in one cluster, the
 * change committed with its revision. And what it writes: bytes of SQLite's write-ahead log, which are whole pages; and
 * sends: bytes of the delta to each node. A new node is sent everything: how long that takes to read, and what it is.
 */

import { randomBytes, randomUUIDv7 } from "node:crypto";
import { mkdtempDisposable, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import SqliteDatabase from "better-sqlite3";
import { origin, type Position } from "../../identity/position.ts";
import { orgId, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { createGroup, updateGroup } from "../../server/directory/groups.ts";
import { createUser, updateUser } from "../../server/directory/users.ts";
import { openSqlite } from "../../server/store/sqlite.ts";
import { Frames } from "../../server/stream/frames.ts";
import { median } from "./apply-one.ts";

export interface ChangeFigures {
  readonly people: readonly [small: number, large: number];
  readonly changes: readonly Change[];
  /** Of the large directory. */
  readonly snapshot: Snapshot;
}

export interface Change {
  readonly what: string;
  readonly ms: readonly [small: number, large: number];
  readonly kib: readonly [small: number, large: number];
  /** Of the delta that each node is sent. */
  readonly sentBytes: readonly [small: number, large: number];
  /** Of times: large by small. */
  readonly ratio: number;
}

/** Everything, as a new node is sent it. */
export interface Snapshot {
  /** Until every message is there to be sent; those after the first node are sent the same ones. */
  readonly ms: number;
  readonly messages: number;
  readonly mib: number;
}

const actor = { kind: "scim", connection: "bench" } as const;
const rounds = 50;

export async function changeBench(small: number, large: number, say: (text: string) => void): Promise<ChangeFigures> {
  const [few, many] = [await costs(small, say), await costs(large, say)];
  const changes = few.costs.map(({ what, ms, kib, sentBytes }, at) => {
    const other = many.costs[at] ?? { ms: Number.NaN, kib: Number.NaN, sentBytes: Number.NaN };
    const [written, sent] = [[kib, other.kib] as const, [sentBytes, other.sentBytes] as const];
    return { what, ms: [ms, other.ms] as const, kib: written, sentBytes: sent, ratio: other.ms / ms };
  });
  return { people: [small, large], changes, snapshot: many.snapshot };
}

interface Cost {
  readonly what: string;
  readonly ms: number;
  readonly kib: number;
  readonly sentBytes: number;
}

async function costs(people: number, say: (text: string) => void): Promise<{ costs: Cost[]; snapshot: Snapshot }> {
  say(`one change among ${people} people: making them`);
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-bench-change-"));
  const path = join(folder.path, "rollcall.db");
  await using store = await openSqlite(path, Date.now);
  const newSecret = () => randomBytes(32).toString("base64url");
  const ctx: Context = { store, now: Date.now, newId: randomUUIDv7, newSecret };
  await seed(ctx);
  const org = await orgId(ctx, "default");
  const ids: string[] = [];
  for (let from = 0; from <= people; from += 64) {
    const some = Array.from({ length: Math.min(64, people + 1 - from) }, (_, i) => person(from + i));
    ids.push(...(await Promise.all(some.map((each) => createUser(ctx, actor, org, each)))).map(({ id }) => id));
  }
  const late = ids.pop() ?? "";
  const group = await createGroup(ctx, actor, org, { displayName: "slurm-users", externalId: undefined, members: ids });
  // What was written so far goes over to the database: the log begins anew, and its size tells what is written from now on.
  using database = opened(path);
  database.pragma("wal_checkpoint(TRUNCATE)");
  say(`one change among ${people} people: changing them`);
  const frames = new Frames(store);
  const { id: cluster } = (await store.read((tx) => tx.clusters.byName("default"))) ?? { id: "" };
  const head = async (): Promise<Position> =>
    (await store.read((tx) => tx.clusters.get(cluster)))?.head.login ?? origin;
  const cost = async (what: string, act: (n: number) => Promise<unknown>): Promise<Cost> => {
    const taken: number[] = [];
    const written: number[] = [];
    const sent: number[] = [];
    for (let n = 0; n < rounds; n++) {
      const [size, at] = [(await stat(`${path}-wal`)).size, await head()];
      const from = performance.now();
      await act(n);
      taken.push(performance.now() - from);
      written.push(((await stat(`${path}-wal`)).size - size) / 1024);
      sent.push((await frames.delta(cluster, "login", at, await head()))?.length ?? Number.NaN);
    }
    return { what, ms: median(taken), kib: median(written), sentBytes: median(sent) };
  };
  const changed = [
    await cost("a person's name", (n) =>
      updateUser(ctx, actor, org, ids[(n * 7919) % people] ?? "", (user) => ({ ...user, fullName: `Name ${n}` })),
    ),
    await cost("one more or less in the group", (n) =>
      updateGroup(ctx, actor, org, group.id, [
        { kind: n % 2 === 0 ? "add-members" : "remove-members", members: [late] },
      ]),
    ),
  ];
  const from = performance.now();
  const { frames: messages } = await frames.snapshot(cluster, "login", await head());
  const bytes = messages.reduce((sum, { length }) => sum + length, 0);
  const snapshot = { ms: performance.now() - from, messages: messages.length, mib: bytes / 2 ** 20 };
  return { costs: changed, snapshot };
}

function opened(path: string): SqliteDatabase.Database & Disposable {
  const database = new SqliteDatabase(path);
  return Object.assign(database, { [Symbol.dispose]: () => void database.close() });
}

function person(n: number) {
  return { userName: `user${n}`, externalId: undefined, active: true, fullName: `User ${n}`, attributes: {} };
}

/**
 * What changing one person costs the control plane, in a small directory and in a large one: everybody in one cluster, the
 * change committed with its revision. And what it writes: bytes of SQLite's write-ahead log, which are whole pages.
 */

import { randomBytes, randomUUIDv7 } from "node:crypto";
import { mkdtempDisposable, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import SqliteDatabase from "better-sqlite3";
import { orgId, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { createGroup, updateGroup } from "../../server/directory/groups.ts";
import { createUser, updateUser } from "../../server/directory/users.ts";
import { openSqlite } from "../../server/store/sqlite.ts";
import { median } from "./apply-one.ts";

export interface ChangeFigures {
  readonly people: readonly [small: number, large: number];
  readonly changes: readonly Change[];
}

export interface Change {
  readonly what: string;
  readonly ms: readonly [small: number, large: number];
  readonly kib: readonly [small: number, large: number];
  /** Of times: large by small. */
  readonly ratio: number;
}

const actor = { kind: "scim", connection: "bench" } as const;
const rounds = 50;

export async function changeBench(small: number, large: number, say: (text: string) => void): Promise<ChangeFigures> {
  const [few, many] = [await costs(small, say), await costs(large, say)];
  const changes = few.map(({ what, ms, kib }, at) => {
    const other = many[at] ?? { ms: Number.NaN, kib: Number.NaN };
    return { what, ms: [ms, other.ms], kib: [kib, other.kib], ratio: other.ms / ms } as const;
  });
  return { people: [small, large], changes };
}

interface Cost {
  readonly what: string;
  readonly ms: number;
  readonly kib: number;
}

async function costs(people: number, say: (text: string) => void): Promise<Cost[]> {
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
  const cost = async (what: string, act: (n: number) => Promise<unknown>): Promise<Cost> => {
    const taken: number[] = [];
    const written: number[] = [];
    for (let n = 0; n < rounds; n++) {
      const [size, from] = [(await stat(`${path}-wal`)).size, performance.now()];
      await act(n);
      taken.push(performance.now() - from);
      written.push(((await stat(`${path}-wal`)).size - size) / 1024);
    }
    return { what, ms: median(taken), kib: median(written) };
  };
  return [
    await cost("a person's name", (n) =>
      updateUser(ctx, actor, org, ids[(n * 7919) % people] ?? "", (user) => ({ ...user, fullName: `Name ${n}` })),
    ),
    await cost("one more or less in the group", (n) =>
      updateGroup(ctx, actor, org, group.id, [
        { kind: n % 2 === 0 ? "add-members" : "remove-members", members: [late] },
      ]),
    ),
  ];
}

function opened(path: string): SqliteDatabase.Database & Disposable {
  const database = new SqliteDatabase(path);
  return Object.assign(database, { [Symbol.dispose]: () => void database.close() });
}

function person(n: number) {
  return { userName: `user${n}`, externalId: undefined, active: true, fullName: `User ${n}`, attributes: {} };
}

import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { Position } from "../../identity/position.ts";
import { seed } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { createGroup, removeGroup } from "../directory/groups.ts";
import { openSqlite } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { Hub } from "./hub.ts";

async function openHub(doorbell: "rings" | "is lost" | "rings twice") {
  const folder = await mkdtemp(join(tmpdir(), "rollcall-hub-"));
  const real = await openSqlite(join(folder, "rollcall.db"), Date.now);
  const store: Store = {
    ...real,
    onAppend(listener) {
      if (doorbell === "is lost") return { [Symbol.dispose]: () => {} };
      const times = doorbell === "rings" ? 1 : 2;
      return real.onAppend((cluster) => Array.from({ length: times }).forEach(() => listener(cluster)));
    },
  };
  const ctx: Context = { store, now: Date.now, newId: randomUUID, newSecret: randomUUID };
  await seed(ctx);
  const cluster = await store.read((tx) => tx.clusters.byName("default"));
  if (!cluster) throw new Error("no cluster default");
  const taken: string[] = [];
  const hub = new Hub(store, pino({ level: "silent" }), () => taken.push("something"));
  return {
    hub,
    taken,
    remove: async (group: string) => removeGroup(ctx, { kind: "admin" }, cluster.org, group),
    cluster: cluster.id,
    change: (displayName: string) =>
      createGroup(ctx, { kind: "admin" }, cluster.org, { displayName, externalId: undefined, members: [] }),
    async [Symbol.asyncDispose]() {
      hub[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

test.each(["rings", "is lost", "rings twice"] as const)(
  "a doorbell that %s: followers learn of a new head",
  async (how) => {
    await using directory = await openHub(how);
    const { hub, cluster } = directory;
    expect((await hub.head(cluster, "login")).revision).toBe(1n);
    const told: Position[] = [];
    const moved = new Promise<void>((resolve) => {
      hub.follow({
        cluster,
        role: "login",
        moved: (head) => {
          told.push(head);
          if (head.revision === 2n) resolve();
        },
      });
    });
    await directory.change("slurm-users");
    await moved;
    expect(told.map(({ revision }) => revision)).toEqual([1n, 2n]);
  },
);

test("it is told when something was taken away, and only then", async () => {
  await using directory = await openHub("rings");
  const { hub, cluster, taken } = directory;
  await hub.head(cluster, "login");
  const group = await directory.change("slurm-users");
  expect((await hub.head(cluster, "login")).revision).toBe(2n);
  expect(taken).toEqual([]);
  await directory.remove(group.id);
  expect((await hub.head(cluster, "login")).revision).toBe(3n);
  expect(taken).toEqual(["something"]);
});

test("a head that is seen because a node connects is told to those that follow already", async () => {
  await using directory = await openHub("is lost");
  const { hub, cluster } = directory;
  await hub.head(cluster, "login");
  const moved = new Promise<Position>((resolve) => {
    hub.follow({ cluster, role: "login", moved: (head) => head.revision === 2n && resolve(head) });
  });
  await directory.change("slurm-users");
  expect((await hub.head(cluster, "login")).revision).toBe(2n);
  expect((await moved).revision).toBe(2n);
});

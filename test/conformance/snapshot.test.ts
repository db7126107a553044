/** A snapshot is read in slices while the directory goes on changing: it must be of its revision, to the line. */

import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { keyOf, print, type Resource, user } from "../../identity/resource.ts";
import { getCluster, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { advance, snapshotAt } from "../../server/directory/snapshot.ts";
import { openStore } from "../../server/store/engine.ts";
import type { OwnedEdit } from "../../server/store/log.ts";
import { newDatabase } from "../processes/postgres.ts";
import { dice } from "../random.ts";

const people = 3000;

test("at any of the last revisions, however much is written meanwhile", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rollcall-snapshot-"));
  await using store = await openStore(await newDatabase(folder), () => 1);
  const ctx: Context = { store, now: () => 1, newId: randomUUID, newSecret: randomUUID };
  await seed(ctx);
  const { cluster } = await getCluster(ctx, "default");
  const chance = dice(7);
  const random = (sides: number): number => chance.roll(sides);
  const held = new Map<string, Resource>();
  const states = ["", ""];

  async function change(count: number): Promise<void> {
    const edits = new Map<string, OwnedEdit>();
    for (let i = 0; i < count; i++) {
      const after = person(random(people), random(1000));
      const key = keyOf(after);
      const before = held.get(key);
      edits.set(key, { key, before, after: before && random(10) < 4 ? undefined : after, owner: "x" });
    }
    await store.write((tx) => tx.log.append(cluster.id, [...edits.values()], "change", 1));
    for (const { key, after } of edits.values()) {
      if (after) held.set(key, after);
      else held.delete(key);
    }
    states.push(text(held.values()));
  }

  await change(2 * people);
  for (let round = 0; round < 15; round++) {
    const at = states.length - 1 - random(Math.min(5, states.length - 2));
    const reading = snapshotAt(ctx, cluster.id, "login", BigInt(at));
    let isRead = false;
    const read = reading.finally(() => (isRead = true));
    while (!isRead) {
      await change(30);
      await setImmediate();
    }
    const snapshot = await read;
    expect(text(snapshot.values()) === states[at], `revision ${at}`).toBe(true);
    const to = states.length - 1;
    const next = await advance(ctx, cluster.id, "login", { from: BigInt(at), to: BigInt(to), held: snapshot });
    expect(text(next.values()) === states[to], `revision ${at} advanced to ${to}`).toBe(true);
  }
  expect(states.length).toBeGreaterThan(30);
  await rm(folder, { recursive: true });
});

function person(number: number, generation: number): Resource {
  const name = `p${number}`;
  const uid = 200_000 + number;
  return user({
    uid,
    gid: uid,
    name,
    gecos: `g${generation}`,
    home: `/home/${name}`,
    shell: "/bin/bash",
    locked: false,
  });
}

function text(resources: Iterable<Resource>): string {
  return [...resources].map(print).sort().join("\n");
}

/** What nodes proved is written behind, some at a time; a write that fails is tried again, and loses nothing. */

import { pino } from "pino";
import { expect, test } from "vitest";
import { origin } from "../../identity/position.ts";
import { enrol } from "../../server/directory/nodes.ts";
import { createJoinToken } from "../../server/directory/tokens.ts";
import { Ledger } from "../../server/rollout/ledger.ts";
import type { Store } from "../../server/store/store.ts";
import { admin, openDirectory } from "./directory.ts";
import { openSite } from "./site.ts";

const issue = () =>
  Promise.resolve({ chainPem: "", serial: "01", notAfter: 2_000_000_000_000, trustPem: "", trusted: [] });

const link = { ahead: false, head: origin, end: () => undefined, resync: () => undefined };

test("what a node refused is remembered over a restart of the server", async () => {
  await using directory = await openDirectory();
  const { ctx, cluster } = directory;
  const silent = pino({ level: "silent" });
  const { secret } = await createJoinToken(ctx, admin, "default", "login");
  const { node } = await enrol(ctx, secret, "n", () => false, issue);
  const refusal = { instance: "run 1", position: { ...origin, revision: 7n } };
  {
    await using before = new Ledger(ctx, silent);
    before.enrolled(node, false);
    const entry = before.entry(cluster, "n");
    if (entry) before.note(entry, { progress: { refusal } });
  }
  await using after = new Ledger(ctx, silent);
  await after.load();
  const entry = after.entry(cluster, "n");
  expect(entry?.progress.refusal).toEqual(refusal);
  // Once it holds something newer, the refusal is past.
  if (entry) after.acked(entry, { ...origin, revision: 8n }, "delta");
  expect(entry?.progress.refusal).toBeUndefined();
});

test("two agents with one identity are told from one that restarts", async () => {
  await using directory = await openDirectory();
  const { ctx, cluster } = directory;
  const told: unknown[] = [];
  const ledger = new Ledger(ctx, { error: (...said: unknown[]) => void told.push(said) });
  const { secret } = await createJoinToken(ctx, admin, "default", "login");
  const { node } = await enrol(ctx, secret, "n", () => false, issue);
  ledger.enrolled(node, false);
  const entry = ledger.entry(cluster, "n");
  if (!entry) throw new Error("no such node");
  const says = (instance: string): void =>
    ledger.greeted(entry, link, {
      instance,
      software: "",
      highestUid: 0,
      highestGid: 0,
      epoch: 1n,
      ahead: false,
      comparing: false,
      known: true,
    });
  for (const run of ["first", "first", "second", "second", "third"]) says(run);
  expect(told).toEqual([]);
  says("second");
  expect(told).toEqual([[{ cluster, node: "n" }, "two agents have one node's identity"]]);
});

test("a revision is held once each node proved it whose stream is here", async () => {
  await using directory = await openDirectory();
  const { ctx, cluster } = directory;
  const ledger = new Ledger(ctx, pino({ level: "silent" }));
  const at = (revision: bigint) => ({ ...origin, revision });
  expect(ledger.isHeld(cluster, at(7n)), "without nodes").toBe(true);
  const entries = await Promise.all(
    ["one", "two", "away"].map(async (name) => {
      const { secret } = await createJoinToken(ctx, admin, "default", "login");
      ledger.enrolled((await enrol(ctx, secret, name, () => false, issue)).node, false);
      const entry = ledger.entry(cluster, name);
      if (!entry) throw new Error("no such node");
      if (name !== "away") ledger.note(entry, { link });
      return entry;
    }),
  );
  const [one, two] = entries;
  if (!one || !two) throw new Error("no such nodes");
  ledger.acked(one, at(8n), "delta");
  expect(ledger.isHeld(cluster, at(7n)), "one has proved nothing").toBe(false);
  ledger.acked(two, at(6n), "delta");
  expect(ledger.isHeld(cluster, at(7n)), "one is behind").toBe(false);
  ledger.acked(two, at(7n), "delta");
  expect(ledger.isHeld(cluster, at(7n))).toBe(true);
  expect(ledger.isHeld(cluster, { ...at(7n), epoch: { seq: 2n, id: "another" } }), "of another epoch").toBe(false);
});

test("a node that acks was heard of, without a heartbeat", async () => {
  await using directory = await openDirectory();
  const { ctx, cluster } = directory;
  const ledger = new Ledger({ ...ctx, now: () => 1_700_000_000_000 }, pino({ level: "silent" }));
  const { secret } = await createJoinToken(ctx, admin, "default", "login");
  ledger.enrolled((await enrol(ctx, secret, "n", () => false, issue)).node, false);
  const entry = ledger.entry(cluster, "n");
  if (entry) ledger.acked(entry, { ...origin, revision: 1n }, "delta");
  expect(entry?.progress.seenAt).toBe(1_700_000_000_000);
});

test("a failed write of progress is told once, and the next one writes it", async () => {
  await using directory = await openDirectory();
  const { ctx, cluster } = directory;
  let isFull = false;
  const store: Store = {
    ...ctx.store,
    write: (command) => (isFull ? Promise.reject(new Error("database or disk is full")) : ctx.store.write(command)),
  };
  const ledger = new Ledger({ ...ctx, store }, pino({ level: "silent" }));
  for (let n = 0; n < 250; n++) {
    const { secret } = await createJoinToken(ctx, admin, "default", "login");
    const { node } = await enrol(ctx, secret, `n${n}`, () => false, issue);
    ledger.enrolled(node, false);
    const entry = ledger.entry(cluster, node.name);
    if (entry) ledger.note(entry, { progress: { software: "test" } });
  }
  const written = async (): Promise<number> => {
    const nodes = await ctx.store.read((tx) => tx.nodes.all());
    return nodes.filter(({ progress }) => progress.software === "test").length;
  };
  isFull = true;
  await expect(ledger.save()).rejects.toThrow(/write progress/);
  isFull = false;
  await ledger.save();
  expect(await written()).toBe(100);
  await ledger[Symbol.asyncDispose]();
  expect(await written()).toBe(250);
});

test("what a sink settled in an epoch that is past counts for nothing in the next one", async () => {
  await using site = await openSite();
  const ctl = await site.node("ctl", "controller");
  ctl.slurm(7n, [], "slow");
  expect(ctl.entry.progress.sinks).toMatchObject([{ revision: 7n, reason: "slow" }]);
  const acked = ctl.entry.progress.acked ?? origin;
  site.ledger.acked(ctl.entry, { ...acked, epoch: { seq: 2n, id: "b".repeat(32) } }, "snapshot");
  expect(ctl.entry.progress.sinks).toMatchObject([{ revision: 0n, reason: "slow" }]);
});

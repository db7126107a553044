/** Whose sessions end, and when; how they do is end.test.ts's. */

import { expect, test } from "vitest";
import { commit, emptyCopy } from "../../../identity/copy.ts";
import type { Uid } from "../../../identity/id.ts";
import type { Resource } from "../../../identity/resource.ts";
import { firstStep, key, person, stepTo } from "../../sample.ts";
import { whyNoSessions } from "./powers.ts";
import type { Process } from "./processes.ts";
import { sessionsSink } from "./sink.ts";

/** A sink in a world where everybody has one process, who ends when asked to, and time passes only in sleeps. */
function world(
  options: {
    rule?: "end" | "leave" | undefined;
    mayEnd?: (uid: Uid) => boolean;
    waits?: boolean;
    unable?: string;
  } = {},
) {
  const stop = new AbortController();
  const sessions = new Map<Uid, Process>();
  const ended: Uid[] = [];
  const told: string[] = [];
  let now = 0;
  let wall = 0;
  const sleepers: { at: number; wake: () => void }[] = [];
  const sink = sessionsSink({
    processes: {
      of: (uids) => [...sessions.values()].filter(({ uid }) => uids.has(uid)),
      signal: ({ uid }) => {
        if (options.waits) return;
        sessions.delete(uid);
        ended.push(uid);
      },
    },
    sweep: async () => "done",
    clock: {
      now: () => (wall += 86_400_000),
      elapsed: () => now,
      // Of the sink's own looks, which wait longer; endAll's are at once.
      sleep: async (ms) => {
        if (ms < 100) now += ms;
        else await new Promise<void>((wake) => sleepers.push({ at: now + ms, wake }));
      },
      random: () => 0.5,
    },
    patience: { grace: 100, burial: 100, limit: 1_000 },
    rule: () => options.rule ?? (options.rule === undefined && "rule" in options ? fail() : "end"),
    whyUnable: () => options.unable,
    mayEnd: options.mayEnd ?? (() => true),
    tell: (what) => told.push(what),
    signal: stop.signal,
  });
  const copy = emptyCopy();
  return {
    sink,
    ended,
    told,
    sessions,
    signIn: (n: number) => {
      const { uid } = person(n);
      sessions.set(uid, { pid: n, start: String(now), uid, as: "own", state: "running" });
    },
    take: async (content: readonly Resource[]) => {
      const step = copy.resources.size === 0 ? firstStep(content) : stepTo(copy, content);
      await sink.render(copy, step);
      commit(copy, step);
      return (await sink.act?.({ step, shown: content, isWhole: false })) ?? [];
    },
    pass: async (ms: number) => {
      for (const end = now + ms; ; ) {
        await new Promise((resolve) => setImmediate(resolve));
        const at = sleepers.findIndex((each) => each.at <= end);
        const [next] = at < 0 ? [] : sleepers.splice(at, 1);
        if (!next) return void (now = Math.max(now, end));
        now = Math.max(now, next.at);
        next.wake();
      }
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}

function fail(): never {
  throw new Error("this node's role is not known");
}

const uid = (n: number) => person(n).uid;

test("who goes, or becomes locked; not who is renamed, loses a key, or was locked before", async () => {
  using node = world();
  await node.take([person(1), person(2), person(3), person(4), person(5), key(4, 1)]);
  for (const n of [1, 2, 3, 4, 5, 6]) node.signIn(n);
  await node.take([{ ...person(2), locked: true }, person(3, { name: "renamed" }), person(4), person(5)]);
  expect(node.ended).toEqual([uid(1), uid(2)]);
  expect(node.told).toEqual(["sessions ended"]);
  node.signIn(2);
  await node.take([{ ...person(2, { gecos: "New" }), locked: true }, person(3), person(4), person(5)]);
  expect(new Set(node.sessions.keys())).toEqual(new Set([2, 3, 4, 5, 6].map(uid)));
});

test("nobody whom the node may not touch, and nobody where sessions are left alone", async () => {
  using careful = world({ mayEnd: (each) => each !== uid(1) });
  using lenient = world({ rule: "leave" });
  for (const node of [careful, lenient]) {
    await node.take([person(1), person(2), person(3)]);
    for (const n of [1, 2]) node.signIn(n);
    await node.take([person(3)]);
  }
  expect(careful.ended).toEqual([uid(2)]);
  expect(lenient.ended).toEqual([]);
});

test("a node that does not know its role lets a step wait only if somebody leaves", async () => {
  using node = world({ rule: undefined });
  await node.take([person(1), person(2)]);
  await expect(node.take([person(2)])).rejects.toThrow("role is not known");
});

test("who was signing in meanwhile is found later, for as long as sshd lets anybody try", async () => {
  using node = world();
  await node.take([person(1), person(2)]);
  await node.take([person(2)]);
  await node.pass(300);
  node.signIn(1);
  node.signIn(2);
  await node.pass(1_000);
  expect(node.ended).toEqual([uid(1)]);
  await node.pass(115_000);
  node.signIn(1);
  await node.pass(6_000);
  expect(node.ended).toEqual([uid(1), uid(1)]);
  await node.pass(60_000);
  node.signIn(1);
  await node.pass(60_000);
  expect(node.ended, "for ever").toHaveLength(2);
});

test("who comes back is not looked for any more", async () => {
  using node = world();
  await node.take([person(1), person(2)]);
  await node.take([person(2)]);
  await node.take([person(1), person(2)]);
  node.signIn(1);
  await node.pass(60_000);
  expect(node.ended).toEqual([]);
});

test("what waits in the kernel is named", async () => {
  using node = world({ waits: true });
  await node.take([person(1), person(2)]);
  node.signIn(1);
  expect(await node.take([person(2)])).toEqual([
    { key: "user/200001", reason: "sessions: killed, and still waiting in the kernel: process 1" },
  ]);
});

test("an agent that can end nothing says whose sessions are left, and lets the step pass", async () => {
  using node = world({ unable: "it may not" });
  await node.take([person(1), person(2)]);
  node.signIn(1);
  expect(await node.take([person(2)])).toEqual([{ key: "user/200001", reason: "sessions: it may not" }]);
  expect(node.ended).toEqual([]);
});

test.each([
  ["CapEff:\t000001ffffffffff", true, undefined],
  ["CapEff:\t00000000000000e0", true, undefined],
  ["CapEff:\t00000000000000c0", true, "CAP_KILL"],
  ["CapEff:\t0000000000000000", true, "CAP_KILL"],
  ["", true, "CAP_KILL"],
  ["CapEff:\t000001ffffffffff", false, "hidepid"],
  ["Pid:\t1\nCapEff:\t000001ffffffffff", true, "hostPID"],
])("with %j, and the first process seen: %s, it can end: %s", (status, seesInit, why) => {
  const found = whyNoSessions(`Name:\tnode\n${status}\nCapBnd:\t00000000000000e0\n`, seesInit);
  if (why === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(why);
});

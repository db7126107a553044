/** What the agent writes down of itself, and what of that is bounded. */

import { expect, test } from "vitest";
import { origin } from "../identity/position.ts";
import type { Comparison } from "./compare/comparer.ts";
import { Lease } from "./lease.ts";
import { unstated } from "./policy/policy.ts";
import { Reporter } from "./reporter.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { type Health, mostLingering } from "./sink.ts";
import { thisRun } from "./status.ts";

function reporter(isolated = 0) {
  const clock = {
    wall: 1_000,
    boot: "boot",
    now: () => clock.wall,
    elapsed: () => clock.wall,
    uptime: () => clock.wall,
    random: () => 0.5,
    sleep: async () => undefined,
  };
  const key = "user/200001" as const;
  const made = new Reporter({
    ...{ clock, disk: new SimulatedDisk(), state: "/state", software: "agent 1", node: "n1", server: "c:8444" },
    ...{ comparing: false, run: thisRun(), lease: new Lease(clock), log: { warn: () => undefined } },
    replica: { at: origin, reports: [{ sink: "nss", isolated: Array(isolated).fill({ key, reason: "no" }) }] },
    gate: { policy: unstated, isWithdrawn: false },
  });
  return { made, clock };
}

test("a sink of its own pace is told as it is, with the time since which it gives its reason", () => {
  const { made, clock } = reporter();
  let health: Health | undefined = { sink: "slurm", revision: 3n, reason: "slurmdbd is away", lingering: [] };
  const listeners: (() => void)[] = [];
  made.trails({
    applied: () => undefined,
    get health() {
      return health;
    },
    onChange: (listener) => void listeners.push(listener),
  });
  expect(listeners).toHaveLength(1);
  const sinks = () => made.status(false).sinks;
  const away = { sink: "slurm", revision: "3", reason: "slurmdbd is away", since: 1_000, lingering: [] };
  expect(sinks()).toEqual([away]);
  clock.wall = 2_000;
  expect(sinks()).toEqual([away]);
  health = { ...health, reason: "refused" };
  expect(sinks()).toEqual([{ ...away, reason: "refused", since: 2_000 }]);
  health = { ...health, revision: 4n, reason: "", lingering: Array.from({ length: 2_000 }, (_, n) => n) };
  expect(sinks()).toEqual([
    { sink: "slurm", revision: "4", reason: "", lingering: Array.from({ length: mostLingering }, (_, n) => n) },
  ]);
  health = undefined;
  expect(sinks(), "switched off").toEqual([]);
});

test("of many entries that are not served the first are named, and all are counted", () => {
  const { isolated } = reporter(5_000).made.status(false);
  expect(isolated.count).toBe(5_000);
  expect(isolated.first).toHaveLength(100);
});

test("what the server is told is another object only when it changed", () => {
  const { made } = reporter();
  const first = made.report;
  expect(made.report).toBe(first);
  made.drifted({ count: 1, lastAt: 5, files: ["a"], strays: [], faults: [] });
  const second = made.report;
  expect(second).not.toBe(first);
  made.compared({ at: 1, revision: "4", fault: "", differences: [] } as unknown as Comparison);
  expect(made.report).not.toBe(second);
  expect(made.report.comparison?.revision).toBe(4n);
});

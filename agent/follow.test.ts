import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { emptyCopy } from "../identity/copy.ts";
import { nothing, shift } from "../identity/digest.ts";
import { origin } from "../identity/position.ts";
import {
  type NodeReport,
  NodeReportSchema,
  type SyncRequest,
  type SyncResponse,
} from "../proto/gen/rollcall/v1/node_pb.ts";
import { printDelta, protocols } from "../proto/wire.ts";
import { follow } from "./follow.ts";
import type { Replica } from "./replica.ts";
import { person } from "./sample.ts";
import { mostLingering } from "./sink.ts";
import type { Listener, Uplink } from "./uplink.ts";

/** A node whose certificate is good, and whose connection is a played one. */
function membershipOf(uplink: object) {
  return { connect: async () => uplink as Uplink, renewWithin: () => undefined, onRenewed: () => undefined };
}

/** Follows a server that answers the Hello by a Welcome of some protocol; tells whether the agent goes on with it. */
async function welcomed(protocol: number): Promise<"stays" | "ends"> {
  const stopping = new AbortController();
  const { promise, resolve } = Promise.withResolvers<"stays" | "ends">();
  const value = { protocol, node: "n", mode: 1, heartbeatInterval: { seconds: 5n, nanos: 0 } };
  const uplink = {
    sync(listener: Listener) {
      const end = (): void => {
        resolve("ends");
        listener.closed(undefined);
      };
      const say = (): void => {
        listener.heard({ say: { case: "welcome", value } } as unknown as SyncResponse);
        resolve("stays");
      };
      return { say, end };
    },
    isConnected: true,
    [Symbol.dispose]: () => undefined,
  };
  const following = follow({
    replica: { at: origin, highest: { uid: 0, gid: 0 }, reports: [], onReports: () => undefined } as unknown as Replica,
    membership: membershipOf(uplink),
    clock: { now: () => 0, elapsed: () => 0, random: () => 0, sleep: () => new Promise((done) => setImmediate(done)) },
    log: pino({ level: "silent" }),
    signal: stopping.signal,
    software: "test",
    instance: "test",
  });
  const how = await promise;
  stopping.abort();
  await following;
  return how;
}

test.each([
  [protocols.oldest, "stays"],
  [protocols.newest, "stays"],
  [0, "ends"],
  [protocols.newest + 1, "ends"],
])("a server that speaks protocol %i: the agent %s", async (protocol, how) => {
  expect(await welcomed(protocol)).toBe(how);
});

test("what it says of thousands is bounded: entries that a sink isolates, and people with jobs left", async () => {
  const stopping = new AbortController();
  const said: SyncRequest["say"][] = [];
  const puts = [person(1)];
  const to = { ...origin, revision: 1n, digest: shift(nothing, puts, []) };
  const delta = printDelta({ from: origin, to, puts, removals: [] });
  const welcome = { protocol: protocols.newest, node: "n", mode: 2, heartbeatInterval: { seconds: 5n, nanos: 0 } };
  let at = origin;
  const uplink = {
    sync: (listener: Listener) => ({
      say(message: SyncRequest["say"]) {
        said.push(message);
        const hear = (say: object) => listener.heard({ say } as unknown as SyncResponse);
        if (message.case === "hello") {
          hear({ case: "welcome", value: welcome });
          hear({ case: "delta", value: delta });
        }
        if (message.case === "ack") stopping.abort();
      },
      end: () => listener.closed(undefined),
    }),
    isConnected: true,
    [Symbol.dispose]: () => undefined,
  };
  const isolated = Array.from({ length: 5_000 }, () => ({ key: "user/200001", reason: "no" }));
  const replica = {
    get at() {
      return at;
    },
    copy: emptyCopy(),
    highest: { uid: 0, gid: 0 },
    reports: [],
    onReports: () => undefined,
    apply: async () => {
      at = to;
      return [{ sink: "nss", isolated }];
    },
  };
  const lingering = Array.from({ length: 5_000 }, (_, n) => n);
  await follow({
    replica: replica as unknown as Replica,
    membership: membershipOf(uplink),
    trailing: [
      {
        applied: () => undefined,
        health: { sink: "slurm", revision: 0n, reason: "", lingering },
        onChange: () => undefined,
      },
    ],
    clock: {
      now: () => 0,
      elapsed: () => 0,
      random: () => 0,
      // Nothing is to happen by itself meanwhile.
      sleep: (ms, signal) =>
        new Promise((done) => (ms === 0 ? done() : signal.addEventListener("abort", () => done(), { once: true }))),
    },
    log: pino({ level: "silent" }),
    signal: stopping.signal,
    software: "test",
    instance: "test",
  });
  const ack = said.find((say) => say.case === "ack");
  expect(ack?.value.sinks.map((each) => each.isolated.length)).toEqual([100]);
  const beat = said.find((say) => say.case === "heartbeat");
  expect(beat?.value.sinks.map((each) => each.lingering.length)).toEqual([mostLingering]);
});

test("what sinks cannot serve is told anew when it changes without a step, of what the server knows that it holds", async () => {
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const acks: number[] = [];
  let reports: { sink: string; isolated: { key: string; reason: string }[] }[] = [];
  let changed = (): void => undefined;
  let hear: (say: object) => void = () => undefined;
  let end = (): void => undefined;
  let hellos = 0;
  const uplink = {
    sync: (listener: Listener) => ({
      say(message: SyncRequest["say"]) {
        if (message.case === "hello") hellos += 1;
        if (message.case === "ack")
          acks.push(message.value.sinks.reduce((sum, { isolated }) => sum + isolated.length, 0));
        hear = (say) => listener.heard({ say } as unknown as SyncResponse);
        end = () => listener.closed(undefined);
      },
      end: () => listener.closed(undefined),
    }),
    isConnected: true,
    [Symbol.dispose]: () => undefined,
  };
  const following = follow({
    replica: {
      at: { ...origin, revision: 1n },
      highest: { uid: 0, gid: 0 },
      get reports() {
        return reports;
      },
      onReports: (listener: () => void) => (changed = listener as () => undefined),
    } as unknown as Replica,
    membership: membershipOf(uplink),
    clock: {
      now: () => 0,
      elapsed: () => 0,
      random: () => 0,
      sleep: (ms, signal) =>
        new Promise((done) =>
          ms < 5_000 ? setImmediate(done) : signal.addEventListener("abort", () => done(), { once: true }),
        ),
    },
    log: pino({ level: "silent" }),
    signal: stopping.signal,
    software: "test",
    instance: "test",
  });
  const turn = () => new Promise((done) => setImmediate(done));
  const welcome = (mode: number) =>
    hear({
      case: "welcome",
      value: { protocol: protocols.newest, node: "n", mode, heartbeatInterval: { seconds: 5n, nanos: 0 } },
    });
  const be = (isolated: number): void => {
    reports = [
      { sink: "sudo", isolated: Array.from({ length: isolated }, () => ({ key: "sudo/1", reason: "waits" })) },
    ];
    changed();
  };
  const reconnected = async (): Promise<void> => {
    const before = hellos;
    end();
    while (hellos === before) await turn();
  };
  while (hellos === 0) await turn();
  be(3);
  expect(acks, "not before it is welcome").toEqual([]);
  welcome(3);
  be(2);
  expect(acks, "nor when it is to be sent a snapshot: the server knows of nothing").toEqual([]);
  await reconnected();
  welcome(1);
  expect(acks, "what an earlier run told may be old").toEqual([2]);
  be(2);
  expect(acks).toEqual([2]);
  be(0);
  expect(acks).toEqual([2, 0]);
  await reconnected();
  welcome(2);
  expect(acks, "it was told of that").toEqual([2, 0]);
  be(1);
  expect(acks).toEqual([2, 0, 1]);
  stopping.abort();
  await following;
});

test("it says that it is there when it said nothing else for as long, or sees something new on its node", async () => {
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const said: string[] = [];
  const sleepers: { due: number; wake: () => void }[] = [];
  let now = 0;
  let report: NodeReport | undefined;
  let isolated = 0;
  let changed = (): void => undefined;
  const value = { protocol: protocols.newest, node: "n", mode: 1, heartbeatInterval: { seconds: 5n, nanos: 0 } };
  const uplink = {
    sync: (listener: Listener) => ({
      say({ case: kind }: SyncRequest["say"]) {
        said.push(`${now} ${kind}`);
        if (kind === "hello") listener.heard({ say: { case: "welcome", value } } as unknown as SyncResponse);
      },
      end: () => listener.closed(undefined),
    }),
    isConnected: true,
    [Symbol.dispose]: () => undefined,
  };
  const following = follow({
    replica: {
      at: { ...origin, revision: 1n },
      highest: { uid: 0, gid: 0 },
      get reports() {
        return [{ sink: "sudo", isolated: [{ key: "sudo/1", reason: `${isolated}` }] }];
      },
      onReports: (listener: () => void) => (changed = listener as () => undefined),
    } as unknown as Replica,
    membership: membershipOf(uplink),
    clock: {
      now: () => now,
      elapsed: () => now,
      random: () => 0.5,
      sleep: (ms, signal) =>
        new Promise((wake) => {
          sleepers.push({ due: now + ms, wake });
          signal.addEventListener("abort", () => wake(), { once: true });
        }),
    },
    report: () => report,
    log: pino({ level: "silent" }),
    signal: stopping.signal,
    software: "test",
    instance: "test",
  });
  const until = async (time: number): Promise<void> => {
    for (; now < time; now += 500) {
      for (const { due, wake } of sleepers) if (due <= now) wake();
      await new Promise((done) => setImmediate(done));
    }
  };
  await until(8_000);
  isolated = 1;
  changed();
  await until(14_000);
  isolated = 2;
  changed();
  report = create(NodeReportSchema, { faults: ["a disk is full"] });
  await until(19_000);
  stopping.abort();
  await following;
  expect(said).toEqual([
    "0 hello",
    "0 ack",
    "5000 heartbeat",
    "8000 ack",
    "13000 heartbeat",
    "14000 ack",
    "18000 heartbeat",
  ]);
});

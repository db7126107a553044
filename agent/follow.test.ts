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
import type { Clock } from "./clock.ts";
import { follow } from "./follow.ts";
import type { Replica } from "./replica.ts";
import { person } from "./sample.ts";
import { mostLingering } from "./sink.ts";
import type { Listener, Uplink } from "./uplink.ts";

/** A node whose certificate is good, and whose connection is a played one. */
function membershipOf(uplink: object) {
  return { connect: async () => uplink as Uplink, renewWithin: () => undefined, onRenewed: () => undefined };
}

/** A connection to a played server, which hears what the agent says. */
function uplinkTo(hear: (said: SyncRequest["say"], listener: Listener) => void) {
  return {
    sync: (listener: Listener) => ({
      say: (said: SyncRequest["say"]) => hear(said, listener),
      end: () => listener.closed(undefined),
    }),
    isConnected: true,
    [Symbol.dispose]: () => undefined,
  };
}

function answer(listener: Listener, say: object): void {
  listener.heard({ say } as unknown as SyncResponse);
}

function welcome(mode: number, protocol: number = protocols.newest) {
  return { case: "welcome", value: { protocol, node: "n", mode, heartbeatInterval: { seconds: 5n, nanos: 0 } } };
}

/** A node that holds revision 1, and of whose sinks others may say what they cannot serve. */
class Holding {
  readonly at = { ...origin, revision: 1n };
  readonly highest = { uid: 0, gid: 0 };
  reports: { sink: string; isolated: { key: string; reason: string }[] }[] = [];
  #changed = (): void => undefined;

  onReports(listener: () => void): void {
    this.#changed = listener;
  }

  isolate(...reasons: string[]): void {
    this.reports = [{ sink: "sudo", isolated: reasons.map((reason) => ({ key: "sudo/1", reason })) }];
    this.#changed();
  }
}

/** A clock that stands still, on which rests last as it is said. */
function stopped(sleep: Clock["sleep"]): Clock {
  return { now: () => 0, elapsed: () => 0, random: () => 0, sleep };
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));

const turn = () => new Promise<void>((done) => setImmediate(done));

const self = { log: pino({ level: "silent" }), software: "test", instance: "test" };

/** Follows a server that answers the Hello by a Welcome of some protocol; tells whether the agent goes on with it. */
async function welcomed(protocol: number): Promise<"stays" | "ends"> {
  const stopping = new AbortController();
  const { promise, resolve } = Promise.withResolvers<"stays" | "ends">();
  const uplink = {
    ...uplinkTo(() => undefined),
    sync: (listener: Listener) => ({
      say() {
        answer(listener, welcome(1, protocol));
        resolve("stays");
      },
      end() {
        resolve("ends");
        listener.closed(undefined);
      },
    }),
  };
  const following = follow({
    ...self,
    replica: { at: origin, highest: { uid: 0, gid: 0 }, reports: [], onReports: () => undefined } as unknown as Replica,
    membership: membershipOf(uplink),
    clock: stopped(turn),
    signal: stopping.signal,
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
  let at = origin;
  const uplink = uplinkTo((message, listener) => {
    said.push(message);
    if (message.case === "hello") {
      answer(listener, welcome(2));
      answer(listener, { case: "delta", value: delta });
    }
    if (message.case === "ack") stopping.abort();
  });
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
    ...self,
    replica: replica as unknown as Replica,
    membership: membershipOf(uplink),
    trailing: [
      {
        applied: () => undefined,
        health: { sink: "slurm", revision: 0n, reason: "", lingering },
        onChange: () => undefined,
      },
    ],
    // Nothing is to happen by itself meanwhile.
    clock: stopped((ms, signal) => (ms === 0 ? Promise.resolve() : untilAborted(signal))),
    signal: stopping.signal,
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
  let told: Listener | undefined;
  let hellos = 0;
  const uplink = uplinkTo((message, listener) => {
    if (message.case === "hello") hellos += 1;
    if (message.case === "ack") acks.push(message.value.sinks.reduce((sum, { isolated }) => sum + isolated.length, 0));
    told = listener;
  });
  const holding = new Holding();
  const following = follow({
    ...self,
    replica: holding as unknown as Replica,
    membership: membershipOf(uplink),
    clock: stopped((ms, signal) => (ms < 5_000 ? turn() : untilAborted(signal))),
    signal: stopping.signal,
  });
  const greet = (mode: number): void => {
    if (told) answer(told, welcome(mode));
  };
  const be = (isolated: number): void => holding.isolate(...Array.from({ length: isolated }, () => "waits"));
  const reconnected = async (): Promise<void> => {
    const before = hellos;
    told?.closed(undefined);
    while (hellos === before) await turn();
  };
  while (hellos === 0) await turn();
  be(3);
  expect(acks, "not before it is welcome").toEqual([]);
  greet(3);
  be(2);
  expect(acks, "nor when it is to be sent a snapshot: the server knows of nothing").toEqual([]);
  await reconnected();
  greet(1);
  expect(acks, "what an earlier run told may be old").toEqual([2]);
  be(2);
  expect(acks).toEqual([2]);
  be(0);
  expect(acks).toEqual([2, 0]);
  await reconnected();
  greet(2);
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
  const uplink = uplinkTo(({ case: kind }, listener) => {
    said.push(`${now} ${kind}`);
    if (kind === "hello") answer(listener, welcome(1));
  });
  const holding = new Holding();
  holding.isolate("0");
  const following = follow({
    ...self,
    replica: holding as unknown as Replica,
    membership: membershipOf(uplink),
    clock: {
      now: () => now,
      elapsed: () => now,
      random: () => 0.5,
      sleep: (ms, signal) =>
        Promise.race([new Promise<void>((wake) => sleepers.push({ due: now + ms, wake })), untilAborted(signal)]),
    },
    report: () => report,
    signal: stopping.signal,
  });
  const until = async (time: number): Promise<void> => {
    for (; now < time; now += 500) {
      for (const { due, wake } of sleepers) if (due <= now) wake();
      await turn();
    }
  };
  await until(8_000);
  holding.isolate("1");
  await until(14_000);
  holding.isolate("2");
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

/** A thread that holds streams: its own port, its own reader of the log; whatever is written is asked for at the desk. */

import { setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type Logger, pino } from "pino";
import { openReader } from "../store/engine.ts";
import type { StreamsStart, ToStreams } from "./control.ts";
import { Desk } from "./desk.ts";
import { Frames } from "./frames.ts";
import { Heads } from "./heads.ts";
import { listen, type NodePort } from "./node-port.ts";
import { Turns } from "./turns.ts";

const niceness = 5;

async function main(port: MessagePort, start: StreamsStart): Promise<void> {
  const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }));
  yieldToWriter(log);
  await using reader = openReader(start.database);
  using desk = new Desk(port);
  const now = performance.now.bind(performance);
  const heads = new Heads({
    now,
    spent: () => {
      const { user, system } = process.threadCpuUsage();
      return (user + system) / 1000;
    },
    sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
  });
  const frames = new Frames(reader);
  const turns = new Turns(start.snapshots);
  const nodes = await listen({ reader, desk, heads, frames, turns, log, now, wall: Date.now }, start);
  desk.say({ kind: "listening" });
  await new Promise<void>((ended) => {
    port.on("message", (message: ToStreams) => {
      if (message.kind === "drain") void nodes.drain().then(ended);
      else if (message.kind === "stop") void nodes.end().then(ended);
      else hear(message, nodes, desk, heads);
    });
  });
}

/**
 * This thread, on Linux, and nothing else of the process: nice(2). Where processors are short, a fleet that is being told
 * would keep who writes waiting.
 */
function yieldToWriter(log: Logger): void {
  try {
    setPriority(niceness);
  } catch (err) {
    log.warn({ err }, "threads with streams run at the priority of the one that writes");
  }
}

function hear(
  message: Exclude<ToStreams, { kind: "drain" | "stop" }>,
  nodes: NodePort,
  desk: Desk,
  heads: Heads,
): void {
  switch (message.kind) {
    case "answer":
    case "refusal":
    case "failure":
      return desk.answered(message);
    case "head":
      void heads.move(message.cluster, message.role, message.head, message.urgent);
      return;
    case "end":
      return nodes.stream(message.stream)?.end(message.reason);
    case "resync":
      return nodes.stream(message.stream)?.resync();
    case "credentials":
      return nodes.setCredentials(message);
  }
}

if (parentPort) {
  const port = parentPort;
  await main(port, workerData as StreamsStart);
  port.close();
}

/**
 * The agent's local half on a test host, told by lines on stdin what to apply; each answer is one line of JSON:
 *
 *     node.ts STATE USERS
 *
 *     change KIND ROUND   one encoded delta: read, checked, applied with all sinks, verified and durable
 *     swap KIND           the same without a pause, until the next line, which must be `stop`
 *
 * What is timed starts with the bytes of the delta. Processor time includes the children's (ssh-keygen).
 */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { apply, start } from "../../../agent/apply.ts";
import { realDisk } from "../../../agent/disk.ts";
import { nssSink } from "../../../agent/sinks/nss/sink.ts";
import { sshSink } from "../../../agent/sinks/ssh.ts";
import { sudoSink } from "../../../agent/sinks/sudo/sink.ts";
import { prepare, prepareSnapshot } from "../../../identity/copy.ts";
import { nothing, shift } from "../../../identity/digest.ts";
import { keyOf } from "../../../identity/resource.ts";
import { SyncResponseSchema } from "../../../proto/gen/rollcall/v1/node_pb.ts";
import { parseDelta, printDelta } from "../../../proto/wire.ts";
import { changes, content, deltaOf, type Kind } from "./content.ts";

const [state = "", count = "0"] = process.argv.slice(2);
const users = Number(count);
const { ground } = await start({
  disk: realDisk,
  state,
  sinks: (disk, served) => [nssSink(disk, served), sshSink(disk, served), sudoSink(disk, served)],
  gids: new Map([["shadow", 42]]),
});
const resources = content(users);
const first = { epoch: { seq: 1n, id: "1".repeat(32) }, revision: 1n, digest: shift(nothing, resources, []) };
const spent = await timed(() => apply(ground, prepareSnapshot(ground.memory.copy, first, resources)));
say({ kind: "ready", ...spent, rss: process.memoryUsage.rss() });

let swapping: Promise<void> | undefined;
let isStopped = false;
for await (const line of createInterface({ input: process.stdin })) {
  const [, verb, kind = "", round = "0"] = /^(\w+)(?: (.+?))?(?: (\d+))?$/.exec(line) ?? [];
  if (verb === "change") say({ kind: "changed", ...(await change(kind as Kind, Number(round))) });
  if (verb === "swap") {
    isStopped = false;
    swapping = swap(kind as Kind);
  }
  if (verb === "stop") {
    isStopped = true;
    await swapping;
  }
}

async function swap(kind: Kind): Promise<void> {
  const from = performance.now();
  let applied = 0;
  for (; !isStopped; applied++) {
    await change(kind, applied % 60);
    await turn();
  }
  say({ kind: "swapped", applied, seconds: (performance.now() - from) / 1000 });
}

async function change(kind: Kind, round: number) {
  const { copy } = ground.memory;
  const delta = deltaOf(copy.at, (put) => copy.resources.get(keyOf(put)), changes[kind](users, round));
  const bytes = toBinary(
    SyncResponseSchema,
    create(SyncResponseSchema, { say: { case: "delta", value: printDelta(delta) } }),
  );
  const taken = await timed(async () => {
    const { say: said } = fromBinary(SyncResponseSchema, bytes);
    if (said.case === "delta") await apply(ground, prepare(copy, parseDelta(said.value)));
  });
  return { ...taken, bytes: bytes.length };
}

async function timed(work: () => Promise<unknown>): Promise<{ readonly wall: number; readonly cpu: number }> {
  const [from, before] = [performance.now(), spentByNow()];
  await work();
  return { wall: performance.now() - from, cpu: spentByNow() - before };
}

/** Milliseconds of processor time, of this process and of its children that ended; the latter in steps of ten. */
function spentByNow(): number {
  const { user, system } = process.cpuUsage();
  const stat = readFileSync("/proc/self/stat", "latin1");
  const [children = 0, theirs = 0] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(14, 16).map(Number);
  return (user + system) / 1000 + (children + theirs) * 10;
}

function say(answer: object): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

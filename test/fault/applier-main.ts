/**
 * The agent's local half, doing what it is told: see applier.ts.
 *
 *     UV_THREADPOOL_SIZE=1 node applier-main.ts CONTENT
 *
 * It says `ready PID THREAD` (the thread that makes all calls on files) and then answers each line with one of JSON: `open STATE` opens a
 * state folder, `apply` applies the step to exactly the resources in the file CONTENT (canonical text, one a line), or tries it again.
 */

import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { errnoOf } from "../../agent/disk.ts";
import { Replica } from "../../agent/replica.ts";
import type { Step } from "../../identity/copy.ts";
import { parse } from "../../identity/resource.ts";
import { openGround, stepTo } from "./ground.ts";

const [content = ""] = process.argv.slice(2);
const lines = readFileSync(content, "utf8").split("\n").slice(0, -1);
let at: { readonly replica: Replica; readonly step: Step } | undefined;

// A thread of the pool is made with its first work.
await import("node:fs/promises").then(({ stat }) => stat(content));
console.log(`ready ${process.pid} ${fileThread()}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, state = ""] = line.split(" ");
  console.log(JSON.stringify(verb === "open" ? await open(state) : await apply()));
}

async function open(state: string) {
  const { ground } = await openGround(state);
  at = { replica: new Replica(ground), step: stepTo(ground.memory.copy, lines.map(parse)) };
  return { ok: true };
}

async function apply() {
  if (!at) throw new Error("nothing is open");
  try {
    await at.replica.apply(at.step);
    return { ok: true };
  } catch (error) {
    const failure = at.replica.failureOf(error);
    if (!failure) throw error;
    return { ok: false, errno: errnoOf(error), ...failure };
  }
}

function fileThread(): string {
  const comm = (thread: string) => readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim();
  const [only, ...others] = readdirSync("/proc/self/task").filter((thread) => comm(thread) === "libuv-worker");
  if (only === undefined || others.length > 0) throw new Error("UV_THREADPOOL_SIZE must be 1");
  return only;
}

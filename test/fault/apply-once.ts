/**
 * The agent's local half, applying one step when it is told to, for kill.test.ts to trace and to kill:
 *
 *     UV_THREADPOOL_SIZE=1 node apply-once.ts STATE CONTENT
 *
 * It opens the state folder, says `ready PID THREAD` (the thread that makes all calls on files), waits for a line, applies
 * the step to exactly the resources in the file CONTENT (canonical text, one a line), and says `applied`.
 */

import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { apply } from "../../agent/apply.ts";
import { parse } from "../../identity/resource.ts";
import { openGround, stepTo } from "./ground.ts";

const [state = "", content = ""] = process.argv.slice(2);
const lines = readFileSync(content, "utf8").split("\n").slice(0, -1);
const { ground } = await openGround(state);
const step = stepTo(ground.memory.copy, lines.map(parse));
console.log(`ready ${process.pid} ${fileThread()}`);
await once(process.stdin, "data");
await apply(ground, step);
console.log("applied");

function fileThread(): string {
  const comm = (thread: string) => readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim();
  const [only, ...others] = readdirSync("/proc/self/task").filter((thread) => comm(thread) === "libuv-worker");
  if (only === undefined || others.length > 0) throw new Error("UV_THREADPOOL_SIZE must be 1");
  return only;
}

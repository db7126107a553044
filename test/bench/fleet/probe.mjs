// Loaded into every thread of the measured server: writes the longest stall of its event loop to a file, when it changes.
import { writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { threadId } from "node:worker_threads";

const folder = process.env.ROLLCALL_BENCH_STALLS;
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
setInterval(() => {
  // A file of its own per second: the bench takes the longest of those that it is interested in.
  writeFileSync(`${folder}/${threadId}-${Math.round(Date.now() / 250)}`, String(delay.max / 1e6));
  delay.reset();
}, 250).unref();

/** rollcall: the operator's command line. */

import { rollcall } from "./program.ts";

const interrupt = new AbortController();
// Once: a second Ctrl-C ends the program whatever it waits for.
process.once("SIGINT", () => interrupt.abort());
// A reader that has seen enough (`rollcall node list | head -1`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await rollcall(process.argv.slice(2), {
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
  signal: interrupt.signal,
  now: Date.now,
});

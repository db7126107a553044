/** rollcall-agent: reads its command line, does what that says, and ends with what it came to. */

import { Refusal } from "../identity/refusal.ts";
import { linksCommand } from "./links-command.ts";
import { readLinkOptions, readOptions, readStatusOptions, usage } from "./options.ts";
import { serve } from "./serve.ts";
import { statusCommand } from "./status-command.ts";

async function run([command, ...rest]: readonly string[]): Promise<void> {
  if (command === "status") return statusCommand(readStatusOptions(rest));
  if (command === "links") return linksCommand(readLinkOptions(rest));
  const options = readOptions(process.argv.slice(2));
  if (options === "help") process.stdout.write(usage);
  else await serve(options);
}

try {
  await run(process.argv.slice(2));
} catch (err) {
  if (err instanceof Refusal) {
    process.stderr.write(`rollcall-agent: ${err.message}\n\n${usage}`);
    process.exitCode = 2;
  } else {
    process.stderr.write(`rollcall-agent: ${describe(err)}\n`);
    process.exitCode = 1;
  }
}

/** An error with everything that led to it, in one line. */
function describe(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause === undefined ? err.message : `${err.message}: ${describe(err.cause)}`;
}

/**
 * `npm run demo`: what Rollcall is for, in five steps, by the real programs. What is shown is checked: the first thing
 * that is not as it must be ends the demo with exit code 1. However it ends, everything that it made is gone.
 */

import { parseArgs } from "node:util";
import { Unexpected } from "./expect.ts";
import { keep } from "./keep.ts";
import { openStage, type Stage } from "./stage.ts";
import { tell } from "./story.ts";
import { Terminal } from "./terminal.ts";

const usage = `usage: npm run demo -- [--keep] [--plain] [-o text|json]

  --keep            go on running at the end, and say what to try
  --plain           plain processes on 127.0.0.1, also where test hosts are possible
  -o, --output FORM text: the story (default); json: what was measured
`;

const flags = {
  keep: { type: "boolean", default: false },
  plain: { type: "boolean", default: false },
  output: { type: "string", short: "o", default: "text" },
  help: { type: "boolean", short: "h", default: false },
} as const;

class Interrupted extends Error {}

async function main(signal: AbortSignal): Promise<void> {
  const { values: options } = parseArgs({ options: flags });
  if (options.help) return void process.stdout.write(usage);
  const from = Date.now();
  const terminal = new Terminal((text) => options.output === "text" && process.stdout.write(text));
  await using stage: Stage = await unlessInterrupted(openStage(options.plain), signal);
  terminal.title(`Rollcall: from an identity provider to a login on every node.\n${stage.words}`);
  const { places, tries, facts } = await unlessInterrupted(tell(stage, terminal), signal);
  const seconds = (Date.now() - from) / 1000;
  terminal.title(`\nAll of it was checked, in ${seconds.toFixed(1)} s.`);
  if (options.output === "json") process.stdout.write(`${JSON.stringify({ ...facts, seconds }, undefined, 2)}\n`);
  if (options.keep) await keep(places, tries, terminal, signal);
}

async function unlessInterrupted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Interrupted()), { once: true });
  });
  return Promise.race([work, interrupted]);
}

/** Aborts at ^C, and when nobody listens any more. */
function interrupt(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => controller.abort());
  process.stdout.on("error", () => controller.abort());
  return controller.signal;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return 130;
  const text = error instanceof Unexpected ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`\ndemo: ${text}\n`);
  return 1;
}

// By exit, not by what is left to do: an interrupted story may still wait for what will never come.
process.exit(
  await main(interrupt()).then(
    () => 0,
    (error: unknown) => exitCodeOf(error),
  ),
);

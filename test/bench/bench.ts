/**
 * `npm run bench`: figures as ratios of things measured in one run, since this machine's speed is nobody else's.
 * Progress goes to stderr, the result to stdout; `-o json` gives one object.
 */

import { applyOne } from "./apply-one.ts";
import { rolloutLatency } from "./rollout-latency.ts";

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const json = process.argv.slice(2).join(" ") === "-o json" || process.argv.includes("--json");
const apply = await applyOne(10_000, say);
const rollout = await rolloutLatency([1, 10, 100], say);

if (json) process.stdout.write(`${JSON.stringify({ apply, rollout })}\n`);
else {
  const rows = [
    ["one change on a node that holds 10,000 users, against rendering everything anew", ""],
    ...apply.changes.map(({ what, ms, ratio }) => [`  ${what}`, `${ms.toFixed(1)} ms, ${ratio.toFixed(0)} times less`]),
    [`  everything anew (the basis)`, `${apply.anewMs.toFixed(0)} ms`],
    ["a change is accepted until all agents have acknowledged it (median of 20)", ""],
    ...rollout.map(({ agents, p50, p99, ratio }) => [
      `  ${agents} ${agents === 1 ? "agent" : "agents"}`,
      `${p50.toFixed(1)} ms, worst ${p99.toFixed(1)} ms, ${ratio.toFixed(2)} times one agent`,
    ]),
  ];
  for (const [what = "", figure = ""] of rows)
    process.stdout.write(`${what.padEnd(50)}${figure}\n`.replace(/ +\n$/, "\n"));
}

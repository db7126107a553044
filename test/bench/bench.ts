/**
 * `npm run bench`: figures as ratios of things measured in one run, since this machine's speed is nobody else's.
 * Progress goes to stderr, the result to stdout; `-o json` gives one object.
 */

import { applyOne } from "./apply-one.ts";
import { rolloutLatency } from "./rollout-latency.ts";
import { scimAtScale } from "./scim.ts";

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const json = process.argv.slice(2).join(" ") === "-o json" || process.argv.includes("--json");
const apply = await applyOne(10_000, say);
const rollout = await rolloutLatency([1, 10, 100], say);
const scim = await scimAtScale(100_000, say);

if (json) process.stdout.write(`${JSON.stringify({ apply, rollout, scim })}\n`);
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
    ["SCIM, 16 in flight: durable and over TLS, against SCIMMY's routers in memory without TLS", ""],
    ...scim.against.map(({ what, ours, theirs }) => [
      `  ${what}`,
      `${ours.toFixed(0)} against ${theirs.toFixed(0)}, ${(ours / theirs).toFixed(2)} times`,
    ]),
    [
      `  one member of ${scim.group.members} in or out`,
      `${scim.group.oursMs.toFixed(1)} ms against ${scim.group.theirsMs.toFixed(0)} ms, ${(scim.group.theirsMs / scim.group.oursMs).toFixed(0)} times less; ${(scim.group.oursMs / scim.group.smallMs).toFixed(2)} times a group of 10`,
    ],
    [`SCIM at ${scim.scale.many} users`, ""],
    [
      "  userName eq (median)",
      `${scim.scale.eqMany.toFixed(1)} ms, ${(scim.scale.eqMany / scim.scale.eqFew).toFixed(2)} times that at ${scim.scale.few}`,
    ],
    ...scim.reads.map(({ what, p99 }) => [
      `  ${what} (p99)`,
      p99 === undefined
        ? "not offered"
        : `${p99.toFixed(1)} ms, ${(p99 / scim.scale.eqFew).toFixed(1)} times userName eq at ${scim.scale.few}`,
    ]),
    [
      "  memory of the server",
      `${scim.rssMb.many.toFixed(0)} MB, ${(scim.rssMb.many / scim.rssMb.few).toFixed(2)} times that at ${scim.scale.few}`,
    ],
  ];
  for (const [what = "", figure = ""] of rows)
    process.stdout.write(`${what.padEnd(50)}${figure}\n`.replace(/ +\n$/, "\n"));
}

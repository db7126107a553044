/**
 * `npm run bench`: figures as ratios of things measured in one run, since this machine's speed is nobody else's.
 * Progress goes to stderr, the result to stdout; `-o json` gives one object. Names of parts run only those: `-- scim`.
 */

import { type ApplyFigures, applyOne } from "./apply-one.ts";
import { type ChangeFigures, changeBench } from "./change.ts";
import { type Idle, type IdleFigures, idleBench } from "./idle.ts";
import { type LatencyFigures, rolloutLatency } from "./rollout-latency.ts";
import { type Compared, type ScimFigures, scimBench } from "./scim.ts";
import { type SlurmFigures, slurmBench } from "./slurm.ts";

type Row = readonly [what: string, figure: string];

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const args = process.argv.slice(2);
const json = args.join(" ").includes("-o json") || args.includes("--json");
const chosen = args.filter((arg) => ["apply", "rollout", "scim", "change", "slurm", "idle"].includes(arg));
// What needs root and test hosts: only if asked for.
const wants = (part: string): boolean =>
  (chosen.length === 0 && part !== "slurm" && part !== "idle") || chosen.includes(part);

const apply = wants("apply") ? await applyOne(100_000, say) : undefined;
const rollout = wants("rollout") ? await rolloutLatency([1, 10, 100], say) : undefined;
const scim = wants("scim") ? await scimBench(100_000, say) : undefined;
const change = wants("change") ? await changeBench(1_000, 100_000, say) : undefined;
const slurm = wants("slurm") ? await slurmBench(1_000, 2, say) : undefined;
const idle = wants("idle") ? await idleBench(100_000, 60, say) : undefined;

if (json)
  process.stdout.write(`${JSON.stringify({ apply, rollout, scim, change, slurm, idle })}
`);
else {
  const rows = [
    ...(apply ? applyRows(apply) : []),
    ...(rollout ? rolloutRows(rollout) : []),
    ...(scim ? scimRows(scim) : []),
    ...(change ? changeRows(change) : []),
    ...(slurm ? slurmRows(slurm) : []),
    ...(idle ? idleRows(idle) : []),
  ];
  for (const [what, figure] of rows) process.stdout.write(`${what.padEnd(50)}${figure}\n`.replace(/ +\n$/, "\n"));
}

function applyRows({ users, changes, anewMs }: ApplyFigures): Row[] {
  return [
    [`one change on a node that holds ${users} users, against rendering everything anew`, ""],
    ...changes.map(
      ({ what, ms, cpu, ratio }): Row => [
        `  ${what}`,
        `${ms.toFixed(1)} ms, ${cpu.toFixed(1)} of processor, ${ratio.toFixed(0)} times less`,
      ],
    ),
    ["  everything anew (the basis)", `${anewMs.toFixed(0)} ms`],
  ];
}

function rolloutRows(figures: readonly LatencyFigures[]): Row[] {
  return [
    ["a change is accepted until all agents have acknowledged it (median of 20)", ""],
    ...figures.map(
      ({ agents, p50, p99, ratio }): Row => [
        `  ${agents} ${agents === 1 ? "agent" : "agents"}`,
        `${p50.toFixed(1)} ms, worst ${p99.toFixed(1)} ms, ${ratio.toFixed(2)} times one agent`,
      ],
    ),
  ];
}

function changeRows({ people: [small, large], changes, snapshot }: ChangeFigures): Row[] {
  return [
    [`one change of one person among ${large} people, against among ${small}`, ""],
    ...changes.map(
      ({ what, ms, kib, sentBytes, ratio }): Row => [
        `  ${what}`,
        [
          `${ms[1].toFixed(1)} ms, ${ms[0].toFixed(1)} ms: ${ratio.toFixed(2)} times`,
          `${kib[1].toFixed(0)} KiB, ${kib[0].toFixed(0)} KiB written`,
          `${sentBytes[1]}, ${sentBytes[0]} bytes to each node`,
        ].join("; "),
      ],
    ),
    [
      "  everything, for new nodes, made once",
      `${snapshot.ms.toFixed(0)} ms; ${snapshot.mib.toFixed(1)} MiB in ${snapshot.messages} messages`,
    ],
  ];
}

function idleRows({ seconds, bundle, agent, people, full, sssd, firstLookUp }: IdleFigures): Row[] {
  const row = (what: string, { processes, rss, pss, cpu }: Idle): Row => [
    `  ${what}`,
    `${rss.toFixed(0)} MB resident, ${pss.toFixed(0)} less what is shared, ${cpu.toFixed(0)} ms of processor (${processes} processes)`,
  ];
  return [
    [`a node of which nothing is asked for ${seconds} s`, ""],
    row("the agent, with one person", agent),
    row(`the agent, with ${people} people`, full),
    row("sssd, with the node's own", sssd),
    ["  the agent's file", `${bundle.toFixed(0)} kB`],
    ["  a new node: from the agent's start to a look-up", `${firstLookUp.toFixed(0)} ms`],
  ];
}

function scimRows({ creates, patches, memberPatch, lookup, users, p99, rssMb }: ScimFigures): Row[] {
  const rate = (what: string, { ours, theirs, ratio }: Compared): Row => [
    `  ${what}`,
    `${ours.toFixed(0)}/s durable, ${theirs.toFixed(0)}/s in its memory: ${ratio.toFixed(2)} times`,
  ];
  const { ours, theirs, ratio } = memberPatch;
  return [
    ["SCIM, against scimmy-routers (median of 3 rounds, 16 requests in flight)", ""],
    rate("creates", creates),
    rate("PATCH", patches),
    ["  one member of 10,000", `${ours.toFixed(1)} ms, ${theirs.toFixed(0)} ms: ${ratio.toFixed(0)} times faster`],
    [
      `  userName eq with ${users} users`,
      `${lookup.large.toFixed(2)} ms, ${lookup.ratio.toFixed(2)} times that with 100`,
    ],
    [`  p99 with ${users} users`, `resident ${rssMb.toFixed(0)} MB`],
    ...Object.entries(p99).map(([what, ms]): Row => [`    ${what}`, `${ms.toFixed(1)} ms`]),
  ];
}

function slurmRows({ users, many, one, oneParts }: SlurmFigures): Row[] {
  const row = (what: string, { agent, byHand, ratio }: SlurmFigures["one"]): Row => [
    `  ${what}`,
    `${(agent / 1000).toFixed(2)} s, ${(byHand / 1000).toFixed(2)} s: ${ratio.toFixed(2)} times`,
  ];
  return [
    ["Slurm, from the request until read back by the agent, against one call by hand", ""],
    row(`${users} new associations`, many),
    row("one new association", one),
    [
      "    until told, until Slurm was read, call and reading back",
      `${oneParts.told.toFixed(0)}, ${oneParts.read.toFixed(0)}, ${oneParts.done.toFixed(0)} ms`,
    ],
  ];
}

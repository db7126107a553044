/** `rollcall rollout`: how a change stands on every node. */

import { Command } from "commander";
import {
  GetRolloutResponseSchema,
  ListRevisionsResponseSchema,
  type Rollout,
  Rollout_State,
  WatchRolloutResponseSchema,
} from "../proto/gen/rollcall/v1/rollout_pb.ts";
import { clusterOption, type InCluster, type Run } from "./command.ts";
import { type Exit, exit, exitOf, UsageError } from "./exit.ts";
import { nodeTable } from "./node.ts";
import { plain } from "./plain.ts";
import type { Session } from "./session.ts";
import { table } from "./table.ts";
import { parseDuration, showTime } from "./time.ts";

interface StatusOptions extends InCluster {
  readonly revision?: bigint;
  readonly watch?: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
}

const newest = 0n;

export function rolloutCommand(run: Run): Command {
  const command = new Command("rollout").description("how changes stand on the nodes");
  command
    .command("status")
    .description("show how a revision stands on every node, and which nodes are behind")
    .addOption(clusterOption())
    .option("--revision <n>", "the revision; the newest by default", parseRevision)
    .option("-w, --watch", "go on until every node holds it")
    .option("--timeout <duration>", "with -w: give up after this time, such as 90s or 10m", parseDuration)
    .addHelpText(
      "after",
      "\nExit codes: 0 complete, 5 progressing, 6 degraded: a node refuses it or cannot serve all of it.",
    )
    .action(
      run<StatusOptions>(async (session, _, options) => {
        if (options.watch) return watch(session, options);
        if (options.timeout !== undefined) throw new UsageError("--timeout says how long -w may take: it needs -w");
        const { cluster, revision = newest } = options;
        const response = await session.rollouts.getRollout({ cluster, revision });
        session.show(GetRolloutResponseSchema, response, ({ rollout }) => showRollout(rollout));
        return exitOf(response.rollout?.state ?? Rollout_State.UNSPECIFIED);
      }),
    );
  command
    .command("list")
    .description("list the newest revisions")
    .addOption(clusterOption())
    .option("--limit <n>", "how many", parseLimit, 20)
    .action(
      run<InCluster & { limit: number }>(async ({ rollouts, show }, _, { cluster, limit }) => {
        const found = await rollouts.listRevisions({ cluster, pageSize: limit });
        show(ListRevisionsResponseSchema, found, ({ revisions }) =>
          table(
            ["revision", "committed", "puts", "removals", "cause"],
            revisions.map(({ revision, committedAt, puts, removals, cause }) => [
              `r${revision}`,
              showTime(committedAt),
              `${puts}`,
              `${removals}`,
              cause,
            ]),
          ),
        );
      }),
    );
  return command;
}

/** Prints a rollout each time that it changes, until it is complete or the operator (or --timeout) has had enough. */
async function watch({ rollouts, stream, signal }: Session, options: StatusOptions): Promise<Exit> {
  const { cluster, revision = newest, timeout } = options;
  const limits = timeout === undefined ? [signal] : [signal, AbortSignal.timeout(timeout)];
  const ended = AbortSignal.any(limits);
  let last: Rollout | undefined;
  try {
    for await (const response of rollouts.watchRollout({ cluster, revision }, { signal: ended, timeoutMs: 0 })) {
      const before = last;
      last = response.rollout;
      stream(WatchRolloutResponseSchema, response, ({ rollout }) => news(rollout, before));
    }
  } catch (error) {
    if (!ended.aborted) throw error;
  }
  return last ? exitOf(last.state) : exit.progressing;
}

/** What changed since the look before: its line if that differs, then the nodes that are behind. */
function news(rollout: Rollout | undefined, before: Rollout | undefined): string {
  return rollout?.summary === before?.summary ? behind(rollout) : showRollout(rollout);
}

/** The line that says it all, then the nodes that are behind. */
export function showRollout(rollout: Rollout | undefined): string {
  return rollout ? `${plain(rollout.summary)}\n${behind(rollout)}` : "";
}

function behind(rollout: Rollout | undefined): string {
  const nodes = rollout?.waitingFor ?? [];
  if (nodes.length === 0) return "";
  const more = nodes.length < mostNamed ? "" : `Only ${mostNamed} nodes are named; \`rollcall node list\` has all.\n`;
  return nodeTable(nodes) + more;
}

/** How many nodes a server names in a rollout. */
const mostNamed = 100;

/** `4` or `r4`. */
function parseRevision(text: string): bigint {
  const [, digits] = /^r?([1-9][0-9]{0,17})$/.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`"${text}" is not a revision such as 4 or r4`);
  return BigInt(digits);
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
    throw new UsageError(`"${text}" is not a number from 1 to 1000`);
  return limit;
}

/** `rollcall cluster`: clusters and what groups grant in them. */

import { Command } from "commander";
import {
  type Cluster,
  CreateClusterResponseSchema,
  GetClusterResponseSchema,
  ListClustersResponseSchema,
  SetClusterResponseSchema,
  type SlurmOrder,
} from "../proto/gen/rollcall/v1/cluster_pb.ts";
import { parseMillis, printMillis } from "../proto/wire.ts";
import { type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { UsageError } from "./exit.ts";
import { ruleRow } from "./rule.ts";
import { card, table } from "./table.ts";
import { parseDuration, showDuration, showTime } from "./time.ts";

export function clusterCommand(run: Run): Command {
  const command = new Command("cluster").description("clusters, and which groups may use them");
  command
    .command("list")
    .description("list clusters")
    .action(
      run(async ({ clusters, show }) => {
        const found = await wholeList("clusters", (page) => clusters.listClusters(page));
        show(ListClustersResponseSchema, found, (list) =>
          table(
            ["name", "org", "head", "nodes"],
            list.clusters.map(({ name, org, revision, nodes }) => [name, org, `r${revision}`, `${nodes}`]),
          ),
        );
      }),
    );
  command
    .command("show")
    .description("show one cluster")
    .argument("[cluster]", "its name", "default")
    .action(
      run(async ({ clusters, show }, [cluster = "default"]) => {
        show(GetClusterResponseSchema, await clusters.getCluster({ cluster }), (found) => showCluster(found.cluster));
      }),
    );
  command
    .command("create")
    .description("make a cluster, open to the group slurm-users")
    .argument("<cluster>", "its name, a DNS label")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ clusters, show }, [name = ""], { org }) => {
        const made = await clusters.createCluster({ name, org });
        show(CreateClusterResponseSchema, made, ({ cluster }) => showCluster(cluster));
      }),
    );
  command
    .command("set")
    .description("set a cluster's templates and its guard")
    .argument("[cluster]", "its name", "default")
    .option("--home <template>", "home directories, of {name}, {uid}, {org}, {cluster}; empty: the org's")
    .option("--shell <path>", "login shell; empty: the org's")
    .option("--guard-people <n>", "people who may lose access within the window", parseNumber)
    .option("--guard-percent <n>", "percent of the people who may, if that is more", parseNumber)
    .option("--guard-window <duration>", "the window, such as 10m", parseDuration)
    .option(
      "--slurm-known-within <duration>",
      "how long accounts wait for nodes that do not know the person",
      parseDuration,
    )
    .option(
      "--slurm-cancel-within <duration>",
      "how long a leaver is kept until their jobs are cancelled",
      parseDuration,
    )
    .option(
      "--slurm-finish-within <duration>",
      "the same where jobs may finish; 0s: as long as they take",
      parseDuration,
    )
    .action(
      run<Settings>(async ({ clusters, show }, [cluster = "default"], options) => {
        const { home, shell, guardPeople, guardPercent, guardWindow } = options;
        const guard = {
          ...(guardPeople !== undefined && { people: guardPeople }),
          ...(guardPercent !== undefined && { percent: guardPercent }),
          ...(guardWindow !== undefined && { window: printMillis(guardWindow) }),
        };
        const slurm = {
          ...(options.slurmKnownWithin !== undefined && { knownWithin: printMillis(options.slurmKnownWithin) }),
          ...(options.slurmCancelWithin !== undefined && { cancelWithin: printMillis(options.slurmCancelWithin) }),
          ...(options.slurmFinishWithin !== undefined && { finishWithin: printMillis(options.slurmFinishWithin) }),
        };
        const set = { ...(home !== undefined && { home }), ...(shell !== undefined && { shell }), guard, slurm };
        const done = await clusters.setCluster({ cluster, ...set });
        show(SetClusterResponseSchema, done, (response) => showCluster(response.cluster));
      }),
    );
  return command;
}

interface Settings {
  readonly home?: string;
  readonly shell?: string;
  readonly guardPeople?: number;
  readonly guardPercent?: number;
  /** Milliseconds, these and those below. */
  readonly guardWindow?: number;
  readonly slurmKnownWithin?: number;
  readonly slurmCancelWithin?: number;
  readonly slurmFinishWithin?: number;
}

function parseNumber(text: string): number {
  if (!/^[0-9]{1,9}(\.[0-9]{1,3})?$/.test(text)) throw new UsageError(`"${text}" is not a number`);
  return Number(text);
}

function finishing(slurm: SlurmOrder | undefined): string {
  const within = parseMillis(slurm?.finishWithin);
  return within === 0
    ? "as long as it takes if these may finish"
    : `${showDuration(slurm?.finishWithin)} if these may finish`;
}

function showCluster(cluster: Cluster | undefined): string {
  if (!cluster) return "";
  const { name, org, revision, epoch, nodes, people, home, shell, guard, slurm, rules, createdAt, fencedAt } = cluster;
  return card({
    name,
    org,
    head: `r${revision} of epoch ${epoch?.seq ?? 0}`,
    ...(fencedAt && {
      fenced: `since ${showTime(fencedAt)}: nodes hold more than the server; see rollcall-server restore`,
    }),
    nodes: `${nodes}`,
    people: `${people}`,
    home: home || "the org's",
    shell: shell || "the org's",
    guard: `${guard?.people ?? 0} people or ${guard?.percent ?? 0} % within ${showDuration(guard?.window)}`,
    slurm: `accounts wait ${showDuration(slurm?.knownWithin)} for nodes, leavers ${showDuration(slurm?.cancelWithin)} for jobs, ${finishing(slurm)}`,
    rules: rules.map((rule) => ruleRow(rule).slice(0, 2).join(": ")).join(", "),
    created: showTime(createdAt),
  });
}

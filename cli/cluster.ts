/** `rollcall cluster`: clusters and what groups grant in them. */

import { Command } from "commander";
import {
  type Cluster,
  CreateClusterResponseSchema,
  GetClusterResponseSchema,
  ListClustersResponseSchema,
} from "../proto/gen/rollcall/v1/cluster_pb.ts";
import { type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { card, table } from "./table.ts";
import { showTime } from "./time.ts";

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
  return command;
}

function showCluster(cluster: Cluster | undefined): string {
  if (!cluster) return "";
  const { name, org, revision, epoch, nodes, rules, createdAt } = cluster;
  return card({
    name,
    org,
    head: `r${revision} of epoch ${epoch?.seq ?? 0}`,
    nodes: `${nodes}`,
    rules: rules.map(({ group, grant }) => `${group}: ${grant}`).join(", "),
    created: showTime(createdAt),
  });
}

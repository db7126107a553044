/** ClusterService: clusters and what groups grant in them. */

import type { ServiceImpl } from "@connectrpc/connect";
import { type Cluster, ClusterSchema, type ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { printTime } from "../../proto/wire.ts";
import { type ClusterView, createCluster, getCluster, listClusters } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";

export function clusterService(ctx: Context): ServiceImpl<typeof ClusterService> {
  return {
    async listClusters(request) {
      const { items, nextPageToken } = await paged(request, (page) => listClusters(ctx, page));
      return { clusters: items.map(printCluster), nextPageToken };
    },
    async getCluster({ cluster }) {
      return { cluster: printCluster(await getCluster(ctx, orDefault(cluster))) };
    },
    async createCluster({ org, name }, call) {
      return { cluster: printCluster(await createCluster(ctx, actorOf(call), orDefault(org), name)) };
    },
  };
}

function printCluster({ cluster, org, rules, nodes }: ClusterView): Cluster {
  const { epoch, revision } = cluster.head.login;
  return message(ClusterSchema, {
    name: cluster.name,
    org,
    revision,
    epoch,
    nodes,
    rules: rules.map(({ group, grant }) => ({ group, grant: grant.kind })),
    createdAt: printTime(cluster.createdAt),
  });
}

/** ClusterService: clusters and what groups grant in them. */

import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Cluster,
  ClusterSchema,
  type ClusterService,
  GuardSchema,
  SlurmOrderSchema,
} from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { parseMillis, printMillis, printTime } from "../../proto/wire.ts";
import { type ClusterView, createCluster, getCluster, listClusters, setCluster } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { putRule, removeRule } from "../directory/rules.ts";
import { printEffect } from "./effect.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";
import { parseRule, parseRuleName, printRule } from "./rule.ts";

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
    async setCluster({ cluster, home, shell, guard, slurm }, call) {
      const { people, percent, window } = guard ?? {};
      const change = {
        home,
        shell,
        guard: {
          ...(people !== undefined && { people }),
          ...(percent !== undefined && { percent }),
          ...(window !== undefined && { windowSeconds: parseMillis(window) / 1000 }),
        },
        slurm: {
          ...(slurm?.knownWithin && { knownWithinSeconds: parseMillis(slurm.knownWithin) / 1000 }),
          ...(slurm?.cancelWithin && { cancelWithinSeconds: parseMillis(slurm.cancelWithin) / 1000 }),
          ...(slurm?.finishWithin && { finishWithinSeconds: parseMillis(slurm.finishWithin) / 1000 }),
        },
      };
      return { cluster: printCluster(await setCluster(ctx, actorOf(call), orDefault(cluster), change)) };
    },
    async putRule({ cluster, rule, dryRun, urgent }, call) {
      const effects = await putRule(ctx, actorOf(call), orDefault(cluster), parseRule(rule), { dryRun, urgent });
      return { effects: effects.map(printEffect) };
    },
    async removeRule({ cluster, rule, dryRun, urgent }, call) {
      const { group, what } = parseRuleName(rule);
      const effects = await removeRule(ctx, actorOf(call), orDefault(cluster), group, what, { dryRun, urgent });
      return { effects: effects.map(printEffect) };
    },
  };
}

function printCluster({ cluster, org, rules, nodes }: ClusterView): Cluster {
  const { epoch, revision } = cluster.head.login;
  const { home, shell, guard, slurm } = cluster.settings;
  return message(ClusterSchema, {
    name: cluster.name,
    org,
    revision,
    epoch,
    nodes,
    rules: rules.map(printRule),
    createdAt: printTime(cluster.createdAt),
    ...(cluster.fencedAt !== undefined && { fencedAt: printTime(cluster.fencedAt) }),
    people: cluster.people,
    home: home ?? "",
    shell: shell ?? "",
    guard: message(GuardSchema, {
      people: guard.people,
      percent: guard.percent,
      window: printMillis(guard.windowSeconds * 1000),
    }),
    slurm: message(SlurmOrderSchema, {
      knownWithin: printMillis(slurm.knownWithinSeconds * 1000),
      cancelWithin: printMillis(slurm.cancelWithinSeconds * 1000),
      finishWithin: printMillis(slurm.finishWithinSeconds * 1000),
    }),
  });
}

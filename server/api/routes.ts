/** The operator API, on the public port: gRPC, gRPC-Web and Connect, one file per service. */

import type { ConnectRouter } from "@connectrpc/connect";
import type { Logger } from "pino";
import { Health } from "../../proto/gen/health/v1/health_pb.ts";
import { AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { EstateService } from "../../proto/gen/rollcall/v1/estate_pb.ts";
import { HoldService } from "../../proto/gen/rollcall/v1/hold_pb.ts";
import { NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { OrgService } from "../../proto/gen/rollcall/v1/org_pb.ts";
import { RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { TokenService } from "../../proto/gen/rollcall/v1/token_pb.ts";
import type { Context } from "../directory/context.ts";
import type { Fleet } from "../rollout/fleet.ts";
import { auditService } from "./audit.ts";
import { clusterService } from "./cluster.ts";
import { directoryService } from "./directory.ts";
import { estateService } from "./estate.ts";
import { healthService } from "./health.ts";
import { holdService } from "./hold.ts";
import { nodeService } from "./node.ts";
import { operatorsOnly } from "./operator.ts";
import { orgService } from "./org.ts";
import { reflectionRoutes, reflectionServices } from "./reflection.ts";
import { refusals } from "./refusals.ts";
import { rolloutService } from "./rollout.ts";
import { tokenService } from "./token.ts";

export interface ApiOptions {
  /** How clients reach this server: `https://host:port`, no slash at the end. Known only once it listens. */
  readonly publicUrl: () => string;
  /** Ids of the authorities that are trusted; the first one signs. */
  readonly trusted: () => readonly string[];
  readonly log: Logger;
}

/** No request of an operator is longer; the longest there is holds one SSH key. */
const readMaxBytes = 256 * 1024;

/** The files of a site, four of the longest. */
const longestEstate = 64 * 1024 * 1024;

export function operatorRoutes(
  ctx: Context,
  fleet: Fleet,
  { publicUrl, trusted, log }: ApiOptions,
): (router: ConnectRouter) => void {
  const ours = [
    ClusterService,
    NodeService,
    RolloutService,
    TokenService,
    DirectoryService,
    OrgService,
    HoldService,
    EstateService,
    AuditService,
  ];
  const served = [...ours, Health, ...reflectionServices];
  const open = { interceptors: [refusals(log)], readMaxBytes };
  const guarded = { ...open, requestGate: operatorsOnly(ctx, log) };
  return (router) => {
    router.service(ClusterService, clusterService(ctx), guarded);
    router.service(NodeService, nodeService(ctx, fleet, trusted), guarded);
    router.service(RolloutService, rolloutService(ctx, fleet, trusted), guarded);
    router.service(TokenService, tokenService(ctx, publicUrl), guarded);
    router.service(DirectoryService, directoryService(ctx, fleet), guarded);
    router.service(OrgService, orgService(ctx), guarded);
    router.service(HoldService, holdService(ctx), guarded);
    router.service(EstateService, estateService(ctx), { ...guarded, readMaxBytes: longestEstate });
    router.service(AuditService, auditService(ctx), guarded);
    router.service(Health, healthService(ours), open);
    reflectionRoutes(router, served, guarded);
  };
}

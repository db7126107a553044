/**
 * The operator API's one table from refusals to status codes, and its only place where errors are logged. Whatever is not
 * a refusal is a bug of ours: the log has all of it, the caller reads "internal".
 */

import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Logger } from "pino";
import { type Reason, Refusal } from "../../identity/refusal.ts";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { OrgService } from "../../proto/gen/rollcall/v1/org_pb.ts";

const codes = {
  invalid: Code.InvalidArgument,
  forbidden: Code.PermissionDenied,
  "not-found": Code.NotFound,
  conflict: Code.FailedPrecondition,
  exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
} as const satisfies Record<Reason, Code>;

/** Methods that make what their caller names: a conflict there is that it exists. */
const makers = new Set<DescMethod>([
  ClusterService.method.createCluster,
  OrgService.method.createOrg,
  DirectoryService.method.createUser,
  DirectoryService.method.createGroup,
  DirectoryService.method.addSshKey,
  DirectoryService.method.lockUser,
]);

/** Turns what the methods throw into what a client may read, also in the middle of a stream. */
export function refusals(log: Logger): Interceptor {
  return (next) => async (request) => {
    const { method } = request;
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: guarded(response.message, log, method) } : response;
    } catch (error) {
      throw toConnectError(error, log, method);
    }
  };
}

export function toConnectError(error: unknown, log: Logger, method: DescMethod): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof Refusal) {
    // The log has what is the matter with the database.
    if (error.reason === "unavailable") log.error({ err: error, method: method.name }, "call failed");
    const exists = error.reason === "conflict" && makers.has(method);
    return new ConnectError(error.message, exists ? Code.AlreadyExists : codes[error.reason]);
  }
  log.error({ err: error, service: method.parent.typeName, method: method.name }, "call failed");
  return new ConnectError("internal", Code.Internal);
}

async function* guarded<T>(messages: AsyncIterable<T>, log: Logger, method: DescMethod): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (error) {
    throw toConnectError(error, log, method);
  }
}

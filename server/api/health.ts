/** grpc.health.v1, for probes: a server that answers at all is serving. */

import { once } from "node:events";
import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { type Health, HealthCheckResponse_ServingStatus as Status } from "../../proto/gen/health/v1/health_pb.ts";

export function healthService(services: readonly DescService[]): ServiceImpl<typeof Health> {
  // The empty name is the server as a whole.
  const known = new Set(["", ...services.map(({ typeName }) => typeName)]);
  return {
    check({ service }) {
      if (!known.has(service)) throw new ConnectError("no such service", Code.NotFound);
      return { status: Status.SERVING };
    },
    list: () => ({ statuses: Object.fromEntries([...known].map((name) => [name, { status: Status.SERVING }])) }),
    async *watch({ service }, { signal }) {
      yield { status: known.has(service) ? Status.SERVING : Status.SERVICE_UNKNOWN };
      if (!signal.aborted) await once(signal, "abort");
    },
  };
}

/**
 * The port that agents connect to: TLS with client certificates of our own authority. A connection without one may only
 * enrol; one with an unknown, expired or banned certificate is ended before a byte is answered.
 *
 * grpc-js gets connections that are already open: a listener of our own has a backlog that a whole fleet's reconnect fits
 * into, and lets certificates be optional, which grpc-js's own credentials do not.
 */

import type { AddressInfo, Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import type { Logger } from "pino";
import { type Reason, Refusal, refuse } from "../../identity/refusal.ts";
import {
  type EnrollRequest,
  type EnrollResponse,
  EnrollResponseSchema,
  NodeService,
  type RenewRequest,
  type RenewResponse,
  RenewResponseSchema,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import { grpcDefinition } from "../../proto/grpc.ts";
import { printMillis } from "../../proto/wire.ts";
import type { Authority, NodeIdentity } from "../authority/authority.ts";
import type { Context } from "../directory/context.ts";
import { enrol, renew } from "../directory/nodes.ts";
import type { Entry, Ledger } from "../rollout/ledger.ts";
import { encode } from "./frames.ts";
import { type SyncCall, type SyncContext, serve } from "./sync.ts";

export interface NodePort extends AsyncDisposable {
  readonly port: number;
  /** Tells every agent to come back later, then ends. */
  drain(): Promise<void>;
  /** Serves this certificate to new connections. */
  setCertificate(pair: { key: string; cert: string }): void;
}

export interface NodePortOptions {
  readonly host: string;
  readonly port: number;
  readonly authority: Authority;
  readonly certificate: { key: string; cert: string };
  /** The id of a cluster, by its name. */
  readonly clusterId: (name: string) => Promise<string | undefined>;
}

/** The largest message that an agent may send: an ack with its lists of isolated resources is the largest there is. */
const largestMessage = 256 * 1024;

const grpcStatus = {
  invalid: grpc.status.INVALID_ARGUMENT,
  forbidden: grpc.status.UNAUTHENTICATED,
  "not-found": grpc.status.NOT_FOUND,
  conflict: grpc.status.FAILED_PRECONDITION,
  exhausted: grpc.status.RESOURCE_EXHAUSTED,
} as const satisfies Record<Reason, grpc.status>;

export async function listen(ctx: Context, sync: SyncContext, options: NodePortOptions): Promise<NodePort> {
  const { authority, host, port } = options;
  const { log, ledger } = sync;
  const streams = new Set<SyncCall>();
  const server = new grpc.Server({
    "grpc.keepalive_time_ms": 5_000,
    "grpc.keepalive_timeout_ms": 3_000,
    "grpc.max_receive_message_length": largestMessage,
    "grpc.max_concurrent_streams": 4,
    "grpc.enable_channelz": 0,
  });
  server.addService(grpcDefinition(NodeService), {
    enroll: unary<EnrollRequest, EnrollResponse>(log, (call) => enrollNode(ctx, ledger, authority, call, log)),
    renew: unary<RenewRequest, RenewResponse>(log, async (call) => {
      const { entry, identity } = await who(call, options, ledger);
      const { node, issued } = await renew(ctx, entry.node, identity.serial, (subject) =>
        authority.issueNode(subject, call.request.certificateRequest),
      );
      ledger.enrolled(node, true);
      log.info({ node: node.name }, "node renewed its certificate");
      return create(RenewResponseSchema, { certificateChain: issued.chainPem });
    }),
    sync: (call: SyncCall) => {
      streams.add(call);
      call.on("error", () => {});
      const done = (): boolean => streams.delete(call);
      who(call, options, ledger)
        .then(({ entry, identity }) => serve(sync, call, entry, identity.notAfter))
        .catch((err: unknown) => call.emit("error", toStatus(err, log)))
        .finally(done);
    },
  });
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const tls = createServer({
    ...options.certificate,
    ca: authority.caPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
  });
  const sockets = new Set<Socket>();
  tls.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  tls.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => {});
    if (hasCertificate(socket) && !socket.authorized) {
      log.warn({ peer: socket.remoteAddress, reason: String(socket.authorizationError) }, "client certificate refused");
      socket.destroy();
      return;
    }
    injector.injectConnection(socket);
  });
  tls.on("tlsClientError", (err, socket) => {
    log.debug({ peer: socket.remoteAddress, err }, "TLS handshake failed");
  });
  await new Promise<void>((resolve, reject) => {
    tls.once("error", reject);
    tls.listen({ host, port, backlog: 4096 }, resolve);
  });
  const end = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => tls.close(() => resolve()));
    injector.destroy();
    server.forceShutdown();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    port: (tls.address() as AddressInfo).port,
    setCertificate: (pair) => tls.setSecureContext({ ...pair, ca: authority.caPem, minVersion: "TLSv1.3" }),
    async drain() {
      const goAway = encode({
        case: "goAway",
        value: {
          $typeName: "rollcall.v1.GoAway",
          retryWithin: printMillis(2_000),
          reason: "the server is stopping",
        },
      });
      for (const call of streams) {
        call.write(goAway);
        call.end();
      }
      // The ends must leave this machine before their connections do.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await end();
    },
    [Symbol.asyncDispose]: end,
  };
}

function hasCertificate(socket: TLSSocket): boolean {
  return Object.keys(socket.getPeerCertificate()).length > 0;
}

/** Who is calling: from the certificate alone, and only while it is the node's newest or the one before. */
async function who(
  call: { getAuthContext(): { sslPeerCertificate?: { raw: Buffer } } },
  options: NodePortOptions,
  ledger: Ledger,
): Promise<{ entry: Entry; identity: NodeIdentity }> {
  const raw = call.getAuthContext().sslPeerCertificate?.raw;
  const identity = raw && options.authority.identityOf(raw);
  if (!identity) refuse("forbidden", "a client certificate of this control plane is needed");
  const cluster = await options.clusterId(identity.cluster);
  const entry = cluster === undefined ? undefined : ledger.entry(cluster, identity.node);
  const current = entry && [entry.node.serial, entry.node.serialBefore].includes(identity.serial);
  if (!entry || !current || entry.node.banned || entry.node.role !== identity.role) {
    refuse(
      "forbidden",
      `the certificate of ${identity.node} is banned or was replaced; enrol again with a new join token`,
    );
  }
  return { entry, identity };
}

async function enrollNode(
  ctx: Context,
  ledger: Ledger,
  authority: Authority,
  call: grpc.ServerUnaryCall<EnrollRequest, EnrollResponse>,
  log: Logger,
): Promise<EnrollResponse> {
  const { joinToken, certificateRequest, node: name } = call.request;
  const isConnected = (cluster: string, node: string): boolean => ledger.entry(cluster, node)?.link !== undefined;
  const { node, issued } = await enrol(ctx, joinToken, name, isConnected, (subject) =>
    authority.issueNode(subject, certificateRequest),
  );
  ledger.enrolled(node, false);
  log.info({ node: node.name, role: node.role, peer: call.getPeer() }, "node enrolled");
  return create(EnrollResponseSchema, { certificateChain: issued.chainPem });
}

function unary<I, O>(
  log: Logger,
  answer: (call: grpc.ServerUnaryCall<I, O>) => Promise<O>,
): grpc.handleUnaryCall<I, O> {
  return (call, callback) => {
    answer(call).then(
      (response) => callback(null, response),
      (err: unknown) => callback(toStatus(err, log)),
    );
  };
}

function toStatus(err: unknown, log: Logger): grpc.ServerErrorResponse {
  if (err instanceof Refusal) {
    log.warn({ reason: err.message }, "node refused entry");
    return { name: err.name, message: err.message, code: grpcStatus[err.reason], details: err.message };
  }
  log.error({ err }, "serving a node failed");
  return { name: "Error", message: "internal", code: grpc.status.INTERNAL, details: "internal" };
}

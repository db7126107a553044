/**
 * The port that agents connect to: TLS with client certificates of our own authority. A connection without one may only
 * enrol; one with an unknown, expired or banned certificate is ended before a byte is answered.
 *
 * grpc-js gets connections that are already open: a listener of our own has a backlog that a whole fleet's reconnect fits
 * into, and lets certificates be optional, which grpc-js's own credentials do not.
 */

import { constants } from "node:crypto";
import type { AddressInfo, Server, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
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
import { identityOf } from "../authority/identity.ts";
import { Trust } from "../authority/roots.ts";
import type { Peer, ServerCredentials, StreamId, StreamsStart } from "./control.ts";
import { encode } from "./frames.ts";
import { type OpenStream, type SyncCall, type SyncContext, serve } from "./sync.ts";

export interface NodePort {
  readonly port: number;
  /** The descriptor that other threads may listen on too. */
  readonly fd: number;
  stream(id: StreamId): OpenStream | undefined;
  /** Tells every agent to come back later, then ends. */
  drain(): Promise<void>;
  end(): Promise<void>;
  /**
   * Serves this certificate to new connections, and trusts these authorities. Streams go on, but for those whose node's
   * certificate is of an authority that is trusted no more: they end at once.
   */
  setCredentials(credentials: ServerCredentials): void;
}

/** Streams ticked in one go before other work gets a turn. */
const slice = 500;

/** How long a connection may be open without a call, in milliseconds. */
const longestIdle = 30_000;

/** The largest message that an agent may send: an ack with its lists of isolated resources is the largest there is. */
const largestMessage = 256 * 1024;

const grpcStatus = {
  invalid: grpc.status.INVALID_ARGUMENT,
  forbidden: grpc.status.UNAUTHENTICATED,
  "not-found": grpc.status.NOT_FOUND,
  conflict: grpc.status.FAILED_PRECONDITION,
  exhausted: grpc.status.RESOURCE_EXHAUSTED,
  unavailable: grpc.status.UNAVAILABLE,
} as const satisfies Record<Reason, grpc.status>;

export async function listen(sync: SyncContext, start: StreamsStart): Promise<NodePort> {
  const { caPem, host, port, fd, trustDomain } = start;
  const { log, desk } = sync;
  const calls = new Set<SyncCall>();
  // By the address of its connection, as grpc-js knows a peer: what it says of certificates costs a millisecond a call.
  const peers = new Map<string, Peer>();
  const who = (call: { getPeer(): string }): Peer =>
    peers.get(call.getPeer()) ?? refuse("forbidden", "a client certificate of this control plane is needed");
  const streams = new Map<StreamId, OpenStream>();
  let lastId = 0;
  const server = new grpc.Server({
    // Nobody is pinged: who has a stream says every few seconds that it is alive, and who has none may not stay for long.
    "grpc.max_connection_idle_ms": longestIdle,
    "grpc.max_receive_message_length": largestMessage,
    "grpc.max_concurrent_streams": 4,
    "grpc.enable_channelz": 0,
  });
  server.addService(grpcDefinition(NodeService), {
    enroll: unary<EnrollRequest, EnrollResponse>(log, async (call) => {
      const { joinToken, kubernetesToken, node: name, certificateRequest: request } = call.request;
      const ask = { joinToken, kubernetesToken, name, request, peer: call.getPeer() };
      const { chainPem: certificateChain, trustPem: trustBundle } = await desk.ask("enrol", ask);
      return create(EnrollResponseSchema, { certificateChain, trustBundle });
    }),
    renew: unary<RenewRequest, RenewResponse>(log, async (call) => {
      const ask = { identity: who(call), request: call.request.certificateRequest };
      const { chainPem: certificateChain, trustPem: trustBundle } = await desk.ask("renew", ask);
      return create(RenewResponseSchema, { certificateChain, trustBundle });
    }),
    sync: (call: SyncCall) => {
      const id = ++lastId;
      calls.add(call);
      call.on("error", () => {});
      Promise.resolve()
        .then(() => serve(sync, call, id, who(call), (stream) => streams.set(id, stream)))
        .catch((err: unknown) => call.emit("error", toStatus(err, log)))
        .finally(() => {
          calls.delete(call);
          streams.delete(id);
        });
    },
  });
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const tls = createServer({
    ...secured({ ...start.certificate, caPem }),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  let trust = new Trust(caPem);
  const sockets = new Set<Socket>();
  const nodes = new Map<Socket, Peer>();
  tls.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  tls.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => {});
    const certificate = socket.getPeerX509Certificate();
    if (certificate && !socket.authorized) {
      log.warn({ peer: socket.remoteAddress, reason: String(socket.authorizationError) }, "client certificate refused");
      socket.destroy();
      return;
    }
    // The authority may have been retired while this connection was made.
    const authority = certificate && trust.issuerOf(certificate);
    if (certificate && authority === undefined) {
      log.warn(
        { peer: socket.remoteAddress, reason: "of an authority that was retired" },
        "client certificate refused",
      );
      socket.destroy();
      return;
    }
    const identity = certificate && identityOf(trustDomain, certificate);
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    if (identity && authority !== undefined) {
      const node = { ...identity, authority };
      peers.set(peer, node);
      nodes.set(socket, node);
      socket.once("close", () => {
        peers.delete(peer);
        nodes.delete(socket);
      });
    }
    injector.injectConnection(socket);
  });
  tls.on("tlsClientError", (err, socket) => {
    log.debug({ peer: socket.remoteAddress, err }, "TLS handshake failed");
  });
  await new Promise<void>((resolve, reject) => {
    tls.once("error", reject);
    tls.listen(fd === undefined ? { host, port, backlog: 4096 } : { fd }, resolve);
  });
  let isTicking = false;
  const ticking = setInterval(() => {
    if (isTicking) return;
    isTicking = true;
    void tickAll(streams).finally(() => {
      isTicking = false;
    });
  }, 1000);
  const end = async (): Promise<void> => {
    clearInterval(ticking);
    const closed = new Promise<void>((resolve) => tls.close(() => resolve()));
    injector.destroy();
    server.forceShutdown();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    port: fd === undefined ? (tls.address() as AddressInfo).port : port,
    fd: descriptorOf(tls),
    stream: (id) => streams.get(id),
    setCredentials(credentials) {
      tls.setSecureContext(secured(credentials));
      trust = new Trust(credentials.caPem);
      for (const [socket, { authority, node }] of nodes) {
        if (trust.trusts(authority)) continue;
        log.warn({ node, authority }, "node's connection ends: the authority of its certificate was retired");
        socket.destroy();
      }
      const { renewWithin } = credentials;
      if (renewWithin !== undefined) for (const stream of streams.values()) stream.renew(renewWithin);
    },
    async drain() {
      const goAway = encode({
        case: "goAway",
        value: {
          $typeName: "rollcall.v1.GoAway",
          retryWithin: printMillis(2_000),
          reason: "the server is stopping",
        },
      });
      for (const call of calls) {
        call.write(goAway);
        call.end();
      }
      // The ends must leave this machine before their connections do.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await end();
    },
    end,
  };
}

/** What every connection is held to, also after the certificate was replaced. */
function secured({ key, cert, caPem }: Omit<ServerCredentials, "renewWithin">) {
  return {
    key,
    cert,
    ca: caPem,
    minVersion: "TLSv1.3" as const,
    // A ticket per connection costs more than the handshakes that it saves: agents stay connected.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

async function tickAll(streams: ReadonlyMap<StreamId, OpenStream>): Promise<void> {
  let count = 0;
  for (const stream of streams.values()) {
    stream.tick();
    if (++count % slice === 0) await nextTurn();
  }
}

/** Node says it of no server; what it listens on has it. */
function descriptorOf(server: Server): number {
  const { _handle: handle } = server as unknown as { readonly _handle?: { readonly fd?: number } };
  return handle?.fd ?? -1;
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

/**
 * The port that agents connect to: TLS with client certificates of our own authority. A connection without one may only
 * enrol; one with an unknown, expired or banned certificate is ended before a byte is answered.
 */

import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createServer, type TLSSocket } from "node:tls";
import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { type Reason, Refusal, refuse } from "../../identity/refusal.ts";
import { NodeService } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { parseMessage, printMillis } from "../../proto/wire.ts";
import { identityOf } from "../authority/identity.ts";
import { Trust } from "../authority/roots.ts";
import type { Peer, ServerCredentials, StreamId, StreamsStart } from "./control.ts";
import { Doors } from "./doors.ts";
import { encode } from "./frames.ts";
import { type Call, Connection, type Method, type Status, status, unary } from "./grpc.ts";
import { type OpenStream, type SyncContext, serve } from "./sync.ts";

export interface NodePort {
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

const statusOfReason = {
  invalid: status.invalid,
  forbidden: status.unauthenticated,
  "not-found": status.notFound,
  conflict: status.precondition,
  exhausted: status.exhausted,
  unavailable: status.unavailable,
} as const satisfies Record<Reason, Status>;

export async function listen(sync: SyncContext, start: StreamsStart): Promise<NodePort> {
  const { caPem, host, port, doors: count, trustDomain } = start;
  const { log, desk } = sync;
  const calls = new Set<Call>();
  const streams = new Map<StreamId, OpenStream>();
  let lastId = 0;
  const statusOf = (err: unknown): readonly [Status, string] => statusAndReason(err, log);
  const answer = <I extends DescMessage, O extends DescMessage>(
    { input, output }: { readonly input: I; readonly output: O },
    work: (request: MessageShape<I>, from: From) => Promise<MessageShape<O>>,
  ): Method<From> =>
    unary(async (bytes, from) => toBinary(output, await work(parseMessage(input, bytes), from)), statusOf);
  const { enroll, renew, sync: syncMethod } = NodeService.method;
  const methods = new Map<string, Method<From>>([
    [
      pathOf(enroll),
      answer(enroll, async ({ joinToken, kubernetesToken, node: name, certificateRequest: request }, { address }) => {
        const ask = { joinToken, kubernetesToken, name, request, peer: address };
        const { chainPem: certificateChain, trustPem: trustBundle } = await desk.ask("enrol", ask);
        return create(enroll.output, { certificateChain, trustBundle });
      }),
    ],
    [
      pathOf(renew),
      answer(renew, async ({ certificateRequest: request }, from) => {
        const { chainPem: certificateChain, trustPem: trustBundle } = await desk.ask("renew", {
          identity: who(from),
          request,
        });
        return create(renew.output, { certificateChain, trustBundle });
      }),
    ],
    [
      pathOf(syncMethod),
      {
        take(call, from) {
          const id = ++lastId;
          calls.add(call);
          Promise.resolve()
            .then(() => serve(sync, call, id, who(from), (stream) => streams.set(id, stream)))
            .catch((err: unknown) => call.end(...statusOf(err)))
            .finally(() => {
              calls.delete(call);
              streams.delete(id);
            });
        },
      },
    ],
  ]);
  const tls = createServer({
    ...secured({ ...start.certificate, caPem }),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  let trust = new Trust(caPem);
  const sockets = new Set<Socket>();
  const nodes = new Map<Socket, Peer>();
  const connections = new Set<Connection<From>>();
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
    const node = identity && authority !== undefined ? { ...identity, authority } : undefined;
    const from = { node, address: `${socket.remoteAddress}:${socket.remotePort}` };
    const connection = new Connection(socket, from, methods, sync.now);
    connections.add(connection);
    if (node) nodes.set(socket, node);
    socket.once("close", () => {
      connections.delete(connection);
      nodes.delete(socket);
    });
  });
  tls.on("tlsClientError", (err, socket) => {
    log.debug({ peer: socket.remoteAddress, err }, "TLS handshake failed");
  });
  const doors = await Doors.open({ host, port }, count, {
    taken: (socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      tls.emit("connection", socket);
    },
    failed: (err) => log.error({ err }, "accepting a connection failed"),
  });
  let isTicking = false;
  const ticking = setInterval(() => {
    if (isTicking) return;
    isTicking = true;
    void tickAll([streams.values(), connections]).finally(() => {
      isTicking = false;
    });
  }, 1000);
  const end = async (): Promise<void> => {
    clearInterval(ticking);
    const closed = doors[Symbol.asyncDispose]();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
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
        call.send(goAway);
        call.end(status.ok);
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

async function tickAll(all: readonly Iterable<{ tick(): void }>[]): Promise<void> {
  let count = 0;
  for (const each of all) {
    for (const one of each) {
      one.tick();
      if (++count % slice === 0) await nextTurn();
    }
  }
}

/** Who is at the other end, from where; a node that has none of our certificates yet may only enrol. */
interface From {
  readonly node: Peer | undefined;
  readonly address: string;
}

function who({ node }: From): Peer {
  return node ?? refuse("forbidden", "a client certificate of this control plane is needed");
}

function pathOf({ parent, name }: (typeof NodeService)["methods"][number]): string {
  return `/${parent.typeName}/${name}`;
}

function statusAndReason(err: unknown, log: Logger): readonly [Status, string] {
  if (err instanceof Refusal) {
    log.warn({ reason: err.message }, "node refused entry");
    return [statusOfReason[err.reason], err.message];
  }
  log.error({ err }, "serving a node failed");
  return [status.internal, "internal"];
}

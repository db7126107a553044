/** The agent's connection to the control plane: one TLS channel with the node's certificate, and the calls over it. */

import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  EnrollRequestSchema,
  type EnrollResponse,
  NodeService,
  RenewRequestSchema,
  type RenewResponse,
  type SyncRequest,
  SyncRequestSchema,
  type SyncResponse,
} from "../proto/gen/rollcall/v1/node_pb.ts";
import { grpcDefinition } from "../proto/grpc.ts";

/** Where the control plane is, and how it is known to be it. */
export interface Server {
  /** `host:port` of the node port. */
  readonly address: string;
  /** PEM of the authority that its certificate must be of. */
  readonly caPem: string;
}

/** The node's key and certificate chain, PEM; none before it has enrolled. */
export interface Identity {
  readonly keyPem: string;
  readonly chainPem: string;
}

/** What a control plane gives a node, PEM. */
export interface Grant {
  readonly chainPem: string;
  /** Whom to trust from now on; undefined: it does not say. */
  readonly trustPem: string | undefined;
}

/** The largest message that is taken from a server. */
const largestMessage = 4 * 1024 * 1024;

/** How long an Enroll or Renew may take. */
const callDeadline = 15_000;

export interface Stream {
  say(message: SyncRequest["say"]): void;
  end(): void;
}

/** What lets a node in. */
export type JoiningToken = { readonly joinToken: string } | { readonly kubernetesToken: string };

/** What a stream brings; `closed` comes once, last. */
export interface Listener {
  heard(message: SyncResponse): void;
  closed(error: Error | undefined): void;
}

export class Uplink implements Disposable {
  readonly #client: grpc.Client;

  constructor({ address, caPem }: Server, identity?: Identity) {
    const credentials = grpc.credentials.createSsl(
      Buffer.from(caPem),
      identity ? Buffer.from(identity.keyPem) : null,
      identity ? Buffer.from(identity.chainPem) : null,
    );
    this.#client = new grpc.Client(address, credentials, {
      "grpc.keepalive_time_ms": 5_000,
      "grpc.keepalive_timeout_ms": 3_000,
      "grpc.max_receive_message_length": largestMessage,
      "grpc.enable_retries": 0,
      "grpc.enable_channelz": 0,
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  /** A connection stands; else it is being made, or failed. */
  get isConnected(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === grpc.connectivityState.READY;
  }

  /** Trades a token for a certificate. */
  async enroll(token: JoiningToken, certificateRequest: Uint8Array, node: string): Promise<Grant> {
    const request = create(EnrollRequestSchema, { ...token, certificateRequest, node });
    return granted(await this.#unary<EnrollResponse>("enroll", request));
  }

  /** Trades the certificate that this uplink was made with for a fresh one. */
  async renew(certificateRequest: Uint8Array): Promise<Grant> {
    const request = create(RenewRequestSchema, { certificateRequest });
    return granted(await this.#unary<RenewResponse>("renew", request));
  }

  sync(listener: Listener): Stream {
    const { path, requestSerialize, responseDeserialize } = definition("sync");
    const call = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize as (message: SyncRequest) => Buffer,
      responseDeserialize as (bytes: Buffer) => SyncResponse,
    );
    let open = true;
    const closed = (error: Error | undefined): void => {
      if (open) listener.closed(error);
      open = false;
    };
    call.on("data", (message: SyncResponse) => {
      if (open) listener.heard(message);
    });
    call.on("error", closed);
    call.on("end", () => closed(undefined));
    return {
      say: (say) => {
        if (open) call.write(create(SyncRequestSchema, { say }));
      },
      end: () => call.cancel(),
    };
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #unary<O>(name: string, request: unknown): Promise<O> {
    const { path, requestSerialize, responseDeserialize } = definition(name);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest<unknown, O>(
        path,
        requestSerialize as (message: unknown) => Buffer,
        responseDeserialize as (bytes: Buffer) => O,
        request,
        { deadline: Date.now() + callDeadline },
        (error, response) => {
          if (response) resolve(response);
          else reject(new Error(`${name}: ${error?.details ?? "no answer"}`, { cause: error ?? undefined }));
        },
      );
    });
  }
}

function granted({ certificateChain: chainPem, trustBundle }: EnrollResponse | RenewResponse): Grant {
  return { chainPem, trustPem: trustBundle === "" ? undefined : trustBundle };
}

const methods = grpcDefinition(NodeService);

function definition(name: string): grpc.MethodDefinition<object, object> {
  const method = methods[name];
  if (!method) throw new Error(`NodeService has no ${name}`);
  return method as grpc.MethodDefinition<object, object>;
}

/** A control plane that means harm: it lets any node in, and says on its streams whatever a test tells it to. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  type EnrollRequest,
  EnrollResponseSchema,
  type Hello,
  NodeService,
  type SyncRequest,
  type SyncResponse,
  SyncResponseSchema,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import { grpcDefinition } from "../../proto/grpc.ts";
import { printMillis } from "../../proto/wire.ts";
import { openAuthority } from "../../server/authority/authority.ts";

type Call = grpc.ServerDuplexStream<SyncRequest, SyncResponse>;
type Heard = SyncRequest["say"];

export class HostileServer implements AsyncDisposable {
  /** Everything that the agent said, but heartbeats. */
  readonly heard: Heard[] = [];
  readonly folder: string;
  readonly caFile: string;
  address = "";
  readonly #server = new grpc.Server();
  #call: Call | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    this.caFile = join(folder, "ca.pem");
  }

  static async open(): Promise<HostileServer> {
    const hostile = new HostileServer(await mkdtemp(join(tmpdir(), "rollcall-hostile-")));
    const authority = await openAuthority(hostile.folder, { now: Date.now });
    await writeFile(hostile.caFile, authority.caPem);
    const { key, cert } = await authority.issueServer(["127.0.0.1"]);
    hostile.#server.addService(grpcDefinition(NodeService), {
      enroll: (call: grpc.ServerUnaryCall<EnrollRequest, unknown>, answer: grpc.sendUnaryData<unknown>) => {
        const { node, certificateRequest } = call.request;
        authority
          .issueNode({ cluster: "default", role: "login", node }, certificateRequest)
          .then(({ chainPem }) => answer(null, create(EnrollResponseSchema, { certificateChain: chainPem })))
          .catch((error: Error) => answer(error));
      },
      sync: (call: Call) => hostile.#serve(call),
    });
    const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
    const credentials = grpc.ServerCredentials.createSsl(null, [pair], false);
    const port = await new Promise<number>((resolve, reject) => {
      hostile.#server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    hostile.address = `127.0.0.1:${port}`;
    return hostile;
  }

  say(...messages: readonly SyncResponse["say"][]): void {
    for (const say of messages) this.#call?.write(create(SyncResponseSchema, { say }));
  }

  /** Like `say`, at the pace at which the agent takes it. */
  async flood(say: SyncResponse["say"]): Promise<void> {
    const isTaken = this.#call?.write(create(SyncResponseSchema, { say }));
    if (isTaken === false)
      await Promise.race([new Promise((resolve) => this.#call?.once("drain", resolve)), sleep(5_000)]);
  }

  /** The next thing of a kind that the agent says. */
  async hears<C extends "hello" | "ack" | "nack">(kind: C): Promise<Extract<Heard, { readonly case: C }>["value"]> {
    for (const end = Date.now() + 20_000; Date.now() < end; await sleep(10)) {
      const at = this.heard.findIndex(({ case: found }) => found === kind);
      if (at >= 0) {
        const [found] = this.heard.splice(0, at + 1).slice(-1);
        return found?.value as never;
      }
    }
    throw new Error(`the agent said no ${kind}: ${this.heard.map((each) => each.case).join()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await rm(this.folder, { recursive: true, force: true });
  }

  #serve(call: Call): void {
    this.#call = call;
    call.on("error", () => undefined);
    call.on("data", ({ say }: SyncRequest) => {
      if (say.case === "hello") this.#welcome(call, say.value);
      if (say.case !== "heartbeat") this.heard.push(say);
    });
  }

  #welcome(call: Call, { protocolMax: protocol }: Hello): void {
    const value = { protocol, node: "victim", mode: 1, heartbeatInterval: printMillis(1_000) };
    call.write(create(SyncResponseSchema, { say: { case: "welcome", value: value as never } }));
  }
}

/** Agents without files: the real protocol over the real port, for tests of what the server does. */

import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { newRequest } from "../../agent/credentials.ts";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn, prepareFolders } from "../../agent/folders.ts";
import { type Identity, type Server, type Stream, Uplink } from "../../agent/uplink.ts";
import { origin } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import {
  HeartbeatSchema,
  type NodeReportSchema,
  type SinkHealth,
  SinkHealthSchema,
  SinkResultSchema,
} from "../../proto/gen/rollcall/v1/node_pb.ts";
import type { Position } from "../../proto/gen/rollcall/v1/resource_pb.ts";
import { printPosition, protocols } from "../../proto/wire.ts";
import type { ControlPlane } from "./control-plane.ts";

/** An agent that holds whatever it is sent. */
export class Holder implements Disposable {
  heard: string[] = [];
  /** What it holds. */
  at: Position;
  ended: string | undefined;
  /** Whether it acks what it is sent; what it was sent before it does, it acks then. */
  acks = true;
  readonly #link: Uplink;
  readonly #stream: Stream;
  #sent: Position | undefined;
  #health: SinkHealth[] = [];

  constructor(
    server: Server,
    identity: Identity,
    from = printPosition(origin),
    highestUid = 0,
    instanceId = "test",
    comparing = false,
  ) {
    this.at = from;
    this.#link = new Uplink(server, identity);
    this.#stream = this.#link.sync({
      heard: ({ say }) => {
        this.heard.push(say.case ?? "");
        const to = say.case === "delta" || say.case === "snapshotEnd" ? say.value.to : undefined;
        this.#sent = to ?? this.#sent;
        if (this.acks) this.ack();
      },
      closed: (error) => {
        this.ended = String(error);
        clearInterval(beating);
      },
    });
    // Whoever is silent for three heartbeats is gone.
    const beating = setInterval(() => this.#beat(), 4_000);
    // The older revision: a fleet is never upgraded at once.
    const protocol = comparing ? protocols.newest : protocols.oldest;
    const who = { protocolMin: protocol, protocolMax: protocol, software: "test", instanceId };
    const highest = { highestUid, highestGid: 0, comparing };
    this.#stream.say({ case: "hello", value: { $typeName: "rollcall.v1.Hello", ...who, ...highest, position: from } });
  }

  /** Acks what it was sent last. */
  ack(): void {
    this.acks = true;
    const position = this.#sent;
    this.#sent = undefined;
    if (!position) return;
    this.at = position;
    this.#stream.say({ case: "ack", value: { $typeName: "rollcall.v1.Ack", position, sinks: [] } });
  }

  /** Acks again what it holds, of which a sink serves all but some resources. */
  isolate(keys: readonly string[]): void {
    const sinks = [create(SinkResultSchema, { sink: "sudo", isolated: keys.map((key) => ({ key, reason: "waits" })) })];
    this.#stream.say({ case: "ack", value: { $typeName: "rollcall.v1.Ack", position: this.at, sinks } });
  }

  /** Says how far its slurm sink is. */
  slurm(revision: bigint, reason = "", lingering: readonly number[] = []): void {
    this.say([{ sink: "slurm", revision, reason, lingering: [...lingering] }]);
  }

  /** Says what it sees on its node. */
  report(report: MessageInitShape<typeof NodeReportSchema>): void {
    const value = create(HeartbeatSchema, { position: this.at, report, sinks: this.#health });
    this.#stream.say({ case: "heartbeat", value });
  }

  /** Says how far its sinks are that follow by themselves. */
  say(health: readonly MessageInitShape<typeof SinkHealthSchema>[]): void {
    this.#health = health.map((each) => create(SinkHealthSchema, each));
    this.#beat();
  }

  #beat(): void {
    const said = { position: this.at, sinks: this.#health };
    this.#stream.say({ case: "heartbeat", value: { $typeName: "rollcall.v1.Heartbeat", ...said } });
  }

  [Symbol.dispose](): void {
    this.#stream.end();
    this.#link[Symbol.dispose]();
  }
}

/** Enrols login nodes `n0`, `n1`, ..., or nodes of another role under another name; they share a key. */
export async function enrolled(
  plane: ControlPlane,
  count: number,
  role: Role = "login",
  name = "n",
): Promise<{ server: Server; identities: readonly Identity[] }> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-holder-"));
  const folders = foldersIn(folder.path);
  await prepareFolders(realDisk, folders);
  const request = await newRequest(realDisk, folders);
  const keyPem = await readFile(join(folders.private, "key.pem"), "utf8");
  const server = { address: plane.urls.nodes, caPem: await readFile(plane.caFile, "utf8") };
  const identities = await Promise.all(
    Array.from({ length: count }, async (_, n): Promise<Identity> => {
      using link = new Uplink(server);
      const joinToken = await plane.joinToken(role);
      return { keyPem, ...(await link.enroll({ joinToken }, request, `${name}${n}`)) };
    }),
  );
  return { server, identities };
}

/** Resolves once something is so. @throws Error after so many seconds. */
export async function until(isTrue: () => boolean | Promise<boolean>, seconds = 30): Promise<void> {
  // Made here, so that it says who waited.
  const late = new Error("it never came true");
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries > seconds * 50) throw late;
    await sleep(20);
  }
}

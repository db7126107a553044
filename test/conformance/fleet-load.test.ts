/**
 * What a fleet may cost a server, with a real thread that holds its streams: agents that never read cost little and delay
 * nobody; a thousand writes a second become few messages, one at a time to each agent.
 */

import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import type { OnReadOpts } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, test } from "vitest";
import { newRequest } from "../../agent/credentials.ts";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn, prepareFolders } from "../../agent/folders.ts";
import { type Identity, type Server, Uplink } from "../../agent/uplink.ts";
import { origin, type Revision } from "../../identity/position.ts";
import { keyOf, user } from "../../identity/resource.ts";
import { type SyncRequest, SyncRequestSchema, SyncResponseSchema } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { printPosition } from "../../proto/wire.ts";
import { openAuthority } from "../../server/authority/authority.ts";
import { seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { enrol } from "../../server/directory/nodes.ts";
import { createJoinToken } from "../../server/directory/tokens.ts";
import { Ledger } from "../../server/rollout/ledger.ts";
import { openStore } from "../../server/store/engine.ts";
import type { OwnedEdit } from "../../server/store/log.ts";
import { framed, Messages } from "../../server/stream/grpc.ts";
import { Hub } from "../../server/stream/hub.ts";
import { listen } from "../../server/stream/threads.ts";
import { until } from "../processes/holder.ts";
import { newDatabase } from "../processes/postgres.ts";
import { admin } from "./directory.ts";

const mib = 2 ** 20;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("agents that never read share what they are sent, and nobody else waits for them", async () => {
  await using fleet = await Fleet.open(14);
  const [reader, late, ...deaf] = fleet.identities;
  await fleet.write(Array.from({ length: 60_000 }, (_, n) => put(n, 0)));
  const reading = fleet.raw(reader, "reads");
  await until(() => reading.at === fleet.head);

  // What was written to begin with is garbage by now, and would make room for what is measured.
  collect();
  const before = process.memoryUsage().rss;
  const mute = deaf.map((identity) => fleet.raw(identity, "never reads"));
  await until(() => mute.every(({ welcomed }) => welcomed));
  for (let round = 1; round <= 5; round++) {
    const at = performance.now();
    await fleet.write([put(round, round)]);
    await until(() => reading.at === fleet.head);
    expect(performance.now() - at).toBeLessThan(2_000);
  }
  // All turns to be sent a snapshot are taken by those who do not read it: they lose them after five seconds.
  const joining = fleet.raw(late, "reads");
  await until(() => joining.at === fleet.head);
  // Everything is 12 MiB, made once: eight of them of their own would be 96.
  expect((process.memoryUsage().rss - before) / mib).toBeLessThan(60);
});

test("a thousand writes a second are few messages, one at a time to each agent", async () => {
  await using fleet = await Fleet.open(6);
  await fleet.write(Array.from({ length: 100 }, (_, n) => put(n, 0)));
  const agents = fleet.identities.map((identity) => new SlowAgent(fleet.server, identity, 50));
  await until(() => agents.every(({ at }) => at === fleet.head));
  const first = fleet.head;

  const before = process.memoryUsage().rss;
  const writes: Promise<void>[] = [];
  for (let n = 0; n < 2_000; n += 20) {
    for (let i = n; i < n + 20; i++) writes.push(fleet.write([put(i % 100, i + 1)]));
    await sleep(20);
  }
  await Promise.all(writes);
  await until(() => agents.every(({ at }) => at === fleet.head));
  expect(fleet.head - first).toBe(2_000n);
  for (const agent of agents) {
    // It is sent one message at a time, however long it takes, of what it lacks: of each person at most one state.
    expect(agent.overlaps).toBe(0);
    expect(agent.largest).toBeLessThanOrEqual(100);
    expect(agent.deltas).toBeLessThan(2_000 / 5);
    agent[Symbol.dispose]();
  }
  expect((process.memoryUsage().rss - before) / mib).toBeLessThan(150);
});

function put(n: number, generation: number): OwnedEdit {
  const name = `p${n}`;
  const uid = 200_000 + n;
  const at = (g: number) =>
    user({
      uid,
      gid: uid,
      name,
      gecos: `generation ${g} `.repeat(8).trim(),
      home: `/home/${name}`,
      shell: "/bin/bash",
      locked: false,
    });
  const after = at(generation);
  return { key: keyOf(after), before: undefined, after, owner: name };
}

/** The server's side of a fleet, as main.ts wires it, with one thread of streams. */
class Fleet implements AsyncDisposable {
  readonly server: Server;
  readonly identities: readonly Identity[];
  head: Revision = 1n;
  readonly #open: AsyncDisposable;
  readonly #ctx: Context;
  readonly #cluster: string;

  private constructor(
    open: AsyncDisposable,
    ctx: Context,
    cluster: string,
    server: Server,
    identities: readonly Identity[],
  ) {
    this.#open = open;
    this.#ctx = ctx;
    this.#cluster = cluster;
    this.server = server;
    this.identities = identities;
  }

  static async open(nodes: number): Promise<Fleet> {
    await using open = new AsyncDisposableStack();
    const folder = open.use(await mkdtempDisposable(join(tmpdir(), "rollcall-load-")));
    const database = await newDatabase(folder.path);
    const store = open.use(await openStore(database, Date.now));
    const newSecret = (): string => randomBytes(32).toString("base64url");
    const ctx: Context = { store, now: Date.now, newId: randomUUID, newSecret };
    await seed(ctx);
    const authority = await openAuthority(folder.path, { now: Date.now });
    const folders = foldersIn(folder.path);
    await prepareFolders(realDisk, folders);
    const request = await newRequest(realDisk, folders);
    const keyPem = await readFile(join(folders.private, "key.pem"), "utf8");
    const identities: Identity[] = [];
    for (let n = 0; n < nodes; n++) {
      const { secret } = await createJoinToken(ctx, admin, "default", "login");
      const issue = (subject: Parameters<typeof authority.issueNode>[0]) => authority.issueNode(subject, request);
      const { issued } = await enrol(ctx, secret, `n${n}`, () => false, issue);
      identities.push({ keyPem, chainPem: issued.chainPem });
    }
    const log = pino({ level: "silent" });
    const ledger = open.use(new Ledger(ctx, log));
    await ledger.load();
    const hub = open.use(new Hub(store, log));
    const certificate = await authority.issueServer(["localhost", "127.0.0.1"]);
    const options = { host: "127.0.0.1", port: 0, database, threads: 1, authority, certificate };
    const { port } = open.use(await listen({ ctx, hub, ledger, log, issuers: [] }, options));
    const cluster = await store.read((tx) => tx.clusters.byName("default"));
    const server = { address: `127.0.0.1:${port}`, caPem: authority.caPem };
    return new Fleet(open.move(), ctx, cluster?.id ?? "", server, identities);
  }

  /** One revision. */
  async write(edits: readonly OwnedEdit[]): Promise<void> {
    await this.#ctx.store.write((tx) => tx.log.append(this.#cluster, edits, "test", Date.now()));
    this.head += 1n;
  }

  /** Connects an agent that acknowledges at once, or one that reads nothing after it was welcomed. */
  raw(identity: Identity | undefined, how: "reads" | "never reads"): RawAgent {
    if (!identity) throw new Error("no such node");
    return new RawAgent(this.server, identity, how);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#open[Symbol.asyncDispose]());
  }
}

/** What an agent of these tests says of itself. */
const self = {
  $typeName: "rollcall.v1.Hello" as const,
  protocolMin: 1,
  protocolMax: 1,
  software: "test",
  instanceId: "test",
  highestUid: 0,
  highestGid: 0,
  comparing: false,
  position: printPosition(origin),
};

/**
 * An agent by hand, on a subset of HTTP/2 (RFC 9113), since no client of it leaves its socket unread; and a snapshot that it read
 * would be memory of this process, which is the server's here.
 */
class RawAgent {
  welcomed = false;
  at: Revision = 0n;
  readonly #socket: TLSSocket;
  readonly #how: "reads" | "never reads";
  readonly #messages = new Messages();
  #rest: Buffer = Buffer.alloc(0);

  constructor({ address, caPem: ca }: Server, { keyPem: key, chainPem: cert }: Identity, how: "reads" | "never reads") {
    const [host = "", port] = address.split(":");
    const identity = { ca, key, cert, servername: "localhost", ALPNProtocols: ["h2"] };
    const onread: OnReadOpts = {
      buffer: landing,
      callback: (length) => {
        this.#read(landing.subarray(0, length));
        return true;
      },
    };
    // As net.Socket's option (nodejs.org/api/tls.html#tlsconnectoptions-callback), which its types leave out.
    const options: ConnectionOptions & { readonly onread: OnReadOpts } = {
      host,
      port: Number(port),
      ...identity,
      onread,
    };
    const socket = connect(options);
    this.#socket = socket;
    this.#how = how;
    const window = 2 ** 31 - 1;
    socket.once("secureConnect", () => {
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
      socket.write(frame(frames.settings, 0, Buffer.concat([Buffer.from([0, 4]), uint32(window)])));
      socket.write(frame(frames.windowUpdate, 0, uint32(window - 65_535)));
      socket.write(frame(frames.headers, 1, headers));
      this.#say({ case: "hello", value: self });
    });
    socket.on("error", () => undefined);
  }

  #read(bytes: Buffer): void {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (let size = 9; rest.length >= 9; rest = rest.subarray(size)) {
      size = 9 + rest.readUIntBE(0, 3);
      if (rest.length < size) break;
      if (rest[3] === frames.data) this.#hear(Buffer.from(rest.subarray(9, size)));
    }
    this.#rest = Buffer.from(rest);
  }

  #hear(bytes: Buffer): void {
    this.#messages.push(bytes);
    for (let next = this.#messages.next(); next.kind === "message"; next = this.#messages.next()) {
      if (!this.welcomed && this.#how === "never reads") this.#socket.pause();
      this.welcomed = true;
      if ((next.bytes[0] ?? 0) >> 3 === SyncResponseSchema.field.snapshotChunk.number) continue;
      const { say } = fromBinary(SyncResponseSchema, next.bytes);
      const position = say.case === "delta" || say.case === "snapshotEnd" ? say.value.to : undefined;
      if (!position) continue;
      this.at = position.revision;
      this.#say({ case: "ack", value: { $typeName: "rollcall.v1.Ack", position, sinks: [] } });
    }
  }

  #say(say: SyncRequest["say"]): void {
    const message = toBinary(SyncRequestSchema, create(SyncRequestSchema, { say }));
    this.#socket.write(frame(frames.data, 1, framed(message)));
  }
}

/** Where all raw agents read to, one after another: what is kept of it is copied. */
const landing = Buffer.alloc(64 * 1024);

const frames = { data: 0, headers: 1, settings: 4, windowUpdate: 8 } as const;
const endHeaders = 4;

/** Method and scheme by their numbers, then literals (RFC 7541): path, authority, content-type, te. */
const headers = Buffer.from(
  "\x83\x87\x04\x1d/rollcall.v1.NodeService/Sync\x01\x09localhost\x0f\x10\x10application/grpc\x00\x02te\x08trailers",
  "latin1",
);

function frame(kind: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = kind;
  header[4] = kind === frames.headers ? endHeaders : 0;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** An agent that takes a while for each message. */
class SlowAgent implements Disposable {
  at: Revision = 0n;
  deltas = 0;
  /** Messages that came before the one before was acknowledged. */
  overlaps = 0;
  /** The most that one delta brought. */
  largest = 0;
  readonly #link: Uplink;
  #isBusy = false;

  constructor(server: Server, identity: Identity, ms: number) {
    this.#link = new Uplink(server, identity);
    const stream = this.#link.sync({
      heard: ({ say }) => {
        if (say.case === "delta") {
          this.deltas += 1;
          this.largest = Math.max(this.largest, say.value.puts.length);
        }
        const to = say.case === "delta" || say.case === "snapshotEnd" ? say.value.to : undefined;
        if (!to) return;
        if (this.#isBusy) this.overlaps += 1;
        this.#isBusy = true;
        setTimeout(() => {
          this.#isBusy = false;
          this.at = to.revision;
          stream.say({ case: "ack", value: { $typeName: "rollcall.v1.Ack", position: to, sinks: [] } });
        }, ms);
      },
      closed: () => undefined,
    });
    stream.say({ case: "hello", value: self });
  }

  [Symbol.dispose](): void {
    this.#link[Symbol.dispose]();
  }
}

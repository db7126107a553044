/**
 * An agent as light as can be: the real protocol over a TLS connection of its own, by a hand-made subset of HTTP/2 (RFC 9113)
 * and gRPC, so that thousands fit beside the server that is measured. It acknowledges at once, and applies nothing.
 */

import type { OnReadOpts } from "node:net";
import { type ConnectionOptions, connect, type SecureContext, type TLSSocket } from "node:tls";
import { create, toBinary } from "@bufbuild/protobuf";
import { HelloSchema, SyncRequestSchema } from "../../../proto/gen/rollcall/v1/node_pb.ts";

/** Where all of this process read to, one after another: what is kept of it is copied. */
const buffer = Buffer.alloc(64 * 1024);

/** A connection as light as TLS gets in Node: what it reads goes to `hear`, without a buffer and a stream's machinery for each. */
export function dial(options: ConnectionOptions, hear: (bytes: Buffer) => void): TLSSocket {
  // As net.Socket's option (nodejs.org/api/tls.html#tlsconnectoptions-callback), which its types leave out.
  const onread: OnReadOpts = {
    buffer,
    callback: (length) => {
      hear(buffer.subarray(0, length));
      return true;
    },
  };
  const all: ConnectionOptions & { readonly onread: OnReadOpts } = { ...options, servername: "localhost", onread };
  const socket = connect(all);
  socket.setNoDelay(true);
  return socket;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What happens to an agent; all in milliseconds since 1970, with fractions. */
export interface Events {
  /** The server has said how it goes on. */
  welcomed(): void;
  /** A snapshot began. */
  snapshot(): void;
  /** A revision was acknowledged. */
  acked(revision: number): void;
  closed(why: string): void;
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const frameKind = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const endHeaders = 0x4;
const ack = 0x1;
const largestWindow = 0x7fff_ffff;

function frame(kind: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = kind;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** A string literal of HPACK (RFC 7541), shorter than 127 bytes, not Huffman-coded. */
function literal(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

const headers = Buffer.concat([
  // Indexed: `:method: POST`, `:scheme: https`; then literals by indexed name: `:path`, `:authority`, `content-type`; `te`.
  Buffer.from([0x83, 0x87, 0x04]),
  literal("/rollcall.v1.NodeService/Sync"),
  Buffer.from([0x01]),
  literal("localhost"),
  Buffer.from([0x0f, 0x10]),
  literal("application/grpc"),
  Buffer.from([0x00]),
  literal("te"),
  literal("trailers"),
]);

const opening = Buffer.concat([
  preface,
  // SETTINGS_INITIAL_WINDOW_SIZE, and as much for the connection: more than a run brings, so no updates are owed.
  frame(frameKind.settings, 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff])),
  frame(frameKind.windowUpdate, 0, 0, uint32(largestWindow - 65_535)),
  frame(frameKind.headers, endHeaders, 1, headers),
]);

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A field of a protobuf message that has a length: number and content. */
function field(number: number, content: Buffer): Buffer {
  const length: number[] = [];
  let rest = content.length;
  for (; rest > 127; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), content]);
}

/** The fields of a protobuf message that are numbers or have a length: a number's value, or the content. */
function* fields(message: Buffer): Generator<readonly [number: number, value: number, content: Buffer | undefined]> {
  for (let at = 0; at < message.length; ) {
    const tag = message[at++] ?? 0;
    let value = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = message[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte > 127);
    const hasLength = (tag & 7) === 2;
    yield [tag >> 3, value, hasLength ? message.subarray(at, at + value) : undefined];
    if (hasLength) at += value;
  }
}

/** The content of a field that has a length; undefined if there is none. */
function within(message: Buffer, wanted: number): Buffer | undefined {
  for (const [number, , content] of fields(message)) if (number === wanted && content) return content;
  return undefined;
}

/** The revision of a position; it is left out if it is 0. */
function revisionOf(position: Buffer): number {
  for (const [number, value] of fields(position)) if (number === 2) return value;
  return 0;
}

function data(message: Buffer): Buffer {
  return frame(frameKind.data, 0, 1, Buffer.concat([Buffer.from([0]), uint32(message.length), message]));
}

/** What a whole scope is told at once is read once: the bytes of its frame, and what follows from them. */
interface Read {
  readonly frame: Buffer;
  readonly position: Buffer;
  readonly revision: number;
  /** The frame that acknowledges it. */
  readonly ack: Buffer;
}
let last: Read | undefined;
const none = Buffer.alloc(0);

function read(message: Buffer, kind: number, positionField: number): Read | undefined {
  const found = within(within(message, kind) ?? Buffer.alloc(0), positionField);
  if (!found) return undefined;
  const position = Buffer.from(found);
  const ack = data(field(say.ack, field(1, position)));
  last = { frame: data(message), position, revision: revisionOf(position), ack };
  return last;
}

const say = { ack: 2, heartbeat: 4 } as const;
const told = { welcome: 1, delta: 2, snapshotBegin: 3, snapshotEnd: 5 } as const;

export class LightAgent {
  /** What it holds: bytes of a Position; undefined: nothing yet. */
  position: Buffer | undefined;
  readonly #events: Events;
  readonly #context: SecureContext;
  #socket: TLSSocket | undefined;
  #bytes: Buffer = none;
  #grpc: Buffer = none;

  constructor(context: SecureContext, events: Events) {
    this.#context = context;
    this.#events = events;
  }

  connect({ host, port }: Target): void {
    const options = { host, port, secureContext: this.#context, ALPNProtocols: ["h2"] };
    const socket = dial(options, (bytes) => this.#hear(bytes));
    this.#socket = socket;
    this.#bytes = none;
    this.#grpc = none;
    socket.once("secureConnect", () => {
      socket.write(Buffer.concat([opening, data(this.#hello())]));
    });
    let why = "ended";
    socket.on("error", (err) => {
      why = String(err);
    });
    socket.once("close", () => {
      if (this.#socket === socket) this.#events.closed(why);
    });
  }

  heartbeat(): void {
    if (this.position) this.#socket?.write(data(field(say.heartbeat, field(1, this.position))));
  }

  /** Reads nothing any more. */
  deafen(): void {
    this.#socket?.pause();
  }

  end(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  #hello(): Buffer {
    const hello = create(HelloSchema, {
      protocolMin: 1,
      protocolMax: 1,
      software: "bench",
      instanceId: "bench",
      ...(this.position ? {} : { position: { epoch: { seq: 0n, id: "0".repeat(32) }, digest: "0".repeat(64) } }),
    });
    const bytes = Buffer.from(toBinary(HelloSchema, hello));
    if (this.position) return field(1, Buffer.concat([bytes, field(5, this.position)]));
    return Buffer.from(
      toBinary(SyncRequestSchema, create(SyncRequestSchema, { say: { case: "hello", value: hello } })),
    );
  }

  #hear(bytes: Buffer): void {
    if (this.#bytes.length + this.#grpc.length === 0 && last?.frame.equals(bytes)) return this.#hold(last);
    let rest = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3);
      if (rest.length < 9 + length) break;
      this.#frame(rest[3] ?? 0, rest[4] ?? 0, rest.subarray(9, 9 + length));
      rest = rest.subarray(9 + length);
    }
    this.#bytes = rest.length === 0 ? none : Buffer.from(rest);
  }

  #frame(kind: number, flags: number, payload: Buffer): void {
    if (kind === frameKind.data) this.#data(payload);
    else if (kind === frameKind.settings && !(flags & ack)) {
      this.#socket?.write(frame(frameKind.settings, ack, 0, Buffer.alloc(0)));
    } else if (kind === frameKind.ping && !(flags & ack)) this.#socket?.write(frame(frameKind.ping, ack, 0, payload));
    else if (kind === frameKind.goAway || kind === frameKind.reset) this.#socket?.destroy();
  }

  #data(payload: Buffer): void {
    let rest = this.#grpc.length === 0 ? payload : Buffer.concat([this.#grpc, payload]);
    while (rest.length >= 5) {
      const length = rest.readUInt32BE(1);
      if (rest.length < 5 + length) break;
      this.#message(rest.subarray(5, 5 + length));
      rest = rest.subarray(5 + length);
    }
    this.#grpc = rest.length === 0 ? none : Buffer.from(rest);
  }

  #message(message: Buffer): void {
    switch ((message[0] ?? 0) >> 3) {
      case told.welcome:
        return this.#events.welcomed();
      case told.snapshotBegin:
        return this.#events.snapshot();
      case told.delta:
        return this.#hold(read(message, told.delta, 2));
      case told.snapshotEnd:
        return this.#hold(read(message, told.snapshotEnd, 1));
    }
  }

  #hold(told: Read | undefined): void {
    if (!told) return;
    this.position = told.position;
    this.#socket?.write(told.ack);
    this.#events.acked(told.revision);
  }
}

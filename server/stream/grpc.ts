/**
 * gRPC's side of a server on node:http2, as much as the node port needs: calls whose messages have a length before them,
 * and which end with a status in their trailers ("gRPC over HTTP2", github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md). Nothing is
 * compressed, either way.
 *
 * grpc-js's own server is left out because of what it costs ten thousand open streams (docs/decisions/0014).
 */

import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Duplex } from "node:stream";

/** gRPC's status codes, those that are used here. */
export const status = {
  ok: 0,
  invalid: 3,
  deadline: 4,
  notFound: 5,
  exhausted: 8,
  precondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export type Status = (typeof status)[keyof typeof status];

/** The largest message that is taken, in bytes: an ack with its lists of isolated resources is the largest there is. */
export const largestMessage = 256 * 1024;

/** Calls that one connection may have open at once. */
const mostCalls = 4;

/** How long a connection may be open without a call, in milliseconds. */
const longestIdle = 30_000;

/** How long a peer may take to be told that a call is over, in milliseconds. */
const longestParting = 10_000;

/** How long a call of one message may take, in milliseconds. */
const longestUnary = 30_000;

/** Of HTTP/2, what a node needs: little. A hostile peer gets no more memory than this for what it says about itself. */
const limits = {
  settings: { maxConcurrentStreams: mostCalls, maxHeaderListSize: 8 * 1024, enablePush: false },
  maxHeaderListPairs: 32,
};

const prefix = 5;
const compressed = "compressed messages are not taken";

/** In how many pieces a message may lie before they are put together. */
const mostPieces = 64;

/** What is told of a call. Messages come before its end, and nothing after `closed`. */
export interface Listener {
  /** A message, without its prefix. */
  message(bytes: Buffer): void;
  /** The other side says no more. */
  ended(): void;
  /** It is over, whoever ended it; comes once, last. */
  closed(): void;
}

/** A method, as a server has it. */
export interface Method<P> {
  /** Takes a call up: sooner or later something listens to it, or it is ended. */
  take(call: Call, peer: P): void;
  /** How long a call may take, in milliseconds; undefined: as long as both sides like. */
  readonly longest?: number;
}

/** The bytes of a message as a call sends them: encoded once, they may go to any number of calls. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafeSlow(prefix + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, prefix);
  return frame;
}

type Next =
  | { readonly kind: "message"; readonly bytes: Buffer }
  | { readonly kind: "more" }
  | { readonly kind: "fault"; readonly code: Status; readonly reason: string };

const more: Next = { kind: "more" };

/** Puts together what comes in pieces, however it was cut. */
export class Messages {
  /** Bytes that wait for more. */
  held = 0;
  #pieces: Buffer[] = [];

  /** Pieces that wait for more. Tiny ones cost a hundred times what they bring: they are put together when they are many. */
  get pieces(): number {
    return this.#pieces.length;
  }

  push(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.held += bytes.length;
    if (this.#pieces.length > mostPieces) this.#join();
  }

  /** The next message, without its prefix. */
  next(): Next {
    if (this.held < prefix) return more;
    const [piece] = this.#pieces;
    const first = piece && piece.length >= prefix ? piece : this.#join();
    if (first[0] !== 0) return { kind: "fault", code: status.unimplemented, reason: compressed };
    const length = first.readUInt32BE(1);
    if (length > largestMessage) {
      const reason = `a message of ${length} bytes is larger than max ${largestMessage}`;
      return { kind: "fault", code: status.exhausted, reason };
    }
    const size = prefix + length;
    if (this.held < size) return more;
    const all = this.#join();
    this.held -= size;
    this.#pieces = this.held > 0 ? [all.subarray(size)] : [];
    return { kind: "message", bytes: all.subarray(prefix, size) };
  }

  #join(): Buffer {
    const [first] = this.#pieces;
    const all = first && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces, this.held);
    this.#pieces = [all];
    return all;
  }
}

/** An open call, on its stream of HTTP/2. */
export class Call {
  readonly peer: string;
  readonly #stream: ServerHttp2Stream;
  readonly #messages = new Messages();
  #listener: Listener | undefined;
  #trailers: Record<string, string> | undefined;
  #isClosed = false;

  /** @param peer address and port of the other side, for logs. */
  constructor(stream: ServerHttp2Stream, peer: string) {
    this.#stream = stream;
    this.peer = peer;
    stream.on("error", () => {});
    stream.once("close", () => {
      this.#isClosed = true;
      this.#listener?.closed();
    });
  }

  /** Whether it was ended here, or is over. */
  get isOver(): boolean {
    return this.#trailers !== undefined || this.#isClosed;
  }

  /** From now on the listener is told; what was said before waits until then, within HTTP/2's window. */
  listen(listener: Listener): void {
    if (this.#isClosed) return listener.closed();
    this.#listener = listener;
    this.#stream.on("data", (bytes: Buffer) => this.#hear(bytes));
    this.#stream.once("end", () => {
      if (this.isOver) return;
      if (this.#messages.held > 0) return this.end(status.internal, "the request ends within a message");
      listener.ended();
    });
  }

  /** Sends a message, {@link framed}; false: what is sent piles up, and more is to wait until it is {@link drained}. */
  send(frame: Buffer): boolean {
    if (this.isOver || this.#stream.destroyed) return true;
    if (!this.#stream.headersSent) this.#open();
    return this.#stream.write(frame);
  }

  /** Resolves once it takes more, or is over: then `drain` never comes. */
  async drained(): Promise<void> {
    if (this.#isClosed || !this.#stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        for (const event of ["drain", "close"]) this.#stream.removeListener(event, done);
        resolve();
      };
      for (const event of ["drain", "close"]) this.#stream.on(event, done);
    });
  }

  /** Ends it once what was sent before has gone out. */
  end(code: Status, message = ""): void {
    if (this.isOver) return;
    const said = encodeURI(message.toWellFormed());
    this.#trailers = { "grpc-status": String(code), ...(said !== "" && { "grpc-message": said }) };
    if (this.#stream.headersSent) this.#stream.end();
    else this.#answer({ ...answer, ...this.#trailers });
  }

  /** Ends what is no gRPC, with a status of HTTP. */
  refuse(code: number): void {
    this.#trailers = {};
    this.#answer({ ":status": code });
  }

  /** Headers and nothing else. */
  #answer(headers: OutgoingHttpHeaders): void {
    if (this.#stream.destroyed) return;
    this.#stream.respond(headers, { endStream: true });
    this.#leave();
  }

  #open(): void {
    this.#stream.respond(answer, { waitForTrailers: true });
    this.#stream.once("wantTrailers", () => {
      this.#stream.sendTrailers(this.#trailers ?? {});
      this.#leave();
    });
  }

  /** A peer that goes on talking after the status is not listened to (RFC 9113, 8.1). */
  #leave(): void {
    setImmediate(() => {
      if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  #hear(bytes: Buffer): void {
    // Who reads nothing is not told that it is over, and may talk on.
    if (this.isOver) return;
    this.#messages.push(bytes);
    for (let next = this.#messages.next(); next.kind !== "more"; next = this.#messages.next()) {
      if (next.kind === "fault") return this.end(next.code, next.reason);
      this.#listener?.message(next.bytes);
      if (this.isOver) return;
    }
  }
}

const answer = { ":status": 200, "content-type": "application/grpc" };

interface Open {
  readonly since: number;
  readonly longest: number | undefined;
  /** When it was first seen to be over here, and not yet gone. */
  overSince?: number;
}

/** A connection's calls. */
export class Connection<P extends { readonly address: string }> {
  readonly #session: ServerHttp2Session;
  readonly #methods: ReadonlyMap<string, Method<P>>;
  readonly #peer: P;
  readonly #now: () => number;
  readonly #calls = new Map<Call, Open>();
  #idleSince: number;

  /**
   * @param socket from which nothing was read yet.
   * @param methods by path: `/package.Service/Method`.
   * @param now milliseconds from any beginning.
   */
  constructor(socket: Duplex, peer: P, methods: ReadonlyMap<string, Method<P>>, now: () => number) {
    this.#peer = peer;
    this.#methods = methods;
    this.#now = now;
    this.#idleSince = now();
    this.#session = performServerHandshake(socket, limits);
    this.#session.on("error", () => {});
    this.#session.on("stream", (stream, headers) => this.#take(stream, headers));
  }

  /** Ends what takes too long, and itself if nobody uses it; to be called every now and then. */
  tick(): void {
    const now = this.#now();
    for (const [call, open] of this.#calls) {
      const { since, longest } = open;
      if (longest !== undefined && now - since > longest) call.end(status.deadline, "the call took too long");
      if (call.isOver) open.overSince ??= now;
      // A peer that reads nothing never learns that it is over, and would be waited for.
      if (open.overSince !== undefined && now - open.overSince > longestParting) return this.#session.destroy();
    }
    if (this.#calls.size === 0 && now - this.#idleSince > longestIdle) this.#session.close();
  }

  #take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const method = this.#methods.get(String(headers[":path"]));
    const call = new Call(stream, this.#peer.address);
    this.#calls.set(call, { since: this.#now(), longest: method ? method.longest : longestUnary });
    stream.once("close", () => {
      this.#calls.delete(call);
      this.#idleSince = this.#now();
    });
    if (headers[":method"] !== "POST" || !/^application\/grpc($|[;+])/.test(headers["content-type"] ?? "")) {
      return call.refuse(415);
    }
    if (!method) return call.end(status.unimplemented, "there is no such method");
    if (!["identity", undefined].includes(headers["grpc-encoding"]?.toString())) {
      return call.end(status.unimplemented, compressed);
    }
    method.take(call, this.#peer);
  }
}

/** A method with one message that is answered by one. What the answer throws becomes a status by `statusOf`. */
export function unary<P>(
  answerTo: (message: Buffer, peer: P) => Promise<Uint8Array>,
  statusOf: (err: unknown) => readonly [code: Status, message: string],
): Method<P> {
  return {
    longest: longestUnary,
    take(call, peer) {
      let request: Buffer | undefined;
      call.listen({
        message: (bytes) => {
          if (request) call.end(status.invalid, notOne);
          request ??= bytes;
        },
        ended: () => {
          if (!request) return call.end(status.invalid, notOne);
          answerTo(request, peer).then(
            (message) => {
              call.send(framed(message));
              call.end(status.ok);
            },
            (err: unknown) => call.end(...statusOf(err)),
          );
        },
        closed: () => undefined,
      });
    },
  };
}

const notOne = "the method takes one message";

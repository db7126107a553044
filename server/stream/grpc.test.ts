/** Calls over real sockets: by grpc-js's client, which is what agents use, and by HTTP/2 clients that keep to no rule. */

import { once } from "node:events";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Call, Connection, framed, largestMessage, Messages, type Method, status, unary } from "./grpc.ts";

type From = { readonly address: string };

let address: string;
let connections: Connection<From>[];
let sockets: Socket[];
/** What is told of calls, in order. */
let told: string[];
let calls: Call[];
let clock: number;
let close: () => Promise<void>;

const echo: Method<From> = unary(
  async (message) => {
    if (message.toString() === "refuse") throw new Error("100 % no: ü\n\ud800");
    return message;
  },
  (err) => [status.precondition, (err as Error).message],
);

/** Tells what it hears, and says it back. */
const chat: Method<From> = {
  take(call) {
    calls.push(call);
    // Of this test, also if it comes late.
    const mine = told;
    call.listen({
      message: (bytes) => {
        mine.push(bytes.length > 20 ? `${bytes.length} bytes` : bytes.toString());
        if (bytes.toString() === "leave") call.end(status.aborted);
        else call.send(framed(bytes));
      },
      ended: () => {
        mine.push("ended");
        call.end(status.ok);
      },
      closed: () => mine.push("closed"),
    });
  },
};

beforeEach(async () => {
  [connections, sockets, told, calls, clock] = [[], [], [], [], 0];
  const methods = new Map([
    ["/t.T/Echo", echo],
    ["/t.T/Chat", chat],
  ]);
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    connections.push(new Connection(socket, { address: "somewhere" }, methods, () => clock));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  };
});

afterEach(() => close());

async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + 5_000; !what(); await sleep(5)) {
    if (Date.now() > end) throw new Error(`not so after 5 s: ${String(what)}; told: ${told.join()}`);
  }
}

describe("by grpc-js", () => {
  const same = (bytes: Buffer): Buffer => bytes;

  function client(): grpc.Client & Disposable {
    const made = new grpc.Client(address, grpc.credentials.createInsecure(), { "grpc.enable_retries": 0 });
    return Object.assign(made, { [Symbol.dispose]: () => made.close() });
  }

  function ask(link: grpc.Client, path: string, message: string): Promise<string> {
    return new Promise((resolve, reject) => {
      link.makeUnaryRequest(path, same, same, Buffer.from(message), (err, answer) => {
        if (answer) resolve(answer.toString());
        else reject(err);
      });
    });
  }

  /** A stream, and what was heard of it. */
  function chatting(link: grpc.Client) {
    const stream = link.makeBidiStreamRequest("/t.T/Chat", same, same);
    const heard: string[] = [];
    stream.on("data", (bytes: Buffer) => heard.push(bytes.toString()));
    return { stream, heard };
  }

  test("a message is answered, or refused with its reason, whatever is in it", async () => {
    using link = client();
    expect(await ask(link, "/t.T/Echo", "hello")).toBe("hello");
    expect(await ask(link, "/t.T/Echo", "")).toBe("");
    await expect(ask(link, "/t.T/Echo", "refuse")).rejects.toMatchObject({
      code: grpc.status.FAILED_PRECONDITION,
      details: "100 % no: ü\n\ufffd",
    });
    await expect(ask(link, "/t.T/Other", "")).rejects.toMatchObject({ code: grpc.status.UNIMPLEMENTED });
    await expect(ask(link, "/t.T/Echo", "x".repeat(largestMessage + 1))).rejects.toMatchObject({
      code: grpc.status.RESOURCE_EXHAUSTED,
    });
    expect(await ask(link, "/t.T/Echo", "x".repeat(largestMessage))).toHaveLength(largestMessage);
  });

  test("a stream says and hears in any order, until either side ends it", async () => {
    using link = client();
    const { stream, heard } = chatting(link);
    const ended = once(stream, "status");
    for (const word of ["one", "two", "three"]) stream.write(Buffer.from(word));
    await until(() => heard.length === 3);
    stream.end();
    expect((await ended)[0]).toMatchObject({ code: grpc.status.OK });
    expect(heard).toEqual(["one", "two", "three"]);
    await until(() => told.includes("closed"));
    expect(told).toEqual(["one", "two", "three", "ended", "closed"]);
  });

  test("a stream that is ended here ends there, after what was said before, and hears no more", async () => {
    using link = client();
    const { stream, heard } = chatting(link);
    const failed = once(stream, "error");
    stream.write(Buffer.from("one"));
    await until(() => told.length === 1);
    calls[0]?.send(framed(Buffer.from("last")));
    calls[0]?.end(status.aborted, "banned");
    calls[0]?.end(status.ok);
    expect(calls[0]?.send(framed(Buffer.from("late")))).toBe(true);
    stream.write(Buffer.from("two"));
    expect((await failed)[0]).toMatchObject({ code: grpc.status.ABORTED, details: "banned" });
    expect(heard).toEqual(["one", "last"]);
    await until(() => told.includes("closed"));
    expect(told).toEqual(["one", "closed"]);
  });

  test("a stream that is cancelled, or whose connection breaks, is closed once", async () => {
    using link = client();
    const stream = link.makeBidiStreamRequest("/t.T/Chat", same, same);
    stream.on("error", () => {});
    stream.write(Buffer.from("one"));
    await until(() => told.length === 1);
    stream.cancel();
    await until(() => told.includes("closed"));
    using second = client();
    const other = second.makeBidiStreamRequest("/t.T/Chat", same, same);
    other.on("error", () => {});
    other.write(Buffer.from("two"));
    await until(() => told.includes("two"));
    for (const socket of sockets) socket.destroy();
    await until(() => told.at(-1) === "closed" && told.includes("two"));
    // grpc-js says that it says no more before it cancels.
    expect(told.filter((each) => each !== "ended")).toEqual(["one", "closed", "two", "closed"]);
  });
});

describe("by a peer that keeps to no rule", () => {
  let session: ClientHttp2Session;

  beforeEach(() => {
    session = connect(`http://${address}`);
    session.on("error", () => {});
  });

  afterEach(() => session.destroy());

  function open(path: string, headers: Record<string, string> = {}) {
    const all = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...headers };
    const stream = session.request(all, { endStream: false });
    const said = { http: 0, status: "", bytes: 0, isClosed: false };
    const read = (got: IncomingHttpHeaders & { ":status"?: number }): void => {
      said.http = got[":status"] ?? said.http;
      said.status = got["grpc-status"]?.toString() ?? said.status;
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("data", (bytes: Buffer) => {
      said.bytes += bytes.length;
    });
    stream.on("error", () => {});
    stream.on("close", () => {
      said.isClosed = true;
    });
    return Object.assign(stream, { said });
  }

  test("a message that comes a byte at a time, and many in one piece, are all heard", async () => {
    const slow = open("/t.T/Chat");
    for (const byte of framed(Buffer.alloc(300, "x"))) slow.write(Buffer.from([byte]));
    await until(() => told.length === 1);
    slow.write(Buffer.concat(["a", "b", "", "c"].map((word) => framed(Buffer.from(word)))));
    await until(() => told.length === 5);
    expect(told).toEqual(["300 bytes", "a", "b", "", "c"]);
  });

  test.each<[string, string, Record<string, string>, Buffer, number]>([
    ["a compressed message", "/t.T/Chat", {}, Buffer.from([1, 0, 0, 0, 0]), status.unimplemented],
    ["a compression", "/t.T/Chat", { "grpc-encoding": "gzip" }, framed(Buffer.alloc(0)), status.unimplemented],
    ["a message of 4 GiB", "/t.T/Chat", {}, Buffer.from([0, 255, 255, 255, 255]), status.exhausted],
    ["half a message", "/t.T/Chat", {}, Buffer.from([0, 0, 0, 0, 9, 1]), status.internal],
    ["no message", "/t.T/Echo", {}, Buffer.alloc(0), status.invalid],
    [
      "two messages",
      "/t.T/Echo",
      {},
      Buffer.concat([framed(Buffer.alloc(1)), framed(Buffer.alloc(1))]),
      status.invalid,
    ],
    ["no method of ours", "/t.T/constructor", {}, framed(Buffer.alloc(0)), status.unimplemented],
  ])("%s is refused, and the connection goes on", async (_, path, headers, bytes, code) => {
    const stream = open(path, headers);
    stream.end(bytes);
    await until(() => stream.said.isClosed);
    expect(stream.said).toMatchObject({ http: 200, status: String(code) });
    const next = open("/t.T/Echo");
    next.end(framed(Buffer.from("there?")));
    await until(() => next.said.isClosed);
    expect(next.said).toMatchObject({ status: "0", bytes: 11 });
  });

  test.each([
    [{ ":method": "GET" }],
    [{ "content-type": "application/json" }],
    [{ "content-type": "application/grpc-web" }],
  ])("what is no gRPC is 415: %o", async (headers) => {
    const stream = open("/t.T/Echo", headers);
    stream.end();
    await until(() => stream.said.isClosed);
    expect(stream.said).toMatchObject({ http: 415, status: "" });
  });

  test.each([
    ["a fault", Buffer.from([1, 0, 0, 0, 0]), [], status.unimplemented],
    ["a call that was ended here", framed(Buffer.from("leave")), ["leave"], status.aborted],
  ])("who talks on after %s is not listened to", async (_, bytes, heard, code) => {
    const stream = open("/t.T/Chat");
    stream.write(Buffer.concat([bytes, framed(Buffer.from("more"))]));
    await until(() => stream.said.isClosed);
    expect(told).toEqual([...heard, "closed"]);
    expect(stream.said.status).toBe(String(code));
  });

  test("no more calls at once than allowed: one that is over makes room", async () => {
    await once(session, "remoteSettings");
    const many = Array.from({ length: 6 }, () => open("/t.T/Chat"));
    for (const each of many) each.write(framed(Buffer.from("x")));
    await until(() => told.length === 4);
    await sleep(50);
    expect(told).toHaveLength(4);
    many[0]?.end();
    await until(() => told.filter((each) => each === "x").length === 5);
  });

  test("who never reads is waited for, not written to; and is gone soon after the call is over", async () => {
    const stream = open("/t.T/Chat");
    stream.pause();
    stream.write(framed(Buffer.from("x")));
    await until(() => told.length === 1);
    const [call] = calls as [Call];
    let takes = true;
    for (let n = 0; n < 1_000 && takes; n++) takes = call.send(framed(Buffer.alloc(60_000)));
    expect(takes).toBe(false);
    let isDrained = false;
    void call.drained().then(() => {
      isDrained = true;
    });
    call.end(status.aborted, "silent");
    connections[0]?.tick();
    clock = 9_000;
    connections[0]?.tick();
    await sleep(50);
    expect([isDrained, told]).toEqual([false, ["x"]]);
    clock = 10_001;
    connections[0]?.tick();
    await until(() => isDrained && told.includes("closed"));
  });
});

describe("messages", () => {
  test("are the same however they are cut", () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.nat(400)), (said, cuts) => {
        const bytes = Buffer.concat(said.map(framed));
        const reader = new Messages();
        const heard: Uint8Array[] = [];
        let from = 0;
        for (const length of [...cuts, bytes.length]) {
          reader.push(bytes.subarray(from, from + length));
          from += length;
          for (let next = reader.next(); next.kind === "message"; next = reader.next())
            heard.push(new Uint8Array(next.bytes));
        }
        expect(heard).toEqual(said);
        expect(reader.held).toBe(0);
      }),
    );
  });

  test("in tiny pieces lie in few", () => {
    const reader = new Messages();
    const bytes = framed(Buffer.alloc(10_000, "x"));
    for (const byte of bytes.subarray(1)) {
      reader.push(Buffer.from([byte]));
      expect(reader.pieces).toBeLessThanOrEqual(64);
    }
  });
});

describe("time", () => {
  test("a connection without a call ends after half a minute, one with a call does not", async () => {
    const idle = connect(`http://${address}`);
    await once(idle, "remoteSettings");
    const busy = connect(`http://${address}`);
    const stream = busy.request({ ":method": "POST", ":path": "/t.T/Chat", "content-type": "application/grpc" });
    stream.on("error", () => {});
    stream.write(framed(Buffer.from("x")));
    await until(() => told.length === 1);
    clock = 30_000;
    for (const each of connections) each.tick();
    await sleep(50);
    expect([idle.closed, busy.closed]).toEqual([false, false]);
    clock = 30_001;
    for (const each of connections) each.tick();
    await until(() => idle.closed);
    await sleep(50);
    expect([busy.closed, told]).toEqual([false, ["x"]]);
    busy.destroy();
  });

  test("a call of one message that does not come is over after half a minute; a stream may last", async () => {
    const session = connect(`http://${address}`);
    const late = session.request({ ":method": "POST", ":path": "/t.T/Echo", "content-type": "application/grpc" });
    const stays = session.request({ ":method": "POST", ":path": "/t.T/Chat", "content-type": "application/grpc" });
    for (const each of [late, stays]) each.on("error", () => {});
    stays.write(framed(Buffer.from("x")));
    await until(() => told.length === 1);
    const response = once(late, "response");
    clock = 30_001;
    connections[0]?.tick();
    expect((await response)[0]).toMatchObject({ "grpc-status": String(status.deadline) });
    await sleep(50);
    expect([late.destroyed, stays.destroyed]).toEqual([true, false]);
    session.destroy();
  });

  test("what is no HTTP/2 ends", async () => {
    const socket = dial(Number(address.split(":")[1]), "127.0.0.1");
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(socket.resume(), "close");
  });
});

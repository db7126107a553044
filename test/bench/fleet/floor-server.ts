/** The floor: a bare TLS server with client certificates, which sends the same bytes to every socket, and hears the answers. */

import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";

/** When it began to send, and when it had heard each answer; in milliseconds since 1970. */
export interface FloorRound {
  readonly at: number;
  readonly heard: readonly number[];
}

const [certificate = "", size = "0", answer = "0"] = process.argv.slice(2);
const { ca, key, cert } = JSON.parse(readFileSync(certificate, "utf8")) as { ca: string; key: string; cert: string };
const message = Buffer.alloc(Number(size), 1);
const answerSize = Number(answer);
const now = (): number => performance.timeOrigin + performance.now();
const sockets = new Set<TLSSocket>();
let at = 0;
let heard: number[] = [];

const server = createServer({ ca, key, cert, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" });
server.on("secureConnection", (socket) => {
  let bytes = 0;
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (piece) => {
    bytes += piece.length;
    if (bytes < answerSize) return;
    bytes -= answerSize;
    heard.push(now());
    if (heard.length === sockets.size) process.send?.({ at, heard } satisfies FloorRound);
  });
  socket.on("close", () => sockets.delete(socket));
  sockets.add(socket);
  socket.write(Buffer.from([1]));
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on("message", () => {
  heard = [];
  at = now();
  for (const socket of sockets) socket.write(message);
});

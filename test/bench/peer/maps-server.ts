/**
 * Serves a folder of maps to nsscache over plain HTTP on a port of loopback, with Last-Modified as its http source wants it:
 *
 *     maps-server.ts FOLDER PORT
 *
 * After each answer it says how many bytes of maps it has sent so far: `sent 123`.
 */

import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const [folder = "", port = "0"] = process.argv.slice(2);
let sent = 0;
const server = createServer((request, response) => {
  const path = join(folder, request.url ?? "");
  const changed = Math.floor(statSync(path).mtimeMs / 1000);
  const since = Date.parse(String(request.headers["if-modified-since"]));
  if (since >= changed * 1000) return void response.writeHead(304).end();
  const bytes = readFileSync(path);
  sent += bytes.length;
  response.writeHead(200, { "last-modified": new Date(changed * 1000).toUTCString() }).end(bytes);
  process.stdout.write(`sent ${sent}\n`);
});
server.listen(Number(port), "127.0.0.1", () => process.stdout.write("serving\n"));

/** Carries connections from a unix socket, which has no network namespace, to where this process can reach: HOST PORT. */

import { connect, createServer } from "node:net";

const [socket = "", host = "", port = ""] = process.argv.slice(2);

const server = createServer((near) => {
  const far = connect({ host, port: Number(port) });
  near.pipe(far).pipe(near);
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.on("error", () => undefined).on("close", () => other.destroy());
  }
});
server.listen(socket, () => console.log("relaying"));

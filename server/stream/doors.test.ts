import { once } from "node:events";
import { createServer, Server, Socket } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { claim } from "./doors.ts";

const host = "127.0.0.1";

test("a port is free until somebody listens, and is claimed without listening: whoever came then would be reset", async () => {
  const port = await claim({ host, port: 0 });
  const listens = vi.spyOn(Server.prototype, "listen");
  expect(await claim({ host, port })).toBe(port);
  expect(listens).not.toHaveBeenCalled();
  listens.mockRestore();
  const server = createServer().listen(port, host);
  await once(server, "listening");
  await expect(claim({ host, port })).rejects.toThrow(/EADDRINUSE/);
  server.close();
});

test("an address of another machine is not asked: who listens there says what is wrong with it", async () => {
  const host = "192.0.2.1";
  const connects = vi.spyOn(Socket.prototype, "connect");
  onTestFinished(() => connects.mockRestore());
  expect(await claim({ host, port: 7443 })).toBe(7443);
  // From an address that is not this machine's nothing goes out: Linux refuses to bind to it, before it connects.
  expect(connects.mock.calls.flat(2)).toContainEqual(expect.objectContaining({ host, localAddress: host }));
});

import { pino } from "pino";
import { expect, test } from "vitest";
import { origin } from "../identity/position.ts";
import type { SyncResponse } from "../proto/gen/rollcall/v1/node_pb.ts";
import { protocols } from "../proto/wire.ts";
import { follow } from "./follow.ts";
import type { Replica } from "./replica.ts";
import type { Listener, Uplink } from "./uplink.ts";

/** Follows a server that answers the Hello by a Welcome of some protocol; tells whether the agent goes on with it. */
async function welcomed(protocol: number): Promise<"stays" | "ends"> {
  const stopping = new AbortController();
  const { promise, resolve } = Promise.withResolvers<"stays" | "ends">();
  const value = { protocol, node: "n", mode: 1, heartbeatInterval: { seconds: 5n, nanos: 0 } };
  const uplink = {
    sync(listener: Listener) {
      const end = (): void => {
        resolve("ends");
        listener.closed(undefined);
      };
      const say = (): void => {
        listener.heard({ say: { case: "welcome", value } } as unknown as SyncResponse);
        resolve("stays");
      };
      return { say, end };
    },
    [Symbol.dispose]: () => undefined,
  };
  const following = follow({
    replica: { at: origin, highest: { uid: 0, gid: 0 } } as unknown as Replica,
    membership: {
      connect: async () => uplink as unknown as Uplink,
      renewWithin: () => undefined,
      onRenewed: () => undefined,
    },
    clock: { now: () => 0, elapsed: () => 0, random: () => 0, sleep: () => new Promise((done) => setImmediate(done)) },
    log: pino({ level: "silent" }),
    signal: stopping.signal,
    software: "test",
    instance: "test",
  });
  const how = await promise;
  stopping.abort();
  await following;
  return how;
}

test.each([
  [protocols.oldest, "stays"],
  [protocols.newest, "stays"],
  [0, "ends"],
  [protocols.newest + 1, "ends"],
])("a server that speaks protocol %i: the agent %s", async (protocol, how) => {
  expect(await welcomed(protocol)).toBe(how);
});

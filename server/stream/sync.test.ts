/** An open stream and its certificate, by a clock of the test's. The rest of the thread is played: no socket, no log. */

import { pino } from "pino";
import { expect, test } from "vitest";
import { origin } from "../../identity/position.ts";
import { type Listener, status } from "./grpc.ts";
import { type OpenStream, type SyncCall, type SyncContext, serve } from "./sync.ts";

class Call implements SyncCall {
  readonly peer = "10.0.0.1:1";
  readonly ends: unknown[] = [];
  listener: Listener | undefined;

  get isOver(): boolean {
    return this.ends.length > 0;
  }

  listen(listener: Listener): void {
    this.listener = listener;
  }

  send(): boolean {
    return true;
  }

  async drained(): Promise<void> {}

  end(code: number, message: string): void {
    this.ends.push({ code, message });
    this.listener?.closed();
  }
}

/** A node's stream, let in. */
async function open() {
  const clock = { wall: 1_000, now: 0 };
  const notes: string[] = [];
  const admission = { node: { cluster: "c", role: "login", name: "n" }, head: origin, resync: false, fenced: false };
  const ctx = {
    desk: {
      ask: async () => admission,
      heard: () => undefined,
      note: (_: number, { kind }: { kind: string }) => notes.push(kind),
    },
    heads: { follow: () => ({ [Symbol.dispose]: () => notes.push("unfollowed") }) },
    log: pino({ level: "silent" }),
    now: () => clock.now,
    wall: () => clock.wall,
  } as unknown as SyncContext;
  const call = new Call();
  const identity = { cluster: "c", role: "login", node: "n", serial: "01", authority: "a", notAfter: 5_000 } as const;
  const opened = Promise.withResolvers<OpenStream>();
  const served = serve(ctx, call, 1, identity, (stream) => opened.resolve(stream));
  const stream = await opened.promise;
  return { call, clock, notes, stream, served };
}

test("a stream ends with the certificate that it was opened with, at the next tick, and not before", async () => {
  const { call, clock, notes, stream, served } = await open();

  clock.wall = 4_999;
  stream.tick();
  expect(call.ends).toEqual([]);
  clock.wall = 5_000;
  stream.tick();
  expect(call.ends).toEqual([{ code: status.aborted, message: "the client certificate has expired" }]);
  stream.tick();
  await served;
  expect([call.ends.length, notes]).toEqual([1, ["unfollowed", "closed"]]);
});

test("bytes that are no message end the stream, with the reason", async () => {
  const { call, served } = await open();
  call.listener?.message(Buffer.from("no protobuf"));
  expect(call.ends).toEqual([{ code: status.aborted, message: "a message that is no SyncRequest" }]);
  await served;
});

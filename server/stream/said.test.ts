/** What is read once for all who say the same, and what is not. */

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { origin, type Position } from "../../identity/position.ts";
import { Refusal } from "../../identity/refusal.ts";
import { SyncRequestSchema } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { printPosition } from "../../proto/wire.ts";
import { Ear } from "./said.ts";

function bytesOf(say: NonNullable<MessageInitShape<typeof SyncRequestSchema>["say"]>): Buffer {
  return Buffer.from(toBinary(SyncRequestSchema, create(SyncRequestSchema, { say })));
}

const at = (revision: number): Position => ({ ...origin, revision: BigInt(revision) });
const ack = (revision: number): Buffer => bytesOf({ case: "ack", value: { position: printPosition(at(revision)) } });

test("the same bytes are read once: everybody's position is one object", () => {
  const ear = new Ear();
  const heartbeat = bytesOf({ case: "heartbeat", value: { position: printPosition(at(7)) } });
  const [first, beat] = [ear.hear(ack(7)), ear.hear(heartbeat)];
  expect([first.say.case, first.position, beat.say.case, beat.position]).toEqual(["ack", at(7), "heartbeat", at(7)]);
  expect(ear.hear(ack(8)).position).toEqual(at(8));
  expect(ear.hear(ack(7))).toBe(first);
  expect(ear.hear(heartbeat)).toBe(beat);
});

test("what is kept is what was said, whatever becomes of the bytes that it came in", () => {
  const ear = new Ear();
  const bytes = ack(7);
  ear.hear(bytes);
  bytes.set(ack(8));
  expect(ear.hear(bytes).position).toEqual(at(8));
  expect(ear.hear(ack(7)).position).toEqual(at(7));
});

test("what is one node's own is read each time, and so is what was long ago", () => {
  const ear = new Ear();
  const position = printPosition(at(1));
  const first = ear.hear(ack(1));
  const long = { sink: "nss", isolated: [{ key: "user/1", reason: "x".repeat(600) }] };
  for (const own of [
    bytesOf({ case: "hello", value: { position } }),
    bytesOf({ case: "nack", value: { at: position } }),
    bytesOf({ case: "ack", value: { position, sinks: [long] } }),
  ]) {
    expect(ear.hear(own)).not.toBe(ear.hear(own));
  }
  expect(ear.hear(ack(1))).toBe(first);
  for (let revision = 2; revision < 10; revision++) ear.hear(ack(revision));
  expect(ear.hear(ack(1))).not.toBe(first);
});

test("what breaks a rule is refused, each time", () => {
  const ear = new Ear();
  const bad = bytesOf({ case: "ack", value: { position: { ...printPosition(at(1)), digest: "no" } } });
  for (const bytes of [bad, bad, Buffer.from("no protobuf"), Buffer.alloc(0)]) {
    expect(() => ear.hear(bytes)).toThrow(Refusal);
  }
});

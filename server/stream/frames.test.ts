/** The sizes of what streams are sent (FACTS: one oversized generated file, applied everywhere at once). The log is played. */

import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { origin, type Position } from "../../identity/position.ts";
import { keyOf, print } from "../../identity/resource.ts";
import { aUser } from "../../identity/testing.ts";
import { HelloSchema, SyncResponseSchema } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { Frames, largestDelta } from "./frames.ts";

const to: Position = { ...origin, revision: 9n };
const from: Position = { ...origin, revision: 1n };

/** A log in which so many long-winded people came. */
function log(people: number) {
  const users = Array.from({ length: people }, (_, n) => aUser(n, { gecos: "x".repeat(120) }));
  const lines = users.map((user) => [keyOf(user), print(user)] as const);
  const tx = {
    clusters: { get: async () => ({ head: { login: to } }) },
    log: {
      changes: async () => users.map((put) => ({ revision: 9n, key: keyOf(put), put })),
      resourcesAfter: async (_: string, after: string, most: number) => {
        const start = after === "" ? 0 : lines.findIndex(([key]) => key === after) + 1;
        return lines.slice(start, start + most);
      },
    },
  };
  const read = async (query: (read: unknown) => Promise<unknown>) => query(tx);
  const snapshot = async () => ({ read, [Symbol.asyncDispose]: async () => undefined });
  return new Frames({ read, snapshot } as unknown as ConstructorParameters<typeof Frames>[0]);
}

test("a delta that would not fit a message is none: it goes as a snapshot, whose every message does", {
  timeout: 60_000,
}, async () => {
  const small = await log(1_000).delta("c", "login", from, to);
  expect(small?.length).toBeLessThan(largestDelta);
  const frames = log(19_000);
  expect((await frames.delta("c", "login", from, to))?.length).toBeUndefined();
  const snapshot = await frames.snapshot("c", "login", to);
  expect(Math.max(...snapshot.frames.map(({ length }) => length))).toBeLessThan(largestDelta);
  const told = snapshot.frames.map((frame) => fromBinary(SyncResponseSchema, frame.subarray(5)).say);
  const held = told.flatMap((say) => (say.case === "snapshotChunk" ? say.value.resources : []));
  expect(held).toHaveLength(19_000);
});

test("a Hello cannot grow with what a node holds: none of its fields is a list", () => {
  expect(HelloSchema.fields.filter(({ fieldKind }) => fieldKind === "list" || fieldKind === "map")).toEqual([]);
});

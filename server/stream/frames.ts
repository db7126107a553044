/**
 * What streams are sent, encoded once per scope and starting revision: the same Buffer goes to every node that is at the
 * same place. Reads the log; holds the newest few frames.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { cut } from "../../identity/delta.ts";
import type { Position } from "../../identity/position.ts";
import { kindOf, parse } from "../../identity/resource.ts";
import { carries, type Role } from "../../identity/scope.ts";
import { type SyncResponse, SyncResponseSchema } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { printDelta, printPosition, printResource } from "../../proto/wire.ts";
import { Kept } from "../store/kept.ts";
import type { Store } from "../store/store.ts";
import { framed } from "./grpc.ts";

/** A delta of more bytes than this is sent as a snapshot, in chunks. gRPC's usual limit for one message is 4 MiB. */
export const largestDelta = 3 * 1024 * 1024;

/** Resources in one chunk of a snapshot: about 64 KiB. */
const chunkSize = 500;

/** How many deltas are kept: one for every place that nodes may be at. */
const mostDeltas = 64;

/** How many snapshots are kept, of some ten megabytes each: one per scope that new nodes come to. */
const mostSnapshots = 4;

/** A whole snapshot, ready to be sent in order. */
export interface SnapshotFrames {
  readonly to: Position;
  readonly frames: readonly Buffer[];
}

type Delta = Buffer | undefined;

export class Frames {
  readonly #store: Pick<Store, "read" | "snapshot">;
  readonly #deltas = new Kept<Delta>(mostDeltas);
  readonly #snapshots = new Kept<SnapshotFrames>(mostSnapshots);

  constructor(store: Pick<Store, "read" | "snapshot">) {
    this.#store = store;
  }

  /** The delta between two positions of a scope; undefined if it is too large for one message. */
  delta(cluster: string, role: Role, from: Position, to: Position): Delta | Promise<Delta> {
    return this.#deltas.once(`${cluster} ${role} ${to.epoch.id} ${from.revision} ${to.revision}`, async () => {
      const changes = await this.#store.read((tx) => tx.log.changes(cluster, role, from.revision, to.revision));
      const frame = encode({ case: "delta", value: printDelta(cut(from, to, changes)) });
      return frame.length <= largestDelta ? frame : undefined;
    });
  }

  /** Everything that a scope holds now. `head` is where it is believed to be; what is sent may be newer. */
  snapshot(cluster: string, role: Role, head: Position): SnapshotFrames | Promise<SnapshotFrames> {
    return this.#snapshots.once(`${cluster} ${role} ${head.epoch.id} ${head.revision}`, () =>
      this.#readSnapshot(cluster, role),
    );
  }

  /** From one state, a piece at a time: between two of them other streams get their turn. */
  async #readSnapshot(cluster: string, role: Role): Promise<SnapshotFrames> {
    await using state = await this.#store.snapshot();
    const found = await state.read((tx) => tx.clusters.get(cluster));
    if (!found) throw new Error(`cluster ${cluster} is gone`);
    const to = found.head[role];
    const position = printPosition(to);
    const chunks: Buffer[] = [];
    let resources = 0;
    for (let after = ""; ; ) {
      const read = await state.read((tx) => tx.log.resourcesAfter(cluster, after, chunkSize));
      const carried = read.filter(([key]) => carries(role, kindOf(key))).map(([, line]) => printResource(parse(line)));
      resources += carried.length;
      if (carried.length > 0) {
        const value = { $typeName: "rollcall.v1.SnapshotChunk", resources: carried } as const;
        chunks.push(encode({ case: "snapshotChunk", value }));
      }
      if (read.length < chunkSize) break;
      after = read.at(-1)?.[0] ?? "";
      await nextTurn();
    }
    const begin = { $typeName: "rollcall.v1.SnapshotBegin", to: position, resources: BigInt(resources) } as const;
    const end = { $typeName: "rollcall.v1.SnapshotEnd", to: position } as const;
    return {
      to,
      frames: [encode({ case: "snapshotBegin", value: begin }), ...chunks, encode({ case: "snapshotEnd", value: end })],
    };
  }
}

/** The bytes of one message to an agent, as a call sends them. */
export function encode(say: SyncResponse["say"]): Buffer {
  return framed(toBinary(SyncResponseSchema, create(SyncResponseSchema, { say })));
}

/**
 * What streams are sent, encoded once per scope and starting revision: the same Buffer goes to every node that is at the
 * same place. Reads the log; holds the newest few frames.
 */

import { create, toBinary } from "@bufbuild/protobuf";
import { cut } from "../../identity/delta.ts";
import type { Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import { type SyncResponse, SyncResponseSchema } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { printDelta, printPosition, printResource } from "../../proto/wire.ts";
import type { Store } from "../store/store.ts";

/** A delta of more bytes than this is sent as a snapshot, in chunks. gRPC's usual limit for one message is 4 MiB. */
export const largestDelta = 3 * 1024 * 1024;

/** Resources in one chunk of a snapshot: about 64 KiB. */
const chunkSize = 500;

/** A whole snapshot, ready to be sent in order. */
export interface SnapshotFrames {
  readonly to: Position;
  readonly frames: readonly Buffer[];
}

export class Frames {
  readonly #store: Store;
  readonly #kept = new Map<string, Promise<unknown>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** The delta between two positions of a scope; undefined if it is too large for one message. */
  delta(cluster: string, role: Role, from: Position, to: Position): Promise<Buffer | undefined> {
    return this.#once(`${cluster} ${role} ${to.epoch.id} ${from.revision} ${to.revision}`, async () => {
      const changes = await this.#store.read((tx) => tx.log.changes(cluster, role, from.revision, to.revision));
      const frame = encode({ case: "delta", value: printDelta(cut(from, to, changes)) });
      return frame.length <= largestDelta ? frame : undefined;
    });
  }

  /** Everything that a scope holds now. `head` is where it is believed to be; what is sent may be newer. */
  snapshot(cluster: string, role: Role, head: Position): Promise<SnapshotFrames> {
    return this.#once(`${cluster} ${role} ${head.epoch.id} ${head.revision}`, async () => {
      const { to, resources } = await this.#store.read(async (tx) => {
        const found = await tx.clusters.get(cluster);
        if (!found) throw new Error(`cluster ${cluster} is gone`);
        return { to: found.head[role], resources: await tx.log.snapshot(cluster, role) };
      });
      const position = printPosition(to);
      const frames = [
        encode({
          case: "snapshotBegin",
          value: { $typeName: "rollcall.v1.SnapshotBegin", to: position, resources: BigInt(resources.length) },
        }),
      ];
      for (let i = 0; i < resources.length; i += chunkSize) {
        const chunk = resources.slice(i, i + chunkSize).map(printResource);
        frames.push(
          encode({ case: "snapshotChunk", value: { $typeName: "rollcall.v1.SnapshotChunk", resources: chunk } }),
        );
      }
      frames.push(encode({ case: "snapshotEnd", value: { $typeName: "rollcall.v1.SnapshotEnd", to: position } }));
      return { to, frames };
    });
  }

  #once<T>(key: string, make: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(key);
    if (kept) return kept as Promise<T>;
    const made = make();
    this.#kept.set(key, made);
    made.catch(() => this.#kept.delete(key));
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= 32) break;
      this.#kept.delete(oldest);
    }
    return made;
  }
}

/** The bytes of one message to an agent. */
export function encode(say: SyncResponse["say"]): Buffer {
  return Buffer.from(toBinary(SyncResponseSchema, create(SyncResponseSchema, { say })));
}

/** What nodes say, read. A fleet says the same: the newest few messages, of those that every node sends, are read once for all. */

import type { Position } from "../../identity/position.ts";
import { refuse } from "../../identity/refusal.ts";
import { type SyncRequest, SyncRequestSchema } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { parseMessage, parsePosition } from "../../proto/wire.ts";

export interface Said {
  readonly say: Exclude<SyncRequest["say"], { readonly case: undefined }>;
  /** Where the node says that it is. One object for all who say so in the same bytes. */
  readonly position: Position;
}

/** So many are kept: an ack and a heartbeat for every place at which many nodes are. */
const mostKept = 8;

/** A longer one tells more than where a node is, in bytes: nobody else says the same. */
const longestKept = 512;

export class Ear {
  readonly #kept: { readonly bytes: Buffer; readonly said: Said }[] = [];

  /** @throws Refusal `invalid`. */
  hear(bytes: Buffer): Said {
    const known = this.#kept.find((each) => each.bytes.equals(bytes));
    if (known) return known.said;
    const said = read(bytes);
    const isCommon = said.say.case === "ack" || said.say.case === "heartbeat";
    if (!isCommon || bytes.length > longestKept) return said;
    if (this.#kept.length === mostKept) this.#kept.pop();
    this.#kept.unshift({ bytes: Buffer.from(bytes), said });
    return said;
  }
}

function read(bytes: Buffer): Said {
  const { say } = parseMessage(SyncRequestSchema, bytes);
  switch (say.case) {
    case "nack":
      return { say, position: parsePosition(say.value.at) };
    case "hello":
    case "ack":
    case "heartbeat":
      return { say, position: parsePosition(say.value.position) };
    case undefined:
      return refuse("invalid", "a message of a kind that is not known here");
  }
}

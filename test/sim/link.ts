/** A connection in the model: two queues, and what each end believes of it. */

import type { Delta } from "../../identity/delta.ts";
import type { Position } from "../../identity/position.ts";
import type { Resource } from "../../identity/resource.ts";
import type { Session } from "../../server/stream/session.ts";

export type Up =
  | { readonly kind: "hello"; readonly position: Position; readonly instance: number }
  | { readonly kind: "ack"; readonly position: Position }
  | {
      readonly kind: "nack";
      readonly at: Position;
      readonly revision: bigint;
      readonly diverged: boolean;
      readonly busy: boolean;
    }
  | { readonly kind: "heartbeat"; readonly position: Position };

export type Down =
  | { readonly kind: "welcome" }
  | { readonly kind: "delta"; readonly delta: Delta }
  | { readonly kind: "snapshot-begin"; readonly to: Position; readonly count: number }
  | { readonly kind: "snapshot-chunk"; readonly resources: readonly Resource[] }
  | { readonly kind: "snapshot-end"; readonly to: Position };

export interface Link {
  readonly node: number;
  readonly up: Up[];
  readonly down: Down[];
  session: Session;
  instance: number;
  isGreeted: boolean;
  /** Whether each end believes that it is there. */
  atServer: boolean;
  atNode: boolean;
  /** A snapshot is to be read and sent. */
  owesSnapshot: boolean;
  /** What was sent and neither acked nor refused, as an onlooker counts it. */
  inFlight: number;
}

/** A connection in the model: two queues, and what each end believes of it. */

import type { Event as Heard } from "../../agent/agent.ts";
import type { Position } from "../../identity/position.ts";
import type { Event, Session } from "../../server/stream/session.ts";

/** What a node says: what the session machine takes, without the time at which it does. */
export type Up =
  | { readonly kind: "hello"; readonly position: Position; readonly instance: number }
  | Omit<Extract<Event, { kind: "ack" }>, "now">
  | Omit<Extract<Event, { kind: "nack" }>, "now">
  | Omit<Extract<Event, { kind: "heartbeat" }>, "now">;

/** What a server says: what the agent machine takes. */
export type Down = Extract<Heard, { kind: "welcome" | "delta" | `snapshot-${string}` }>;

export interface Link {
  readonly node: number;
  readonly up: Up[];
  readonly down: Down[];
  session: Session;
  readonly instance: number;
  /** Whether each end believes that it is there. */
  atServer: boolean;
  atNode: boolean;
  /** A snapshot is to be read and sent. */
  owesSnapshot: boolean;
  /** What was sent and neither acked nor refused, as an onlooker counts it. */
  inFlight: number;
}

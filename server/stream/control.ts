/**
 * What the threads that hold streams and the thread that writes say to one another. Only data crosses: a stream's thread
 * reads the log by itself, and asks here for whatever is written or is known of the fleet.
 */

import type { Position } from "../../identity/position.ts";
import type { Reason } from "../../identity/refusal.ts";
import type { Role } from "../../identity/scope.ts";
import type { NodeIdentity } from "../authority/authority.ts";
import type { Degraded, Enrolment, NodeReport, Progress, Refused, SinkHealth } from "../store/nodes.ts";

/** A stream, by a number of its thread's. */
export type StreamId = number;

/** Who is at the other end of a connection. */
export interface Peer extends NodeIdentity {
  /** Which authority its certificate is of. */
  readonly authority: string;
}

/** A certificate for a node, and what it is to trust, both PEM. */
export interface Grant {
  readonly chainPem: string;
  readonly trustPem: string;
}

/** What an open stream starts from. */
export interface Admission {
  readonly node: Enrolment;
  /** Where the node should be, when it was let in. */
  readonly head: Position;
  /** What some run of the agent refused, so that a reconnect of the same one is not sent it again. */
  readonly refusal: Progress["refusal"];
  /** An operator asked for a snapshot. */
  readonly resync: boolean;
  /** Nothing is sent to any node of the cluster: see directory/epochs.ts. */
  readonly fenced: boolean;
  /** Whether it said of sinks that they follow by themselves. */
  readonly followed: boolean;
  /** The authorities changed since the node was given its certificate: it shall renew it within so many milliseconds. */
  readonly renewWithin: number | undefined;
}

/** Questions, each with what it is answered by. */
export interface Questions {
  enrol: {
    readonly ask: {
      readonly joinToken: string;
      readonly kubernetesToken: string;
      readonly name: string;
      readonly request: Uint8Array;
      readonly peer: string;
    };
    readonly answer: Grant;
  };
  renew: { readonly ask: { readonly identity: Peer; readonly request: Uint8Array }; readonly answer: Grant };
  /** The newest stream of a node wins: an older one is ended. */
  admit: { readonly ask: { readonly identity: Peer; readonly stream: StreamId }; readonly answer: Admission };
}

export type Question = keyof Questions;

/** What is known of a node from its stream. */
export type Note =
  | {
      readonly kind: "greeted";
      /** Which run of the agent it is. */
      readonly instance: string;
      readonly software: string;
      readonly highestUid: number;
      readonly highestGid: number;
      /** The epoch of what it says to hold. */
      readonly epoch: bigint;
      readonly ahead: boolean;
      readonly comparing: boolean;
      /** Whether this log has the position that the node said. */
      readonly known: boolean;
    }
  | { readonly kind: "acked"; readonly position: Position; readonly by: "delta" | "snapshot" | undefined }
  | { readonly kind: "degraded"; readonly degraded: readonly Degraded[] }
  /** Sinks that follow by themselves; only what is new of them. */
  | { readonly kind: "sinks"; readonly sinks: readonly Said[] }
  | { readonly kind: "report"; readonly report: NodeReport }
  | {
      readonly kind: "refused";
      readonly refused: Refused;
      /** What is not to be sent to this run of the agent again; undefined: it was only busy. */
      readonly refusal: Admission["refusal"];
    }
  | { readonly kind: "closed" };

/** What a node says of a sink that follows by itself. */
export type Said = Omit<SinkHealth, "since">;
/** What the node port shows, and whom it trusts. */
export interface ServerCredentials {
  readonly key: string;
  readonly cert: string;
  /** The authorities' certificates, PEM. */
  readonly caPem: string;
  /** The authorities changed: every agent shall renew within so many milliseconds. */
  readonly renewWithin: number | undefined;
}

/** From a thread with streams. */
export type FromStreams =
  | { readonly kind: "listening" }
  | { readonly kind: "ask"; readonly id: number; readonly question: Question; readonly ask: unknown }
  /** In the order in which they were noted; what several streams in a row say goes once, with all of them. */
  | { readonly kind: "notes"; readonly notes: readonly (readonly [readonly StreamId[], Note])[] }
  /** Who said anything lately. */
  | { readonly kind: "heard"; readonly streams: readonly StreamId[] };

/** To a thread with streams. */
export type ToStreams =
  | { readonly kind: "answer"; readonly id: number; readonly answer: unknown }
  | { readonly kind: "refusal"; readonly id: number; readonly reason: Reason; readonly message: string }
  /** It went wrong here, and was logged here. */
  | { readonly kind: "failure"; readonly id: number }
  | {
      readonly kind: "head";
      readonly cluster: string;
      readonly role: Role;
      readonly head: Position;
      /** Something was taken away on the way there. */
      readonly urgent: boolean;
    }
  | { readonly kind: "end"; readonly stream: StreamId; readonly reason: string }
  | { readonly kind: "resync"; readonly stream: StreamId }
  | ({ readonly kind: "credentials" } & ServerCredentials)
  /** Tell every agent to come back later, then end. */
  | { readonly kind: "drain" }
  /** End at once. */
  | { readonly kind: "stop" };

/** What a thread with streams is started with. */
export interface StreamsStart {
  /** The database file. */
  readonly database: string;
  readonly host: string;
  readonly port: number;
  /** How many sockets it listens by. */
  readonly doors: number;
  readonly certificate: { readonly key: string; readonly cert: string };
  readonly caPem: string;
  readonly trustDomain: string;
  /** How many snapshots it may be sending at once. */
  readonly snapshots: number;
}

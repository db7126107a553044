/**
 * A sink is one thing on a node that mirrors the scope: nss, ssh, sudo. It renders what a step changes, verifies it as the real
 * consumer would read it, and hands over the writes in which the step becomes true. It never writes a live file itself:
 * apply.ts stages every sink's files, and swaps them in one order over all sinks.
 *
 * What a step needs that is no file of ours (sessions ended, homes made) is a sink's *act*: after the last swap, and before
 * the step is done and acked.
 */

import type { Step } from "../identity/copy.ts";
import type { Position } from "../identity/position.ts";
import type { Resource, ResourceKey } from "../identity/resource.ts";

/**
 * When a write happens within a step; lower first. Revocations leave keys and sudo before names, grants reach names before
 * sudo and keys, so that every mix that a crash leaves grants no more than the old or the new state. Indexes follow the names.
 */
export type Phase =
  | "revoke-keys"
  | "revoke-sudo"
  | "shadow"
  | "passwd"
  | "group"
  | "index"
  | "grant-sudo"
  | "grant-keys";

export const phases: readonly Phase[] = [
  "revoke-keys",
  "revoke-sudo",
  "shadow",
  "passwd",
  "group",
  "index",
  "grant-sudo",
  "grant-keys",
];

/**
 * Phases that need not be durable before the next one begins: a power cut may keep a new group and lose a new passwd, as well as
 * the other way round.
 */
export const joined: ReadonlySet<Phase> = new Set(["shadow", "passwd"]);

/** One file that is to be replaced whole, or removed (`bytes` undefined). A rendering may write a file once per phase. */
export interface Write {
  readonly phase: Phase;
  /** Relative to the agent's served directory: `nss/passwd.cache`. */
  readonly path: string;
  readonly bytes: Uint8Array | undefined;
  readonly mode: number;
  /** Group that owns the file, by name ("shadow"); root if absent. The owner is always root. */
  readonly group?: string;
}

/** A resource that this sink alone could not represent: it is held, named in the ack, and not served. */
export interface Isolated {
  readonly key: ResourceKey;
  readonly reason: string;
}

/** What a sink wants written for one step. Within a phase, writes keep their order. */
export interface Rendering {
  readonly writes: readonly Write[];
  /** Live files that must not be older than what is written: they are given the time of now before that. */
  readonly touches?: readonly string[];
  /**
   * What its grants (`grant-keys`, `grant-sudo`) bring. If they cannot be verified now, they may be left out of a step that takes something
   * away: who leaves does not wait for that. Absent: it has none that may.
   */
  readonly granting?: readonly ResourceKey[];
  readonly isolated: readonly Isolated[];
}

/** What the files of all sinks have come to say, for the acts that follow. */
export interface Aftermath {
  /** The step that is being finished, as it was sent, whatever the policy keeps from sinks; undefined after a mere repair. */
  readonly step: Step | undefined;
  /** What sinks were shown: `isWhole`, all that the node serves; else what the step put. */
  readonly shown: Iterable<Resource>;
  readonly isWhole: boolean;
}

/** What of the copy sinks are shown: the policy keeps the rest from them. Not to be copied whole for one step. */
export interface Shown {
  readonly at: Position;
  readonly resources: ReadonlyMap<ResourceKey, Resource>;
}

export interface Sink {
  readonly name: string;
  /**
   * Renders a step, at a cost that goes by what it changes. `copy` is what the node holds before it (the step is not committed yet). Changes nothing: calling it
   * again with the same arguments gives the same bytes.
   */
  render(copy: Shown, step: Step): Promise<Rendering>;
  /**
   * Asks the real consumer, or reads as it would, whether the staged files serve the step. `staged` maps each
   * of `Rendering.writes` that has bytes to the absolute path at which they lie now; a grant that is not in it is left out. Throws with
   * the reason if not.
   */
  verify(rendering: Rendering, staged: ReadonlyMap<Write, string>): Promise<void>;
  /** The writes of this rendering are live, or all but its grants: remember the layout for the next one, or that it is not known. */
  settled(rendering: Rendering, isWhole?: boolean): void;
  /**
   * Compares the live files with what `copy` wants; gives the writes that repair the difference (none if there is none).
   * Called at start, after a crash and on the drift timer. A missing or foreign file is rendered anew, whole.
   */
  repair(copy: Shown): Promise<Rendering>;
  /**
   * Does what is no file. It may be done again, whole: after a crash before `done`, and after a failure. Resolves with what it
   * could not do for one resource alone, then and so far. A throw leaves the step unfinished: it is nacked by this sink's name,
   * and tried again. It must end by itself: nothing else is applied meanwhile.
   */
  act?(aftermath: Aftermath): Promise<readonly Isolated[]>;
}

/** What a sink without files renders. */
export const noFiles: Rendering = { writes: [], isolated: [] };

/**
 * A sink of its own pace: no part of any step, so that no file waits for it. It follows what was applied, and says how far it has got.
 */
export interface TrailingSink {
  /** A step is true on the node. */
  applied(step: Step): void;
  /** As said to the control plane; undefined: the node's own policy has it off. */
  readonly health: Health | undefined;
  /** Calls back whenever the health is another. */
  onChange(listener: () => void): void;
}

export interface Health {
  readonly sink: string;
  /** The newest revision of which it made everything true; 0: none yet. */
  readonly revision: bigint;
  /** Why it is behind, or what is in its way, in one line; empty: nothing. */
  readonly reason: string;
  /** Uids of people of whom `revision` says nothing yet: they left, and have jobs that may finish. */
  readonly lingering: readonly number[];
}

/** So many of them are told to anybody (proto/rollcall/v1/node.proto, SinkHealth). */
export const mostLingering = 1_000;

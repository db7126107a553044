/**
 * The agent, as a pure machine: what it holds, what it is doing, and what it says. Applying is an effect whose end comes
 * back as an event, so that every order of messages, failures and disconnects can be tried without a disk or a network.
 *
 * Invariants (proto/README.md, section 5): `at` moves only when an apply is durable; an ack says only `at`; a message
 * that does not continue `at` is refused and changes nothing; a lost connection changes nothing.
 */

import { type Delta, whyNot } from "../identity/delta.ts";
import { type Position, whyBackwards } from "../identity/position.ts";
import type { Resource } from "../identity/resource.ts";
import type { Isolated } from "./sink.ts";

/** The most that one snapshot may hold; a server that announces more is faulty or hostile. */
export const mostResources = 2_000_000;

export interface Agent {
  readonly at: Position;
  readonly link: "down" | "up" | "greeted";
  readonly work: Work;
  readonly incoming: Incoming | undefined;
  /**
   * Why an ack would not tell the server enough once the work is done, so that a new Hello must: the work came over an
   * `earlier link`, or a message was `turned away` meanwhile.
   */
  readonly owesHello: "earlier link" | "turned away" | undefined;
}

/** What the agent is doing to its files. */
export type Work =
  | { readonly kind: "idle" }
  | { readonly kind: "applying"; readonly to: Position; readonly attempt: number }
  /** It failed for a reason that may pass, and is tried again after a while. */
  | { readonly kind: "stuck"; readonly to: Position; readonly attempt: number; readonly failure: Failure };

/** A snapshot on its way in. */
export interface Incoming {
  readonly to: Position;
  readonly count: number;
  readonly resources: readonly (readonly Resource[])[];
  readonly held: number;
}

/** Why an apply failed. */
export interface Failure {
  /** A sink's name, or `agent`. */
  readonly sink: string;
  readonly reason: string;
  /** It may pass by itself: a full disk. */
  readonly retrying: boolean;
  /** Files were already being replaced: it must be finished before anything else. */
  readonly begun: boolean;
  /** What was sent does not continue or end where it says: only a snapshot can help. */
  readonly diverged: boolean;
}

/** What one sink could not serve. */
export interface SinkReport {
  readonly sink: string;
  readonly isolated: readonly Isolated[];
}

export type Event =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "welcome" }
  | { readonly kind: "delta"; readonly delta: Delta }
  | { readonly kind: "snapshot-begin"; readonly to: Position; readonly count: number }
  | { readonly kind: "snapshot-chunk"; readonly resources: readonly Resource[] }
  | { readonly kind: "snapshot-end"; readonly to: Position }
  /** A message that could not even be read; `revision` is what it would have led to, if that could be told. */
  | { readonly kind: "unreadable"; readonly revision: bigint; readonly reason: string }
  | { readonly kind: "applied"; readonly at: Position; readonly reports: readonly SinkReport[]; readonly took: number }
  | { readonly kind: "failed"; readonly failure: Failure }
  | { readonly kind: "retry" }
  | { readonly kind: "beat" };

export type Effect =
  | { readonly kind: "say-hello" }
  | { readonly kind: "say-ack"; readonly at: Position; readonly reports: readonly SinkReport[]; readonly took: number }
  | {
      readonly kind: "say-nack";
      readonly at: Position;
      readonly revision: bigint;
      readonly failure: Pick<Failure, "sink" | "reason" | "retrying">;
      readonly diverged: boolean;
      readonly busy: boolean;
    }
  /** End the stream, to say Hello on the next one. */
  | { readonly kind: "hang-up" }
  | { readonly kind: "say-heartbeat"; readonly at: Position }
  | { readonly kind: "apply-delta"; readonly delta: Delta }
  | { readonly kind: "apply-snapshot"; readonly to: Position; readonly resources: readonly (readonly Resource[])[] }
  /** Try the stuck apply again now. */
  | { readonly kind: "try-again" }
  /** Wake with `retry`, later each time. */
  | { readonly kind: "retry-later"; readonly attempt: number };

export type Turn = readonly [Agent, readonly Effect[]];

export function begin(at: Position): Agent {
  return { at, link: "down", work: { kind: "idle" }, incoming: undefined, owesHello: undefined };
}

/** One turn: what the agent now believes, and what must be done about it. */
export function step(agent: Agent, event: Event): Turn {
  switch (event.kind) {
    case "connected":
      return greet({ ...agent, link: "up" });
    case "disconnected":
      return [disconnected(agent), []];
    case "welcome":
      return [agent, []];
    case "delta":
      return onDelta(agent, event.delta);
    case "snapshot-begin":
    case "snapshot-chunk":
    case "snapshot-end":
      return onSnapshot(agent, event);
    case "unreadable":
      return [{ ...agent, incoming: undefined }, [refusal(agent, event.revision, event.reason)]];
    case "applied":
      return onApplied(agent, event);
    case "failed":
      return onFailed(agent, event.failure);
    case "retry":
      return onRetry(agent);
    case "beat":
      return [agent, agent.link === "greeted" ? [{ kind: "say-heartbeat", at: agent.at }] : []];
  }
}

function disconnected(agent: Agent): Agent {
  const owesHello = agent.work.kind === "idle" ? undefined : "earlier link";
  return { ...agent, link: "down", incoming: undefined, owesHello };
}

/** Says Hello once nothing is being applied: it states where the node is, and that must not move behind its back. */
function greet(agent: Agent): Turn {
  if (agent.link !== "up" || agent.work.kind === "applying") return [agent, []];
  return [{ ...agent, link: "greeted" }, [{ kind: "say-hello" }]];
}

function onDelta(agent: Agent, delta: Delta): Turn {
  const busy = whyBusy(agent);
  if (busy) return turnAway(agent, delta.to.revision, busy);
  const why = whyNot(agent.at, delta);
  if (why !== undefined) {
    return [agent, [refusal(agent, delta.to.revision, `the delta does not fit: ${why}`, { diverged: true })]];
  }
  return [startOn({ ...agent, incoming: undefined }, delta.to), [{ kind: "apply-delta", delta }]];
}

function onSnapshot(agent: Agent, event: Event & { kind: `snapshot-${string}` }): Turn {
  switch (event.kind) {
    case "snapshot-begin": {
      const busy = whyBusy(agent);
      if (busy) return turnAway(agent, event.to.revision, busy);
      const backwards = whyBackwards(agent.at, event.to);
      if (backwards !== undefined) return [agent, [refusal(agent, event.to.revision, backwards)]];
      if (event.count > mostResources) {
        const reason = `a snapshot of ${event.count} resources; at most ${mostResources} are taken`;
        return [agent, [refusal(agent, event.to.revision, reason)]];
      }
      return [{ ...agent, incoming: { to: event.to, count: event.count, resources: [], held: 0 } }, []];
    }
    case "snapshot-chunk": {
      // Chunks without a beginning belong to a snapshot that was refused: they are let pass by.
      if (!agent.incoming) return [agent, []];
      // Without end, these would fill the memory with nothing.
      if (event.resources.length === 0) return [agent, []];
      const held = agent.incoming.held + event.resources.length;
      if (held > agent.incoming.count) {
        const reason = `the snapshot holds more than the ${agent.incoming.count} resources that it announced`;
        return [{ ...agent, incoming: undefined }, [refusal(agent, agent.incoming.to.revision, reason)]];
      }
      const resources = [...agent.incoming.resources, event.resources];
      return [{ ...agent, incoming: { ...agent.incoming, resources, held } }, []];
    }
    case "snapshot-end": {
      if (!agent.incoming) return [agent, []];
      const { to, count, held, resources } = agent.incoming;
      const idle: Agent = { ...agent, incoming: undefined };
      if (held !== count || to.revision !== event.to.revision) {
        const reason = `the snapshot ends with ${held} of ${count} resources`;
        return [idle, [refusal(agent, to.revision, reason)]];
      }
      return [startOn(idle, to), [{ kind: "apply-snapshot", to, resources }]];
    }
  }
}

function onApplied(agent: Agent, { at, reports, took }: Event & { kind: "applied" }): Turn {
  const next: Agent = { ...agent, at, work: { kind: "idle" } };
  if (agent.link === "up") return greet({ ...next, owesHello: undefined });
  if (agent.link === "greeted" && agent.owesHello) return hangUp(next);
  return [next, agent.link === "greeted" ? [{ kind: "say-ack", at, reports, took }] : []];
}

function onFailed(agent: Agent, failure: Failure): Turn {
  const { work } = agent;
  if (work.kind !== "applying") return [agent, []];
  const next: Agent = failure.retrying
    ? { ...agent, work: { kind: "stuck", to: work.to, attempt: work.attempt + 1, failure } }
    : { ...agent, work: { kind: "idle" } };
  const later: Effect[] = failure.retrying ? [{ kind: "retry-later", attempt: work.attempt + 1 }] : [];
  if (agent.link === "up") {
    const [greeted, effects] = greet(next);
    return [greeted, [...effects, ...later]];
  }
  // What was turned away may be what helps; once files are begun, only finishing them does.
  if (agent.link === "greeted" && agent.owesHello === "turned away" && !failure.begun) {
    const [gone, effects] = hangUp(next);
    return [gone, [...effects, ...later]];
  }
  // Only the first failure is news; later ones of the same apply are the agent's own affair.
  const news: Effect[] =
    agent.link === "greeted" && work.attempt === 0
      ? [nack(agent, work.to.revision, failure, { diverged: failure.diverged })]
      : [];
  return [next, [...news, ...later]];
}

function onRetry(agent: Agent): Turn {
  if (agent.work.kind !== "stuck") return [agent, []];
  const { to, attempt } = agent.work;
  return [{ ...agent, work: { kind: "applying", to, attempt } }, [{ kind: "try-again" }]];
}

function startOn(agent: Agent, to: Position): Agent {
  return { ...agent, work: { kind: "applying", to, attempt: 0 }, owesHello: undefined };
}

/** Why a new message cannot be taken now. A stuck apply that changed nothing yet gives way to what is newer. */
function whyBusy({ work }: Agent): Pick<Failure, "sink" | "reason"> | undefined {
  switch (work.kind) {
    case "idle":
      return undefined;
    case "applying":
      return { sink: "agent", reason: `revision ${work.to.revision} is still being applied` };
    case "stuck":
      return work.failure.begun ? work.failure : undefined;
  }
}

function turnAway(agent: Agent, revision: bigint, { sink, reason }: Pick<Failure, "sink" | "reason">): Turn {
  const why = { sink, reason, retrying: true };
  return [{ ...agent, owesHello: "turned away" }, [nack(agent, revision, why, { busy: true })]];
}

function hangUp(agent: Agent): Turn {
  return [disconnected(agent), [{ kind: "hang-up" }]];
}

function refusal(
  agent: Agent,
  revision: bigint,
  reason: string,
  how: Partial<Pick<SayNack, "diverged">> = {},
): SayNack {
  return nack(agent, revision, { sink: "agent", reason, retrying: false }, how);
}

type SayNack = Effect & { kind: "say-nack" };

function nack(
  { at }: Agent,
  revision: bigint,
  failure: SayNack["failure"],
  { diverged = false, busy = false }: Partial<Pick<SayNack, "diverged" | "busy">>,
): SayNack {
  return { kind: "say-nack", at, revision, failure, diverged, busy };
}

/** A node in the model: the real agent machine and the real copy, on a memory that outlives its process. */

import type { Agent, Effect, Event, Failure } from "../../agent/agent.ts";
import { type Copy, emptyCopy, type Step } from "../../identity/copy.ts";
import type { Position } from "../../identity/position.ts";
import { Refusal } from "../../identity/refusal.ts";
import type { Link } from "./link.ts";
import { nameOf } from "./log.ts";
import type { Parts } from "./parts.ts";

/** How an apply ends. */
export type Outcome = "work" | "full" | "refuse" | "begun";

export class Node {
  readonly #parts: Parts;
  /** What is durable. */
  copy: Copy = emptyCopy();
  agent: Agent;
  instance = 0;
  link: Link | undefined;
  /** Everything that it was ever at, since its memory began. */
  readonly held = new Set<string>();
  #check: (() => Step) | undefined;
  #stuck: Step | undefined;
  /** Its files are half of one and half of the other: it must be finished. */
  #begun: Step | undefined;
  #isRetryDue = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.agent = parts.agent.begin(this.copy.at);
    this.held.add(nameOf(this.copy.at));
  }

  get at(): Position {
    return this.copy.at;
  }

  connect(link: Link): void {
    this.link = link;
    this.on({ kind: "connected" });
  }

  disconnected(): void {
    this.link = undefined;
    this.on({ kind: "disconnected" });
  }

  on(event: Event): void {
    const [agent, effects] = this.#parts.agent.step(this.agent, event);
    this.agent = agent;
    for (const effect of effects) this.#carryOut(effect);
  }

  hear(link: Link): void {
    const message = link.down.shift();
    if (message) this.on(message);
  }

  retry(): void {
    if (!this.#isRetryDue) return;
    this.#isRetryDue = false;
    this.on({ kind: "retry" });
  }

  /** What it is doing ends. */
  work(outcome: Outcome): void {
    const check = this.#check;
    if (!check) return;
    this.#check = undefined;
    let step: Step;
    try {
      step = check();
    } catch (err) {
      if (!(err instanceof Refusal)) throw err;
      return this.on({ kind: "failed", failure: failureOf(err.message, { diverged: err.reason === "conflict" }) });
    }
    this.#stuck = step;
    switch (outcome) {
      case "work":
        return this.#applied(step);
      case "full":
        return this.#failed("disk full", { retrying: true });
      case "refuse":
        return this.#failed("visudo", { retrying: this.#begun !== undefined });
      case "begun":
        this.#begun = step;
        return this.#failed("EIO", { retrying: true });
    }
  }

  /** The process ends and starts again; what was begun is finished first. */
  crash(): void {
    if (this.#begun) this.#keep(this.#begun);
    this.#restart();
  }

  /** The memory is damaged: it begins anew. */
  wipe(): void {
    this.copy = emptyCopy();
    this.held.clear();
    this.held.add(nameOf(this.copy.at));
    this.#restart();
  }

  #restart(): void {
    this.instance++;
    this.link = undefined;
    this.#check = undefined;
    this.#stuck = undefined;
    this.#begun = undefined;
    this.#isRetryDue = false;
    this.agent = this.#parts.agent.begin(this.copy.at);
  }

  #applied(step: Step): void {
    this.#keep(step);
    this.#stuck = undefined;
    this.#begun = undefined;
    this.on({ kind: "applied", at: this.copy.at, reports: [], took: 1 });
  }

  #keep(step: Step): void {
    this.#parts.commit(this.copy, step);
    this.held.add(nameOf(this.copy.at));
  }

  #failed(reason: string, fields: Partial<Failure>): void {
    this.on({ kind: "failed", failure: failureOf(reason, { ...fields, begun: this.#begun !== undefined }) });
  }

  #carryOut(effect: Effect): void {
    const up = this.link?.up;
    switch (effect.kind) {
      case "say-hello":
        up?.push({ kind: "hello", position: this.agent.at, instance: this.instance });
        return;
      case "say-ack":
        up?.push({ kind: "ack", position: effect.at });
        return;
      case "say-nack": {
        const { at, revision, diverged, busy } = effect;
        up?.push({ kind: "nack", at, revision, diverged, busy });
        return;
      }
      case "say-heartbeat":
        up?.push({ kind: "heartbeat", position: effect.at });
        return;
      case "apply-delta":
        this.#check = () => this.#parts.prepare(this.copy, effect.delta);
        return;
      case "apply-snapshot":
        this.#check = () => this.#parts.prepareSnapshot(this.copy, effect.to, effect.resources.flat());
        return;
      case "try-again": {
        const stuck = this.#stuck;
        if (stuck) this.#check = () => stuck;
        return;
      }
      case "retry-later":
        this.#isRetryDue = true;
        return;
      case "hang-up":
        if (this.link) this.link.atNode = false;
        this.link = undefined;
        return;
    }
  }
}

function failureOf(reason: string, fields: Partial<Failure>): Failure {
  return { sink: "nss", reason, retrying: false, begun: false, diverged: false, ...fields };
}

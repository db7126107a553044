/**
 * Stands between what the memory holds and what the sinks see: the memory holds what was sent, so that digests agree; sinks see
 * what the policy lets through. A resource that becomes forbidden is to them one that went.
 *
 * A policy that is read anew and says something else counts from the next step or repair on. One that cannot be read, or is
 * gone, changes nothing: the last good one stays.
 */

import type { Copy, Edit, Step } from "../../identity/copy.ts";
import { type Position, samePosition } from "../../identity/position.ts";
import type { Resource, ResourceKey } from "../../identity/resource.ts";
import type { Isolated } from "../sink.ts";
import { type Policy, unstated, whyNot, whyTooSmall } from "./policy.ts";

/** A step that the policy refuses whole. It is tried again: the node's operator may allow it meanwhile. */
export class Breach extends Error {}

type Denied = ReadonlyMap<ResourceKey, string>;

export class Gate {
  #policy: Policy;
  readonly #read: () => Promise<Policy | undefined>;
  readonly #complain: (err: unknown) => void;
  #isStale = false;
  #known: { readonly at: Position; readonly denied: Denied } | undefined;

  /** @param policy what counts now. @param read gives what the file says now. @param complain is told why it cannot be used. */
  constructor(
    policy: Policy = unstated,
    read: () => Promise<Policy | undefined> = async () => policy,
    complain: (err: unknown) => void = () => undefined,
  ) {
    this.#policy = policy;
    this.#read = read;
    this.#complain = complain;
  }

  /** Another policy counts now than the files were written under: they are to be repaired before the next step. */
  get isStale(): boolean {
    return this.#isStale;
  }

  /** The files are as the policy wants them. */
  settled(): void {
    this.#isStale = false;
  }

  /** Reads the policy again. */
  async refresh(): Promise<void> {
    try {
      const next = await this.#read();
      if (next === undefined) {
        if (this.#policy !== unstated) throw new Error("the policy file is gone");
        return;
      }
      if (printed(next) === printed(this.#policy)) return;
      this.#policy = next;
      this.#known = undefined;
      this.#isStale = true;
    } catch (err) {
      this.#complain(err);
    }
  }

  /** What sinks may see of a copy. */
  copy(copy: Copy): { readonly copy: Copy; readonly isolated: readonly Isolated[] } {
    const denied = this.#deniedIn(copy);
    this.#known = { at: copy.at, denied };
    return { copy: less(copy, denied), isolated: list(denied) };
  }

  /** What sinks may see of a step. @throws Breach if it may not be taken at all. */
  step(copy: Copy, step: Step): { readonly copy: Copy; readonly step: Step; readonly isolated: readonly Isolated[] } {
    const why = whyTooSmall(this.#policy, copy, step);
    if (why !== undefined) throw new Breach(why);
    const before = this.#deniedIn(copy);
    const after = this.#deniedAfter(copy, step, before);
    this.#known = { at: copy.at, denied: before };
    if (before.size === 0 && after.size === 0) return { copy, step, isolated: [] };
    const edits = new Map<ResourceKey, Edit>();
    for (const { key, before: was, after: is } of step.edits) {
      edits.set(key, { key, before: before.has(key) ? undefined : was, after: after.has(key) ? undefined : is });
    }
    // A rule of sudo may come or go with its group's name, though nobody touched it.
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      const held = copy.resources.get(key);
      if (edits.has(key) || !held || before.has(key) === after.has(key)) continue;
      edits.set(key, { key, before: before.has(key) ? undefined : held, after: after.has(key) ? undefined : held });
    }
    const seen = [...edits.values()].filter((edit) => edit.before ?? edit.after);
    return { copy: less(copy, before), step: { ...step, edits: seen }, isolated: list(after) };
  }

  #deniedIn(copy: Copy): Denied {
    if (this.#known && samePosition(this.#known.at, copy.at)) return this.#known.denied;
    return deniedOf(this.#policy, copy.resources.keys(), copy.resources);
  }

  #deniedAfter(copy: Copy, { edits }: Step, before: Denied): Denied {
    const changed = edits.map(({ key }) => key);
    const regroups = changed.some((key) => key.startsWith("group/") || key.startsWith("sudo/"));
    const resources = regroups ? new Map(copy.resources) : new Map<ResourceKey, Resource>();
    for (const { key, after } of edits) {
      if (after) resources.set(key, after);
      else resources.delete(key);
    }
    if (regroups) return deniedOf(this.#policy, resources.keys(), resources);
    const kept = new Map(before);
    for (const key of changed) kept.delete(key);
    return new Map([...kept, ...deniedOf(this.#policy, resources.keys(), resources)]);
  }
}

function deniedOf(policy: Policy, keys: Iterable<ResourceKey>, held: ReadonlyMap<ResourceKey, Resource>): Denied {
  const denied = new Map<ResourceKey, string>();
  for (const key of keys) {
    const resource = held.get(key);
    const why = resource && whyNot(policy, resource, held);
    if (why !== undefined) denied.set(key, why);
  }
  return denied;
}

function less(copy: Copy, denied: Denied): Copy {
  if (denied.size === 0) return copy;
  const isSeen = ([key]: [ResourceKey, Resource]) => !denied.has(key);
  return {
    at: copy.at,
    resources: new Map([...copy.resources].filter(isSeen)),
    names: new Map([...copy.names].filter(([, key]) => !denied.has(key))),
  };
}

function list(denied: Denied): Isolated[] {
  return [...denied].map(([key, reason]) => ({ key, reason }));
}

function printed(policy: Policy): string {
  const plain = (_: string, value: unknown) => (value instanceof Set || value instanceof Map ? [...value] : value);
  return JSON.stringify(policy, plain);
}

/**
 * Stands between what the memory holds and what the sinks see: the memory holds what was sent, so that digests agree; sinks see
 * what the policy and the node's own accounts let through. A resource that becomes forbidden is to them one that went.
 *
 * A policy, or a local account, that is read anew and says something else counts from the next step or repair on. One that cannot be read, or
 * a policy that is gone, changes nothing: the last good one stays.
 */

import type { Copy, Edit, Step } from "../../identity/copy.ts";
import { type Position, samePosition } from "../../identity/position.ts";
import type { Resource, ResourceKey } from "../../identity/resource.ts";
import type { Isolated } from "../sink.ts";
import { type Local, lent, nobodyLocal, whyShadowed } from "./local.ts";
import { type Policy, unstated, whyNot, whyTooSmall } from "./policy.ts";

/** A step that the policy refuses whole. It is tried again: the node's operator may allow it meanwhile. */
export class Breach extends Error {}

type Denied = ReadonlyMap<ResourceKey, string>;

/** Where the node's own accounts come from; local.ts reads them. */
export interface LocalSource {
  readonly now: Local;
  refresh(): Promise<boolean>;
}

const noLocals: LocalSource = { now: nobodyLocal, refresh: async () => false };

export class Gate {
  #policy: Policy;
  readonly #local: LocalSource;
  readonly #read: () => Promise<Policy | undefined>;
  readonly #complain: (err: unknown) => void;
  #complaint: string | undefined;
  #isStale = false;
  #known: { readonly at: Position; readonly denied: Denied } | undefined;

  /**
   * @param policy what counts now.
   * @param read gives what the file says now.
   * @param complain is told, once, why a file cannot be used.
   */
  constructor(
    policy: Policy = unstated,
    read: () => Promise<Policy | undefined> = async () => policy,
    complain: (err: unknown) => void = () => undefined,
    local: LocalSource = noLocals,
  ) {
    this.#policy = policy;
    this.#read = read;
    this.#complain = complain;
    this.#local = local;
  }

  /** What counts now. */
  get policy(): Policy {
    return this.#policy;
  }

  get local(): Local {
    return this.#local.now;
  }

  /** Another policy counts now than the files were written under: they are to be repaired before the next step. */
  get isStale(): boolean {
    return this.#isStale;
  }

  /** The files are as the policy wants them. */
  settled(): void {
    this.#isStale = false;
  }

  /** Reads the policy again, and the node's own accounts if they changed. */
  async refresh(): Promise<void> {
    try {
      const isOther = await this.#local.refresh();
      const next = await this.#read();
      if (isOther) this.#outdate();
      if (next === undefined && this.#policy !== unstated) throw new Error("the policy file is gone");
      if (next !== undefined && printed(next) !== printed(this.#policy)) {
        this.#policy = next;
        this.#outdate();
      }
      this.#complaint = undefined;
    } catch (err) {
      // The same every minute would say nothing new.
      if (String(err) !== this.#complaint) this.#complain(err);
      this.#complaint = String(err);
    }
  }

  #outdate(): void {
    this.#known = undefined;
    this.#isStale = true;
  }

  /** What sinks may see of a copy. */
  copy(copy: Copy): { readonly copy: Copy; readonly isolated: readonly Isolated[] } {
    const denied = this.#deniedIn(copy);
    this.#known = { at: copy.at, denied };
    const seen = less(copy, denied);
    return { copy: seen, isolated: [...list(denied), ...lent(this.#local.now, seen.resources.values())] };
  }

  /** What sinks may see of a step. @throws Breach if it may not be taken at all. */
  step(copy: Copy, step: Step): { readonly copy: Copy; readonly step: Step; readonly isolated: readonly Isolated[] } {
    const why = whyTooSmall(this.#policy, copy, step);
    if (why !== undefined) throw new Breach(why);
    const before = this.#deniedIn(copy);
    const after = this.#deniedAfter(copy, step, before);
    this.#known = { at: copy.at, denied: before };
    const risks = lent(this.#local.now, heldAfter(copy, step, after));
    if (before.size === 0 && after.size === 0) return { copy, step, isolated: risks };
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
    return { copy: less(copy, before), step: { ...step, edits: seen }, isolated: [...list(after), ...risks] };
  }

  #deniedIn(copy: Copy): Denied {
    if (this.#known && samePosition(this.#known.at, copy.at)) return this.#known.denied;
    return this.#denied(copy.resources.keys(), copy.resources);
  }

  #deniedAfter(copy: Copy, { edits }: Step, before: Denied): Denied {
    const changed = edits.map(({ key }) => key);
    const regroups = changed.some((key) => key.startsWith("group/") || key.startsWith("sudo/"));
    const resources = regroups ? new Map(copy.resources) : new Map<ResourceKey, Resource>();
    for (const { key, after } of edits) {
      if (after) resources.set(key, after);
      else resources.delete(key);
    }
    if (regroups) return this.#denied(resources.keys(), resources);
    const kept = new Map(before);
    for (const key of changed) kept.delete(key);
    return new Map([...kept, ...this.#denied(resources.keys(), resources)]);
  }

  #denied(keys: Iterable<ResourceKey>, held: ReadonlyMap<ResourceKey, Resource>): Denied {
    const denied = new Map<ResourceKey, string>();
    for (const key of keys) {
      const resource = held.get(key);
      const why = resource && (whyNot(this.#policy, resource, held) ?? whyShadowed(this.#local.now, resource));
      if (why !== undefined) denied.set(key, why);
    }
    return denied;
  }
}

/** What sinks are to see after a step. */
function* heldAfter({ resources }: Copy, { edits }: Step, denied: Denied): Generator<Resource> {
  const edited = new Map(edits.map(({ key, after }) => [key, after]));
  for (const [key, resource] of resources) if (!edited.has(key) && !denied.has(key)) yield resource;
  for (const [key, resource] of edited) if (resource && !denied.has(key)) yield resource;
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

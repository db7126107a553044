/**
 * Stands between what the memory holds and what the sinks see: the memory holds what was sent, so that digests agree; sinks see
 * what the policy and the node's own accounts let through. A resource that becomes forbidden is to them one that went; so are all sudo
 * rules while they are withdrawn, because the server has been silent for longer than the policy trusts them.
 *
 * A policy, or a local account, that is read anew and says something else counts from the next step or repair on. One that cannot be read, or
 * a policy that is gone, changes nothing: the last good one stays.
 */

import type { Copy, Edit, Step } from "../../identity/copy.ts";
import { type Position, samePosition } from "../../identity/position.ts";
import type { Resource, ResourceKey } from "../../identity/resource.ts";
import { overlay } from "../overlay.ts";
import type { Isolated, Shown } from "../sink.ts";
import { isLent, type Local, lent, nobodyLocal, whyShadowed } from "./local.ts";
import { type Policy, unstated, whyNot, whyTooSmall } from "./policy.ts";

/** A step that the policy refuses whole. It is tried again: the node's operator may allow it meanwhile. */
export class Breach extends Error {}

type Denied = ReadonlyMap<ResourceKey, string>;

/** What was found about the content of a position. */
interface Judged {
  readonly at: Position;
  readonly denied: Denied;
  /** What is served, but at a risk that only the node's operator can judge. */
  readonly risks: readonly Isolated[];
}

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
  /** Of the copy, and of what the last step would make of it. */
  #known: readonly Judged[] = [];
  #isWithdrawn = false;

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

  /** Sudo rules are kept from the sinks, whatever they say. */
  get isWithdrawn(): boolean {
    return this.#isWithdrawn;
  }

  /** Withdraws all sudo rules, or gives them back, from the next step or repair on. */
  withdrawSudo(isWithdrawn: boolean): void {
    if (isWithdrawn === this.#isWithdrawn) return;
    this.#isWithdrawn = isWithdrawn;
    this.#known = [];
    this.#isStale = true;
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
    this.#known = [];
    this.#isStale = true;
  }

  /** What sinks may see of a copy. */
  copy(copy: Copy): { readonly copy: Shown; readonly isolated: readonly Isolated[] } {
    const judged = this.#judge(copy);
    this.#known = [judged];
    return { copy: less(copy, judged.denied), isolated: [...list(judged.denied), ...judged.risks] };
  }

  /** What sinks may see of a step. @throws Breach if it may not be taken at all. */
  step(copy: Copy, step: Step): { readonly copy: Shown; readonly step: Step; readonly isolated: readonly Isolated[] } {
    const why = whyTooSmall(this.#policy, copy, step);
    if (why !== undefined) throw new Breach(why);
    const judged = this.#judge(copy);
    const next = this.#judgeAfter(copy, step, judged);
    this.#known = [judged, next];
    const { denied: before } = judged;
    const { denied: after, risks } = next;
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

  #judge(copy: Copy): Judged {
    const known = this.#known.find(({ at }) => samePosition(at, copy.at));
    if (known) return known;
    const denied = this.#denied(copy.resources.keys(), copy.resources);
    return { at: copy.at, denied, risks: lent(this.#local.now, less(copy, denied).resources.values()) };
  }

  #judgeAfter(copy: Copy, { edits, to }: Step, before: Judged): Judged {
    const changed = new Map(edits.map(({ key, after }) => [key, after]));
    const held = overlay(copy.resources, changed);
    const judged = new Set(changed.keys());
    // What a group may run goes by its name.
    for (const key of changed.keys()) {
      if (key.startsWith("group/")) judged.add(key.replace("group/", "sudo/") as ResourceKey);
    }
    const kept = new Map(before.denied);
    for (const key of judged) kept.delete(key);
    const denied = new Map([...kept, ...this.#denied(judged, held)]);
    const isOther = edits.some((edit) =>
      [edit.before, edit.after].some((each) => each && isLent(this.#local.now, each)),
    );
    const risks = isOther
      ? lent(this.#local.now, less({ at: to, resources: held }, denied).resources.values())
      : before.risks;
    return { at: to, denied, risks };
  }

  #denied(keys: Iterable<ResourceKey>, held: ReadonlyMap<ResourceKey, Resource>): Denied {
    const denied = new Map<ResourceKey, string>();
    for (const key of keys) {
      const resource = held.get(key);
      const why =
        this.#isWithdrawn && resource?.kind === "sudo"
          ? withdrawn
          : resource && (whyNot(this.#policy, resource, held) ?? whyShadowed(this.#local.now, resource));
      if (why !== undefined) denied.set(key, why);
    }
    return denied;
  }
}

const withdrawn = "policy: sudo is withdrawn until the server is heard again (stale)";

function less({ at, resources }: Shown, denied: Denied): Shown {
  return { at, resources: overlay(resources, new Map([...denied.keys()].map((key) => [key, undefined]))) };
}

function list(denied: Denied): Isolated[] {
  return [...denied].map(([key, reason]) => ({ key, reason }));
}

function printed(policy: Policy): string {
  const plain = (_: string, value: unknown) => (value instanceof Set || value instanceof Map ? [...value] : value);
  return JSON.stringify(policy, plain);
}

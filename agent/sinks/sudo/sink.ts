/**
 * Mirrors sudo rules into one file of sudoers.d (`/etc/sudoers.d/rollcall`, a link to it: a name without a dot, which sudo
 * would pass over). Rules name groups, and who is in a group is the nss sink's: so a step writes the file up to twice.
 *
 * 1. `revoke-sudo`, before any name or membership changes: what the live file and the new one both grant.
 * 2. `grant-sudo`, after all of them: the new one.
 *
 * Whoever loses a membership while its group gains a rule, or takes over the name of a group that has one, so never has what
 * neither version grants. Bytes that are not ours grant nothing that is kept.
 *
 * visudo is asked about every file that grants more than the live one. A file that only takes away is made of rules
 * that it was asked about before, and waits for nobody.
 */

import { join } from "node:path";
import type { Step } from "../../../identity/copy.ts";
import type { Name } from "../../../identity/name.ts";
import { type Position, samePosition } from "../../../identity/position.ts";
import { Refusal } from "../../../identity/refusal.ts";
import { keyOf, type Resource, type ResourceKey, type Sudo } from "../../../identity/resource.ts";
import { type Disk, type Found, isHeld } from "../../disk.ts";
import { overlay } from "../../overlay.ts";
import type { Isolated, Rendering, Shown, Sink, Write } from "../../sink.ts";
import { meet, parseRules, printRules, type Rule, type Rules } from "./rule.ts";
import { type Check, visudo } from "./visudo.ts";

/** Relative to the served folder. */
export const sudoersPath = "sudo/rollcall";

/** sudo passes over a file that others may write or that is not root's. */
const mode = 0o440;

/** @param served the agent's served folder. */
export function sudoSink(disk: Disk, served: string, check: Check = visudo): Sink {
  return new SudoSink(disk, served, check);
}

interface State {
  readonly at: Position;
  readonly isolated: readonly Isolated[];
  /** Every rule that is held, also of groups that are not known. */
  readonly held: ReadonlyMap<ResourceKey, Sudo>;
}

class SudoSink implements Sink {
  readonly name = "sudo";
  readonly #disk: Disk;
  readonly #served: string;
  readonly #check: Check;
  #live: State | undefined;
  readonly #plans = new WeakMap<Rendering, State>();

  constructor(disk: Disk, served: string, check: Check) {
    this.#disk = disk;
    this.#served = served;
    this.#check = check;
  }

  async render(copy: Shown, step: Step): Promise<Rendering> {
    const live = this.#live;
    const resources = overlay(copy.resources, new Map(step.edits.map(({ key, after }) => [key, after])));
    if (!live || !samePosition(live.at, copy.at)) return this.#reconcile(sudoIn(resources), resources, step.to);
    const touches = ({ key }: { key: ResourceKey }) => key.startsWith("sudo/") || key.startsWith("group/");
    if (!step.edits.some(touches)) return this.#planned([], { ...live, at: step.to });
    const held = new Map(live.held);
    for (const { key, after } of step.edits) {
      if (after?.kind === "sudo") held.set(key, after);
      else held.delete(key);
    }
    return this.#reconcile(held, resources, step.to);
  }

  async verify({ writes }: Rendering, staged: ReadonlyMap<Write, string>): Promise<void> {
    for (const write of writes) {
      const path = staged.get(write);
      if (path === undefined) continue;
      const found = await this.#disk.read(path);
      if (!write.bytes || !found?.bytes.equals(write.bytes)) {
        throw new Error(`the staged ${write.path} is not what was rendered`);
      }
      parseRules(found.bytes);
      if (write.phase === "grant-sudo") await this.#check(path);
    }
  }

  settled(rendering: Rendering, isWhole = true): void {
    const state = this.#plans.get(rendering);
    if (!state) throw new Error("the rendering is not this sink's");
    this.#live = isWhole ? state : undefined;
  }

  async repair(copy: Shown): Promise<Rendering> {
    return this.#reconcile(sudoIn(copy.resources), copy.resources, copy.at);
  }

  async #reconcile(
    held: State["held"],
    resources: ReadonlyMap<ResourceKey, Resource>,
    at: Position,
  ): Promise<Rendering> {
    const { rules, isolated } = rulesOf(held, resources);
    const found = await this.#disk.read(join(this.#served, sudoersPath));
    const stands = found !== undefined || (await this.#disk.list(join(this.#served, "sudo"))).includes("rollcall");
    const kept = meet(rulesIn(found), rules);
    const [less, all] = [printRules(kept), printRules(rules)];
    const writes: Write[] = [];
    // What stands there and is no file, a link to elsewhere, is taken away too.
    if (stands && !(found?.bytes.equals(less) && isHeld(found, mode, process.getegid?.() ?? 0)))
      writes.push(writeOf("revoke-sudo", less));
    if (!all.equals(less)) writes.push(writeOf("grant-sudo", all));
    const granting = [...held.values()].flatMap((resource) => {
      const group = resources.get(`group/${resource.gid}` as ResourceKey);
      const name = group?.kind === "group" ? group.name : undefined;
      return name === undefined || lineOf(kept.get(name)) === lineOf(rules.get(name)) ? [] : [keyOf(resource)];
    });
    return this.#planned(writes, { at, isolated, held }, granting);
  }

  #planned(writes: readonly Write[], state: State, granting: readonly ResourceKey[] = []): Rendering {
    const rendering = { writes, granting, isolated: state.isolated };
    this.#plans.set(rendering, state);
    return rendering;
  }
}

function lineOf(rule: Rule | undefined): string {
  return rule ? printRules(new Map([[rule.group, rule]])).toString() : "";
}

function sudoIn(resources: ReadonlyMap<ResourceKey, Resource>): Map<ResourceKey, Sudo> {
  const held = new Map<ResourceKey, Sudo>();
  for (const [key, resource] of resources) if (resource.kind === "sudo") held.set(key, resource);
  return held;
}

/** The rules that are stated; a group that is not known here can have none. */
function rulesOf(
  held: State["held"],
  resources: ReadonlyMap<ResourceKey, Resource>,
): { rules: Rules; isolated: readonly Isolated[] } {
  const rules = new Map<Name, Rule>();
  const isolated: Isolated[] = [];
  for (const resource of held.values()) {
    const { gid, password, commands } = resource;
    const group = resources.get(`group/${gid}` as ResourceKey);
    if (group?.kind === "group") rules.set(group.name, { group: group.name, password, commands });
    else isolated.push({ key: keyOf(resource), reason: `group ${gid} is not known here` });
  }
  return { rules, isolated };
}

/** What of a live file we wrote: bytes that are not ours count for nothing. */
function rulesIn(found: Found | undefined): Rules {
  if (!found) return new Map();
  try {
    return parseRules(found.bytes);
  } catch (error) {
    if (error instanceof Refusal) return new Map();
    throw error;
  }
}

function writeOf(phase: "revoke-sudo" | "grant-sudo", bytes: Buffer): Write {
  return { phase, path: sudoersPath, bytes, mode };
}

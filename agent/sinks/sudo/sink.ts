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
import type { Copy, Step } from "../../../identity/copy.ts";
import type { Name } from "../../../identity/name.ts";
import { type Position, samePosition } from "../../../identity/position.ts";
import { Refusal } from "../../../identity/refusal.ts";
import { keyOf, type Resource, type ResourceKey } from "../../../identity/resource.ts";
import type { Disk, Found } from "../../disk.ts";
import type { Isolated, Rendering, Sink, Write } from "../../sink.ts";
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

  async render(copy: Copy, step: Step): Promise<Rendering> {
    const live = this.#live;
    const touches = ({ key }: { key: ResourceKey }) => key.startsWith("sudo/") || key.startsWith("group/");
    if (live && samePosition(live.at, copy.at) && !step.edits.some(touches)) {
      return this.#planned([], { at: step.to, isolated: live.isolated });
    }
    const resources = new Map(copy.resources);
    for (const { key, after } of step.edits) {
      if (after) resources.set(key, after);
      else resources.delete(key);
    }
    return this.#reconcile(resources, step.to);
  }

  async verify({ writes }: Rendering, staged: ReadonlyMap<Write, string>): Promise<void> {
    for (const write of writes) {
      const path = staged.get(write) ?? "";
      const found = await this.#disk.read(path);
      if (!write.bytes || !found?.bytes.equals(write.bytes)) {
        throw new Error(`the staged ${write.path} is not what was rendered`);
      }
      parseRules(found.bytes);
      if (write.phase === "grant-sudo") await this.#check(path);
    }
  }

  settled(rendering: Rendering): void {
    const state = this.#plans.get(rendering);
    if (!state) throw new Error("the rendering is not this sink's");
    this.#live = state;
  }

  async repair(copy: Copy): Promise<Rendering> {
    return this.#reconcile(copy.resources, copy.at);
  }

  async #reconcile(resources: ReadonlyMap<ResourceKey, Resource>, at: Position): Promise<Rendering> {
    const { rules, isolated } = rulesOf(resources);
    const found = await this.#disk.read(join(this.#served, sudoersPath));
    const stands = found !== undefined || (await this.#disk.list(join(this.#served, "sudo"))).includes("rollcall");
    const kept = meet(rulesIn(found), rules);
    const [less, all] = [printRules(kept), printRules(rules)];
    const writes: Write[] = [];
    // What stands there and is no file, a link to elsewhere, is taken away too.
    if (stands && !(found?.bytes.equals(less) && isHeld(found))) writes.push(writeOf("revoke-sudo", less));
    if (!all.equals(less)) writes.push(writeOf("grant-sudo", all));
    return this.#planned(writes, { at, isolated });
  }

  #planned(writes: readonly Write[], state: State): Rendering {
    const rendering = { writes, isolated: state.isolated };
    this.#plans.set(rendering, state);
    return rendering;
  }
}

/** The rules that resources state; a group that is not known here can have none. */
function rulesOf(resources: ReadonlyMap<ResourceKey, Resource>): { rules: Rules; isolated: readonly Isolated[] } {
  const rules = new Map<Name, Rule>();
  const isolated: Isolated[] = [];
  for (const resource of resources.values()) {
    if (resource.kind !== "sudo") continue;
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

/** Whether sudo would read a file: of the agent's user and group, and with exactly our mode. */
function isHeld({ mode: found, uid, gid }: Found): boolean {
  return found === mode && uid === (process.geteuid?.() ?? 0) && gid === (process.getegid?.() ?? 0);
}

function writeOf(phase: "revoke-sudo" | "grant-sudo", bytes: Buffer): Write {
  return { phase, path: sudoersPath, bytes, mode };
}

/**
 * The guard: which of the removals that the directory now asks for may reach the nodes, and which wait for an operator.
 * Pure. A provider that goes wrong, or is taken over, must not empty a cluster; a single leaver must never wait.
 *
 * People who lose a cluster are counted. Beyond the limit of the window, whoever would go next stays as they are, whole:
 * account, memberships, keys. A sudo group that loses its last member keeps it, unless nobody else left it lately. Whatever
 * the nodes need for those who stay, stays with them. Everything else flows on.
 */

import type { Gid } from "../../identity/id.ts";
import { kindOf, type ResourceKey } from "../../identity/resource.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Guard } from "../store/settings.ts";

/** How a cluster stands before some edits. */
export interface Standing {
  readonly guard: Guard;
  /** How many people the nodes know. */
  readonly people: number;
  /** How many went within the window. */
  readonly departed: number;
  /** What waits already, of the subjects that these edits are of. */
  readonly held: ReadonlySet<ResourceKey>;
  /** Groups with sudo that would have no member left. */
  readonly emptied: ReadonlySet<Gid>;
  /** Groups of which a member waits already. */
  readonly kept: ReadonlySet<Gid>;
}

export interface Decision {
  readonly pass: readonly OwnedEdit[];
  readonly hold: readonly OwnedEdit[];
  /** Why something is held; empty if nothing is. */
  readonly reason: string;
  /** What waited, and is wanted again. */
  readonly withdrawn: readonly ResourceKey[];
  /** People who go now, and count. */
  readonly departing: readonly string[];
}

export function decide(edits: readonly OwnedEdit[], standing: Standing): Decision {
  const asked = new Set(edits.filter(({ after }) => !after).map(({ key }) => key));
  const fresh = edits.filter(({ key, after }) => after || !standing.held.has(key));
  const leaving = fresh.filter(({ key, after }) => !after && kindOf(key) === "user").map(({ owner }) => owner);
  const limit = limitOf(standing);
  const tooMany = leaving.length > 0 && standing.departed + leaving.length > limit;
  const last = fresh.filter(
    ({ before, after }) => !after && before?.kind === "member" && standing.emptied.has(before.gid),
  );

  const left = new Set(leaving);
  const staying = new Set([
    ...(tooMany ? leaving : []),
    ...last.map(({ owner }) => owner).filter((id) => left.has(id)),
  ]);
  const keys = new Set(last.map(({ key }) => key));
  const stays = ({ key, owner, after }: OwnedEdit) => !after && (staying.has(owner) || keys.has(key));
  const groups = new Set(standing.kept);
  for (const { before } of fresh.filter(stays)) if (before?.kind === "member") groups.add(before.gid);
  const needed = ({ before, after }: OwnedEdit) =>
    !after && (before?.kind === "group" || before?.kind === "sudo") && groups.has(before.gid);

  const hold = fresh.filter((edit) => stays(edit) || needed(edit));
  const held = new Set(hold);
  const reasons = [
    tooMany ? `${leaving.length} more would lose access; ${limit} may within ${standing.guard.windowSeconds} s` : "",
    last.length > 0 ? "a group with sudo would have no member left" : "",
    hold.length > 0 && !tooMany && last.length === 0 ? "a group would go of which a member is held" : "",
  ];
  return {
    pass: fresh.filter((edit) => !held.has(edit)),
    hold,
    reason: reasons.filter((reason) => reason !== "").join("; "),
    withdrawn: [...standing.held].filter((key) => !asked.has(key)),
    departing: leaving.filter((owner) => !staying.has(owner)),
  };
}

/** How many people may go within the window: of a cluster as large as it was before any of them went. */
export function limitOf({ guard, people, departed }: Pick<Standing, "guard" | "people" | "departed">): number {
  return Math.max(guard.people, Math.floor(((people + departed) * guard.percent) / 100));
}

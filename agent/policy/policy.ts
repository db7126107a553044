/**
 * What this node accepts, whoever asks: stated by its own operator in a file, and beyond the reach of a server. It can only
 * forbid. What no policy may allow (ids of the system, reserved names, `..` in a path) never gets this far: the parsers
 * of identity/ refuse it, and with it the whole message.
 *
 * An entry that breaks a rule is left out alone, by name: an honest server may not know this node's rules, and a neighbour is
 * not to wait for that. A step that would take away too many people is refused whole.
 */

import type { Copy, Step } from "../../identity/copy.ts";
import type { IdRange, Uid } from "../../identity/id.ts";
import type { Resource, ResourceKey } from "../../identity/resource.ts";
import type { Role } from "../../identity/scope.ts";
import { type AdminLevel, adminLevels } from "../../identity/slurm.ts";
import type { SudoCommands } from "../../identity/sudo.ts";

export interface Policy {
  /** Numbers that people may have; undefined: all that may be written at all. */
  readonly uids: readonly IdRange[] | undefined;
  /** Numbers that groups may have; a private group has its user's. */
  readonly gids: readonly IdRange[] | undefined;
  readonly reservedUsers: ReadonlySet<string>;
  readonly reservedGroups: ReadonlySet<string>;
  readonly shells: ReadonlySet<string> | undefined;
  /** By name of the group, the most that it may run. Once stated, nobody else may run anything. */
  readonly sudo: ReadonlyMap<string, SudoCommands> | undefined;
  readonly shrink: Shrink;
  /** What becomes of the sessions of those who leave; undefined: what is usual for the node's role. */
  readonly sessions: SessionRule | undefined;
  /** How homes are made; undefined: none are. */
  readonly homes: Homes | undefined;
  readonly slurm: SlurmPolicy;
  /** After so long a silence of the server, in milliseconds, the node calls itself stale. */
  readonly staleAfter: number;
  /** After so long a silence of the server, in milliseconds, nobody may use sudo here by a rule of it; undefined: never. */
  readonly withdrawSudoAfter: number | undefined;
  /** SHA-256 of the file, hex, as `sha256sum` gives it; undefined: there is none. */
  readonly sum: string | undefined;
}

/** On a controller: what is done to Slurm's accounting. */
export interface SlurmPolicy {
  /** Whether anything is. */
  readonly enabled: boolean;
  /** Whether accounts, users and associations that others made are taken over, once an access rule wants them. */
  readonly adopt: boolean;
  /** The highest that anybody may be given. */
  readonly adminLevel: AdminLevel;
  /** How often Slurm is compared with what it should hold, in seconds. */
  readonly every: number;
}

/** How the home of somebody whom the node sees first is made. */
export interface Homes {
  /** Absolute: what it starts with. */
  readonly skeleton: string;
  readonly mode: number;
  /** Only homes below one of these are made. */
  readonly below: readonly string[];
  /** Where a file system must be mounted before anything is made below it. */
  readonly mounted: readonly string[];
}

/** Sessions of somebody who leaves are ended, or left alone. */
export type SessionRule = "end" | "leave";

/** People work on login nodes; elsewhere Slurm minds what runs. */
export const usualSessions: Readonly<Record<Role, SessionRule>> = {
  login: "end",
  compute: "leave",
  controller: "leave",
};

/** A step is refused if it takes away more people than `people`, and more than `share` of all. */
export interface Shrink {
  readonly people: number;
  /** 0 to 1. */
  readonly share: number;
}

/** Without a file: only that nobody is left of more than a few is refused. */
export const unstated: Policy = {
  uids: undefined,
  gids: undefined,
  reservedUsers: new Set(),
  reservedGroups: new Set(),
  shells: undefined,
  sudo: undefined,
  shrink: { people: 20, share: 0.99 },
  sessions: undefined,
  homes: undefined,
  slurm: { enabled: true, adopt: false, adminLevel: "administrator", every: 60 },
  staleAfter: 3_600_000,
  withdrawSudoAfter: undefined,
  sum: undefined,
};

/** Whether a person may have this number here. */
export function allowsUid({ uids }: Policy, uid: Uid): boolean {
  return !uids || isWithin(uid, uids);
}

/** The rule that a resource breaks, in words; undefined if it may be served. */
export function whyNot(
  policy: Policy,
  resource: Resource,
  held: ReadonlyMap<ResourceKey, Resource>,
): string | undefined {
  switch (resource.kind) {
    case "user": {
      const { uid, gid, name, shell } = resource;
      if (policy.uids && !isWithin(uid, policy.uids)) return outside("uid", uid, policy.uids);
      if (gid !== Number(uid) && policy.gids && !isWithin(gid, policy.gids)) return outside("gid", gid, policy.gids);
      if (policy.reservedUsers.has(name)) return `policy: the user ${name} is reserved (reserved_users)`;
      // A private group has its user's name.
      if (policy.reservedGroups.has(name)) return `policy: the group ${name} is reserved (reserved_groups)`;
      if (policy.shells && !policy.shells.has(shell)) return `policy: the shell ${shell} is not listed (shells)`;
      return undefined;
    }
    case "group":
      if (policy.gids && !isWithin(resource.gid, policy.gids)) return outside("gid", resource.gid, policy.gids);
      return policy.reservedGroups.has(resource.name)
        ? `policy: the group ${resource.name} is reserved (reserved_groups)`
        : undefined;
    case "sudo": {
      if (!policy.sudo) return undefined;
      const group = held.get(`group/${resource.gid}` as ResourceKey);
      // Nobody's rule: the sink says so.
      if (group?.kind !== "group") return undefined;
      const most = policy.sudo.get(group.name);
      if (most === undefined) return `policy: the group ${group.name} may run nothing (sudo)`;
      if (most === "ALL") return undefined;
      if (resource.commands === "ALL") return `policy: the group ${group.name} may not run ALL (sudo)`;
      const stranger = resource.commands.find((command) => !most.includes(command));
      return stranger === undefined ? undefined : `policy: the group ${group.name} may not run ${stranger} (sudo)`;
    }
    case "member":
    case "key":
    case "account":
      return undefined;
    case "association": {
      const [asked, most] = [resource.adminLevel, policy.slurm.adminLevel];
      return adminLevels.indexOf(asked) > adminLevels.indexOf(most)
        ? `policy: the admin level ${asked} is above ${most} (slurm)`
        : undefined;
    }
  }
}

/** Why a step takes away too many people; undefined if it does not. */
export function whyTooSmall({ shrink }: Policy, copy: Copy, { edits }: Step): string | undefined {
  const gone = edits.filter(({ before, after }) => before?.kind === "user" && !after).length;
  if (gone <= shrink.people) return undefined;
  let all = 0;
  for (const key of copy.resources.keys()) if (key.startsWith("user/")) all++;
  if (gone / all <= shrink.share) return undefined;
  const most = `more than ${shrink.people} and more than ${shrink.share * 100} percent`;
  return `policy: this would take away ${gone} of ${all} people, ${most} (shrink)`;
}

function outside(what: "uid" | "gid", id: number, ranges: readonly IdRange[]): string {
  const shown = ranges.map(({ first, last }) => `${first}..${last}`).join(", ");
  return `policy: ${what} ${id} is outside ${shown} (${what}s)`;
}

function isWithin(id: number, ranges: readonly IdRange[]): boolean {
  return ranges.some(({ first, last }) => id >= first && id <= last);
}

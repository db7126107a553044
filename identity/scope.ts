/**
 * A scope is what one kind of node is sent: a cluster's resources, less those that a node of its role has no use for. All
 * nodes of a scope hold the same, so they share one digest and one encoded frame.
 */

import type { Kind } from "./resource.ts";

/** What a node is for. */
export type Role = "login" | "compute" | "controller";

export const roles: readonly Role[] = ["login", "compute", "controller"];

const carried: Record<Role, ReadonlySet<Kind>> = {
  login: new Set(["user", "group", "member", "key", "sudo"]),
  compute: new Set(["user", "group", "member", "key"]),
  // Nobody but operators signs in to a controller: it resolves people, and holds none of their keys.
  controller: new Set(["user", "group", "member", "account", "association"]),
};

/** Whether nodes of a role are sent resources of a kind. */
export function carries(role: Role, kind: Kind): boolean {
  return carried[role].has(kind);
}

/** What membership in a group grants in a cluster. Only operators state grants; an identity provider never does. */

import { quote, refuse } from "./refusal.ts";
import {
  type AdminLevel,
  type JobsOnLeave,
  parseAccountName,
  parseAdminLevel,
  parseDescription,
  parseJobsOnLeave,
  parseLimits,
} from "./slurm.ts";
import { parseSudoCommands, type SudoCommands } from "./sudo.ts";

/** One thing that a group's members get. */
export type Grant = LoginGrant | GroupGrant | SudoGrant | AccountGrant;

/** Access to the cluster's nodes; without it, nothing else is granted. */
export interface LoginGrant {
  readonly kind: "login";
}

/** The group as a POSIX group; every other grant brings that with it. */
export interface GroupGrant {
  readonly kind: "group";
}

/** Commands as any user, on login nodes. */
export interface SudoGrant {
  readonly kind: "sudo";
  /** Whether sudo asks for a password; whoever has none on the node then gets nothing. */
  readonly password: boolean;
  readonly commands: SudoCommands;
}

/** Use of a Slurm account. */
export interface AccountGrant {
  readonly kind: "account";
  readonly account: string;
  /** The account above it; undefined: Slurm's root account. */
  readonly parent: string | undefined;
  /** Whether it is where jobs go that name no account; of several, the first by name is. */
  readonly isDefault: boolean;
  readonly adminLevel: AdminLevel;
  /** Limits of each member's association, by sacctmgr(1)'s names in lower case: `maxjobs`, `grptres`, ... */
  readonly limits: Readonly<Record<string, string>>;
  /** What becomes of a member's jobs in the account when they leave it. */
  readonly jobs: JobsOnLeave;
  /** For people; empty: nothing is said. */
  readonly description: string;
  /** Limits of the account itself. */
  readonly accountLimits: Readonly<Record<string, string>>;
}

/** What a group grants in a cluster; the group is known by its display name, and need not exist yet. */
export interface Rule {
  readonly group: string;
  readonly grant: Grant;
}

const fields: Readonly<Record<Grant["kind"], readonly string[]>> = {
  login: ["kind"],
  group: ["kind"],
  sudo: ["kind", "password", "commands"],
  account: ["kind", "account", "parent", "isDefault", "adminLevel", "limits", "jobs", "description", "accountLimits"],
};

/** @throws Refusal `invalid`, naming the field, the value and the rule. */
export function parseGrant(value: unknown): Grant {
  const stated = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const kind = (Object.keys(fields) as Grant["kind"][]).find((each) => each === stated["kind"]);
  if (!kind) refuse("invalid", `a grant is login, group, sudo or account, not ${quote(stated["kind"])}`);
  const stranger = Object.keys(stated).find((field) => !fields[kind].includes(field));
  if (stranger !== undefined) refuse("invalid", `a ${kind} grant has no field ${quote(stranger)}`);
  switch (kind) {
    case "login":
    case "group":
      return { kind };
    case "sudo":
      return { kind, password: flag("password", stated), commands: parseSudoCommands(stated["commands"]) };
    case "account":
      return {
        kind,
        account: parseAccountName(stated["account"]),
        parent: stated["parent"] === undefined ? undefined : parseAccountName(stated["parent"], "parent"),
        isDefault: flag("isDefault", stated),
        adminLevel: parseAdminLevel(stated["adminLevel"]),
        limits: parseLimits(stated["limits"]),
        jobs: parseJobsOnLeave(stated["jobs"] ?? "cancel"),
        description: parseDescription(stated["description"] ?? ""),
        accountLimits: parseLimits(stated["accountLimits"] ?? {}),
      };
  }
}

function flag(field: string, stated: Readonly<Record<string, unknown>>): boolean {
  const value = stated[field];
  return typeof value === "boolean" ? value : refuse("invalid", `${field} ${quote(value)} must be true or false`);
}

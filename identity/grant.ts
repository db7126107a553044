/** What membership in a group grants in a cluster. Only operators state grants; an identity provider never does. */

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

/** Commands as any user, on login and compute nodes. */
export interface SudoGrant {
  readonly kind: "sudo";
  /** Whether sudo asks for a password; whoever has none on the node then gets nothing. */
  readonly password: boolean;
  readonly commands: "ALL" | readonly string[];
}

/** Use of a Slurm account. */
export interface AccountGrant {
  readonly kind: "account";
  readonly account: string;
  /** The account above it; undefined: Slurm's root account. */
  readonly parent: string | undefined;
  /** Whether it is where jobs go that name no account; of several, the first by name is. */
  readonly isDefault: boolean;
  readonly adminLevel: "none" | "operator" | "administrator";
  /** Limits of each member's association, by sacctmgr(1)'s names in lower case: `maxjobs`, `grptres`, ... */
  readonly limits: Readonly<Record<string, string>>;
}

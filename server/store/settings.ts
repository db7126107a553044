/** What operators set of orgs and clusters. Kept as JSON of what was set; what was not has its default here. */

import { groupIds, type IdRange, userIds } from "../../identity/id.ts";
import { usualShell } from "../../identity/resource.ts";

export interface OrgSettings {
  /** What a person's POSIX name is made of, see identity/template.ts. */
  readonly userNames: string;
  /** What a group's POSIX name is made of. */
  readonly groupNames: string;
  /** What becomes of spaces in what a name is made of. */
  readonly spaces: "refuse" | "dash";
  readonly userIds: IdRange;
  readonly groupIds: IdRange;
  /** Whether a provider's uidNumber and gidNumber are taken, if free and in range, or refused. */
  readonly suppliedIds: "honour" | "refuse";
  readonly home: string;
  readonly shell: string;
  /** Login shells that a person may have. */
  readonly shells: readonly string[];
}

export interface ClusterSettings {
  /** Instead of the org's. */
  readonly home: string | undefined;
  readonly shell: string | undefined;
  readonly guard: Guard;
  readonly slurm: SlurmOrder;
}

/** How long identity and Slurm wait for one another. */
export interface SlurmOrder {
  /** How long a new association waits for connected nodes that do not know its person yet. */
  readonly knownWithinSeconds: number;
  /** How long somebody who leaves stays, locked, until the controller has cancelled their jobs. */
  readonly cancelWithinSeconds: number;
  /** As before, where jobs are left to finish; 0: as long as they take. */
  readonly finishWithinSeconds: number;
}

/** More removals of access than this, and the rest waits for an operator. */
export interface Guard {
  /** People who may go within the window, however few there are. */
  readonly people: number;
  /** Percent of the cluster's people who may go, if that is more. */
  readonly percent: number;
  readonly windowSeconds: number;
}

const usualOrg: OrgSettings = {
  userNames: "{userName}",
  groupNames: "{displayName}",
  spaces: "refuse",
  userIds,
  groupIds,
  suppliedIds: "honour",
  home: "/home/{name}",
  shell: usualShell,
  shells: ["/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/fish"],
};

const usualCluster: ClusterSettings = {
  home: undefined,
  shell: undefined,
  guard: { people: 5, percent: 1, windowSeconds: 600 },
  slurm: { knownWithinSeconds: 30, cancelWithinSeconds: 60, finishWithinSeconds: 0 },
};

export function orgSettings(set: string): OrgSettings {
  return { ...usualOrg, ...(JSON.parse(set) as Partial<OrgSettings>) };
}

export function clusterSettings(set: string): ClusterSettings {
  return { ...usualCluster, ...(JSON.parse(set) as Partial<ClusterSettings>) };
}

/**
 * People who go on under another name. Slurm renames a user in place (sacctmgr(1), `newname`): associations, default account, usage and
 * jobs, running or waiting, go on as they are. It does so in all clusters and for everybody's associations, so only users who are wholly
 * Rollcall's are renamed; of others, the old name's associations stay until their jobs are over.
 */

import { type Call, isPassable } from "./slurm-call.ts";
import { associationsOfOthers, type Owned, type SlurmState, type SlurmWanted } from "./slurm-state.ts";

interface Before {
  readonly state: SlurmState;
  readonly owned: Owned;
  readonly wanted: SlurmWanted;
  /** Users that this node knows. */
  readonly isKnown: (user: string) => boolean;
}

/** What Slurm has, and what of it is Rollcall's, once the calls are done. */
interface Renamed {
  readonly calls: readonly Call[];
  readonly state: SlurmState;
  readonly owned: Owned;
}

export function renameUsers({ state, owned, wanted, isKnown }: Before): Renamed {
  const names = new Map([...wanted.associations.values()].map(({ user, uid }) => [uid, user]));
  const others = associationsOfOthers(state, owned.associations).map(({ user }) => user);
  const shared = new Set([...state.elsewhere.users, ...others]);
  const renames = new Map<string, string>();
  const taken = new Set(state.users.keys());
  for (const { user, uid } of owned.associations.values()) {
    const name = names.get(uid);
    if (name === undefined || name === user || !isPassable(name)) continue;
    const isOurs = owned.users.has(user) && state.users.has(user) && !shared.has(user);
    // Slurm looks up the number of the new name at once.
    if (!isOurs || taken.has(name) || !isKnown(name)) continue;
    renames.set(user, name);
    taken.add(name);
  }
  const nameOf = (user: string) => renames.get(user) ?? user;
  const rekeyed = <T extends { readonly account: string; readonly user: string }>(all: ReadonlyMap<string, T>) =>
    new Map(
      [...all.values()].map((each) => [`${each.account}/${nameOf(each.user)}`, { ...each, user: nameOf(each.user) }]),
    );
  return {
    calls: [...renames].map(([user, name]) => ({
      what: `rename ${user} to ${name}`,
      program: "sacctmgr",
      head: ["modify", "user", "where"],
      names: [user],
      tail: ["set", `newname=${name}`],
    })),
    state: {
      ...state,
      users: new Map([...state.users].map(([user, each]) => [nameOf(user), each])),
      associations: rekeyed(state.associations),
    },
    owned: {
      users: new Set([...owned.users].map(nameOf)),
      associations: rekeyed(owned.associations),
    },
  };
}

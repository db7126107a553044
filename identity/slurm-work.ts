/**
 * From what Slurm has to what a copy wants, as calls of Slurm's programs in an order that it accepts. Pure: nothing is asked, nothing
 * is done. What the calls made true is found by reading again: the next plan is empty, or goes on from there.
 *
 * 1. Only what is Rollcall's is changed or removed (slurm-state.ts). What stands in the way and is not is named in `foreign`.
 * 2. Who leaves an account can start nothing there from the first call on; then their jobs go or end; then the association. Only
 *    jobs of that person in that account. One that has not started never ends by itself: it goes, whatever the rule says.
 * 3. An account comes after the one above it, and goes when nothing stands below it any more.
 * 4. An association comes only once its user is known on this node: Slurm would refuse their jobs for ever.
 */

import type { Uid } from "./id.ts";
import { type AdminLevel, adminLevels } from "./slurm.ts";
import { type Call, inChunks, isPassable } from "./slurm-call.ts";
import { closed, isClosed, type Limits, limitWords } from "./slurm-limit.ts";
import { renameUsers } from "./slurm-rename.ts";
import {
  associationsOfOthers,
  type Claim,
  type Job,
  type Owned,
  organization,
  type SlurmAssociation,
  type SlurmState,
  type SlurmWanted,
  type WantedAssociation,
} from "./slurm-state.ts";

export interface Plan {
  /** One after another. */
  readonly calls: readonly Call[];
  /** What Rollcall owns from now on: to be kept before the first call. */
  readonly owned: Owned;
  /** What is not true yet, and no call can make so now. */
  readonly waiting: readonly Waiting[];
  /** What is wanted, and is there, and was not made by Rollcall: it is left as it is. */
  readonly foreign: readonly string[];
}

export type Waiting =
  | {
      /** For people. */
      readonly what: string;
      /** `jobs` were cancelled and will be gone in a moment. */
      readonly for: "jobs" | "time";
    }
  /** Jobs of somebody who left are allowed to end by themselves, however long that takes. */
  | { readonly what: string; readonly for: "finish"; readonly uid: Uid };

export interface Planning {
  readonly state: SlurmState;
  readonly owned: Owned;
  readonly wanted: SlurmWanted;
  /** Users that this node knows; asked only about {@link newcomers}. */
  readonly isKnown: (user: string) => boolean;
  /** Whether what is wanted and was made by others is taken over. */
  readonly adopts: boolean;
}

/** Users whom some association is to be made for. */
export function newcomers({ state, wanted }: Pick<Planning, "state" | "wanted">): WantedAssociation[] {
  return [...wanted.associations].flatMap(([key, each]) => (state.associations.has(key) ? [] : each));
}

/** Associations of Rollcall's that are not wanted any more: what jobs there are must be known to remove them. */
export function leavers({ state, owned, wanted }: Pick<Planning, "state" | "owned" | "wanted">): Claim[] {
  return [...owned.associations].flatMap(([key, claim]) =>
    state.associations.has(key) && !wanted.associations.has(key) ? claim : [],
  );
}

/** Cancels what is not to go on of those who left some accounts. */
export function cancelJobs(
  what: string,
  { leaving, jobs, wanted }: { leaving: readonly Claim[]; jobs: readonly Job[]; wanted: SlurmWanted },
): Call[] {
  const stay = stayers(wanted);
  const [ending, queued] = [new Set<string>(), new Set<string>()];
  for (const claim of leaving) {
    for (const job of jobsOf(claim, jobs)) {
      if (!goesOn(job, claim, stay)) (claim.jobs === "cancel" ? ending : queued).add(job.id);
    }
  }
  const scancel = (head: readonly string[], names: ReadonlySet<string>): Call[] =>
    inChunks({ what, program: "scancel", head, names: [...names], tail: [] });
  // Of a job array one number stands for all that have not started; and one may have started since it was listed.
  return [...scancel([], ending), ...scancel(["--state=PENDING"], queued)];
}

export function planWork(planning: Planning): Plan {
  const { calls, state, owned } = renameUsers(planning);
  const work = new Work({ ...planning, state, owned });
  work.close();
  work.accounts();
  work.associations();
  work.users();
  work.remove();
  const plan = work.plan();
  if (calls.length === 0) return plan;
  return { ...plan, calls: [...calls, ...plan.calls], owned: eitherOf(planning.owned, plan.owned) };
}

/** Until Slurm was read again, nobody knows which of two names it has. */
function eitherOf(before: Owned, after: Owned): Owned {
  return {
    users: before.users.union(after.users),
    associations: new Map([...before.associations, ...after.associations]),
  };
}

class Work {
  readonly #in: Planning;
  readonly #calls: Call[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #foreign: string[] = [];
  readonly #users: Set<string>;
  readonly #claims = new Map<string, Claim>();
  /** Accounts that stand in the tree once the calls so far are done. */
  readonly #standing: Set<string>;
  /** Associations that exist then. */
  readonly #held: Set<string>;
  readonly #leaving: readonly Claim[];
  /** Accounts that are wanted, and are others'. */
  readonly #others = new Set<string>();

  constructor(planning: Planning) {
    this.#in = planning;
    const { state, owned } = planning;
    this.#users = new Set([...owned.users].filter((user) => state.users.has(user)));
    this.#standing = new Set(state.places.keys());
    this.#held = new Set(state.associations.keys());
    this.#leaving = leavers(planning);
    for (const claim of this.#leaving) this.#claims.set(keyOf(claim), claim);
  }

  plan(): Plan {
    return {
      calls: this.#calls,
      owned: { users: this.#users, associations: this.#claims },
      waiting: this.#waiting,
      foreign: this.#foreign,
    };
  }

  /** Nobody who leaves an account starts anything there from here on; what runs there is cancelled, unless it may end by itself. */
  close(): void {
    const { state, wanted } = this.#in;
    const stay = stayers(wanted);
    // Whoever goes on under another name cannot use the old one; what they have queued there is to start.
    const open = this.#leaving.filter((claim) => !stay.has(placeOf(claim)) && !isClosed(limitsOf(state, claim)));
    for (const [account, claims] of Map.groupBy(open, (claim) => claim.account)) {
      const words = limitWords({}, closed);
      this.#modifyUsers(`let nobody who leaves ${account} start jobs`, namesOf(claims), { account, words });
    }
    for (const claim of this.#leaving) {
      const theirs = `of ${claim.user} in ${claim.account}`;
      const jobs = jobsOf(claim, state.jobs);
      const finishing = countOf(jobs.filter((job) => goesOn(job, claim, stay)));
      const ending = countOf(jobs.filter((job) => !goesOn(job, claim, stay)));
      if (ending) this.#waiting.push({ what: `cancels ${ending} ${theirs}`, for: "jobs" });
      if (finishing)
        this.#waiting.push({ what: `waits for ${finishing} ${theirs} to finish`, for: "finish", uid: claim.uid });
    }
    this.#calls.push(
      ...cancelJobs("cancel jobs of who left", { leaving: this.#leaving, jobs: state.jobs ?? [], wanted }),
    );
    if (state.jobs === undefined && this.#leaving.length > 0) {
      this.#waiting.push({ what: "cannot tell whether who left has jobs: slurmctld does not answer", for: "time" });
    }
  }

  accounts(): void {
    const { state, wanted, adopts } = this.#in;
    const ours = [...wanted.accounts.values()].filter(({ name }) => {
      const record = state.accounts.get(name);
      if (!record || record.organization === organization || adopts) return true;
      this.#foreign.push(`account ${name}`);
      this.#others.add(name);
      return false;
    });
    for (const level of levelsOf(
      ours.map(({ name }) => name),
      (name) => wanted.accounts.get(name)?.parent,
    )) {
      const mine = ours.filter(({ name }) => level.includes(name));
      const able = mine.filter(({ name, parent }) => {
        if (parent === undefined || this.#standing.has(parent)) return true;
        this.#waiting.push({ what: `the account ${name} waits for the one above it, ${parent}`, for: "time" });
        return false;
      });
      const missing = able.filter(({ name }) => !state.places.has(name));
      const kinds = ({ parent = "root", description, limits }: (typeof ours)[number]) =>
        [`parent=${parent}`, ...(description ? [`description=${description}`] : []), ...limitWords({}, limits)].join(
          "\t",
        );
      for (const [words, accounts] of Map.groupBy(missing, kinds)) {
        const parent = accounts[0]?.parent ?? "root";
        this.#call({
          what: `add ${counted(accounts, "account")} below ${parent}`,
          program: "sacctmgr",
          head: ["add", "account"],
          names: namesOf(accounts),
          tail: [this.#cluster, `organization=${organization}`, ...words.split("\t")],
        });
        for (const { name } of accounts) this.#standing.add(name);
      }
      const present = able.filter(({ name }) => state.places.has(name));
      const moved = present.filter(({ name, parent = "root" }) => state.places.get(name)?.parent !== parent);
      for (const [parent, accounts] of Map.groupBy(moved, (account) => account.parent ?? "root")) {
        this.#modifyAccounts(`move ${counted(accounts, "account")} below ${parent}`, accounts, [`parent=${parent}`]);
      }
      const changes = ({ name, limits }: (typeof ours)[number]) =>
        limitWords(state.places.get(name)?.limits ?? {}, limits).join("\t");
      for (const [words, accounts] of Map.groupBy(present, changes)) {
        if (words === "") continue;
        this.#modifyAccounts(`set limits of ${counted(accounts, "account")}`, accounts, words.split("\t"));
      }
      this.#describe(able);
    }
  }

  /** Description and organization belong to the account itself, in all clusters. */
  #describe(accounts: readonly { readonly name: string; readonly description: string }[]): void {
    for (const { name, description } of accounts) {
      const record = this.#in.state.accounts.get(name);
      // Slurm folds it to lower case, and calls an account without one by its name.
      const isTold = record?.description.toLowerCase() === (description || name).toLowerCase();
      if (!record || (isTold && record.organization === organization)) continue;
      const words = [`organization=${organization}`, ...(isTold ? [] : [`description=${description || name}`])];
      const tail = ["set", ...words];
      const what = `describe the account ${name}`;
      this.#call({ what, program: "sacctmgr", head: ["modify", "account", "where"], names: [name], tail });
    }
  }

  associations(): void {
    const { state, owned, wanted, adopts } = this.#in;
    const missing: WantedAssociation[] = [];
    const present: WantedAssociation[] = [];
    for (const [key, each] of wanted.associations) {
      // An account of others' is made in this cluster by them alone.
      if (this.#others.has(each.account) && !state.places.has(each.account)) continue;
      if (!state.associations.has(key)) missing.push(each);
      else if (owned.associations.has(key) || adopts) present.push(each);
      else this.#foreign.push(`association ${key}`);
    }
    for (const each of present) this.#claim(each);
    const able = missing.filter((each) => {
      const why = this.#in.isKnown(each.user) ? undefined : "is not known on this node (getent passwd)";
      const what = why ?? (this.#standing.has(each.account) ? undefined : `waits for the account ${each.account}`);
      if (what !== undefined) this.#waiting.push({ what: `${each.user} ${what}`, for: "time" });
      return what === undefined;
    });
    // Whoever is new has their first account as default: the right one comes first.
    const inOrder = [...able.filter(({ isDefault }) => isDefault), ...able.filter(({ isDefault }) => !isDefault)];
    const kinds = ({ account, isDefault, limits }: WantedAssociation) =>
      [isDefault ? "default" : "", account, ...limitWords({}, limits)].join("\t");
    for (const [kind, group] of Map.groupBy(inOrder, kinds)) {
      const [, account = "", ...words] = kind.split("\t");
      this.#call({
        what: `add ${counted(group, "user")} to ${account}`,
        program: "sacctmgr",
        head: ["add", "user"],
        names: namesOf(group),
        tail: [this.#cluster, `account=${account}`, ...words],
      });
      for (const each of group) {
        this.#claim(each);
        this.#held.add(keyOf(each));
        if (!state.users.has(each.user)) this.#users.add(each.user);
      }
    }
    const changes = (each: WantedAssociation) =>
      [each.account, ...limitWords(limitsOf(state, each), each.limits)].join("\t");
    for (const [kind, group] of Map.groupBy(present, changes)) {
      const [account = "", ...words] = kind.split("\t");
      if (words.length === 0) continue;
      this.#modifyUsers(`set limits of ${counted(group, "user")} in ${account}`, namesOf(group), { account, words });
    }
  }

  /** Default accounts and admin levels, of users that are Rollcall's. */
  users(): void {
    const { state, wanted, adopts } = this.#in;
    const people = Map.groupBy(
      [...wanted.associations.values()].filter((each) => this.#held.has(keyOf(each))),
      ({ user }) => user,
    );
    const shared = this.#usersOfOthers();
    const here = new Set([...state.associations.values()].map(({ user }) => user));
    const defaults: { name: string; account: string }[] = [];
    const levels: { name: string; level: AdminLevel }[] = [];
    for (const [name, uses] of people) {
      const found = state.users.get(name);
      const account = uses.find(({ isDefault }) => isDefault)?.account;
      const level = adminLevels.findLast((each) => uses.some(({ adminLevel }) => adminLevel === each)) ?? "none";
      // Of who is new here, the first account is the default, and the calls so far begin with that.
      const first = {
        defaultAccount: here.has(name) ? found?.defaultAccount : account,
        adminLevel: found?.adminLevel ?? "none",
      };
      const isSame = {
        account: account === undefined || first.defaultAccount === account,
        level: first.adminLevel === level,
      };
      // A user is one for all clusters: whom another one uses is not this one's to take over.
      if (found && adopts && !state.elsewhere.users.has(name)) this.#users.add(name);
      const isOurs = this.#users.has(name);
      if (!isSame.account && account !== undefined) {
        // Each cluster has its own: whoever has nothing here but by Rollcall has it by Rollcall, whoever made the user.
        if (isOurs || !shared.has(name)) defaults.push({ name, account });
        else this.#foreign.push(`default account of user ${name}`);
      }
      if (!isSame.level) {
        if (isOurs) levels.push({ name, level });
        else this.#foreign.push(`admin level of user ${name}`);
      }
    }
    const leaving = new Set(this.#leaving.map(({ user }) => user));
    for (const name of this.#users) {
      const found = state.users.get(name);
      if (!found || people.has(name)) continue;
      if (found.adminLevel !== "none") levels.push({ name, level: "none" });
      // What is left of them is others' alone from now on.
      else if (!leaving.has(name) && (shared.has(name) || state.elsewhere.users.has(name))) this.#users.delete(name);
    }
    for (const [account, users] of Map.groupBy(defaults, (each) => each.account)) {
      const words = [`defaultaccount=${account}`];
      this.#modifyUsers(`make ${account} the default account of ${counted(users, "user")}`, namesOf(users), { words });
    }
    for (const [level, users] of Map.groupBy(levels, (each) => each.level)) {
      const tail = ["set", `adminlevel=${level}`];
      const what = `give ${counted(users, "user")} the admin level ${level}`;
      this.#call({ what, program: "sacctmgr", head: ["modify", "user", "where"], names: namesOf(users), tail });
    }
  }

  /** What is not wanted any more: associations without jobs, users without associations, accounts without anything. */
  remove(): void {
    const { state, owned, wanted } = this.#in;
    const people = new Set([...wanted.associations.values()].map(({ user }) => user));
    const idle = state.jobs ? this.#leaving.filter((claim) => jobsOf(claim, state.jobs).length === 0) : [];
    for (const [account, claims] of Map.groupBy(idle, (claim) => claim.account)) {
      this.#call({
        what: `remove ${counted(claims, "user")} from ${account}`,
        program: "sacctmgr",
        head: ["delete", "user", "where"],
        names: namesOf(claims),
        tail: [this.#cluster, `account=${account}`, inNoPartition],
      });
      for (const claim of claims) this.#held.delete(keyOf(claim));
    }
    // Slurm itself removes a user with the last association, in this version: nobody is to be left where it does not.
    const used = new Set([...state.associations.values(), ...state.partitioned].map(({ user }) => user));
    const idlers = [...owned.users].filter((user) => {
      return state.users.has(user) && !used.has(user) && !state.elsewhere.users.has(user) && !people.has(user);
    });
    const head = ["delete", "user", "where"];
    const what = `remove ${idlers.length === 1 ? "1 user" : `${idlers.length} users`} without associations`;
    this.#call({ what, program: "sacctmgr", head, names: idlers, tail: [] });
    this.#removeAccounts();
  }

  /** Each first here, and once no cluster has it, as such: it would take with it what another cluster made of it meanwhile. */
  #removeAccounts(): void {
    const { state, wanted } = this.#in;
    // Whatever else has that Organization, and a name that Rollcall never gives, is not its own.
    const isOurs = (name: string) => state.accounts.get(name)?.organization === organization && isPassable(name);
    const parentOf = (name: string) => state.places.get(name)?.parent;
    const unwanted = [...state.accounts.keys()].filter((name) => isOurs(name) && !wanted.accounts.has(name));
    const peopled = new Set([...this.#held].map((key) => key.slice(0, key.indexOf("/"))));
    const ofOthers = new Set([
      ...this.#associationsOfOthers().map(({ account }) => account),
      ...[...state.places].flatMap(([name, { parent }]) => (isOurs(name) ? [] : parent)),
    ]);
    const head = ["delete", "account", "where"];
    for (const level of levelsOf(unwanted, parentOf).toReversed()) {
      const empty = level.filter((name) => {
        if (ofOthers.has(name)) {
          this.#foreign.push(`what stands below the account ${name}, which is not wanted any more`);
          return false;
        }
        return !peopled.has(name) && ![...this.#standing].some((other) => this.#parentThen(other) === name);
      });
      for (const name of empty) this.#standing.delete(name);
      const here = empty.filter((name) => state.places.has(name));
      const nowhere = empty.filter((name) => !state.places.has(name) && !state.elsewhere.accounts.has(name));
      this.#call({ what: removed(here), program: "sacctmgr", head, names: here, tail: [this.#cluster] });
      this.#call({ what: removed(nowhere), program: "sacctmgr", head, names: nowhere, tail: [] });
    }
  }

  #associationsOfOthers(): Pick<SlurmAssociation, "account" | "user">[] {
    return associationsOfOthers(this.#in.state, this.#claims);
  }

  #usersOfOthers(): Set<string> {
    return new Set(this.#associationsOfOthers().map(({ user }) => user));
  }

  /** Below which account one stands once the calls so far are done. */
  #parentThen(name: string): string | undefined {
    const { state, wanted } = this.#in;
    const asked = wanted.accounts.get(name);
    const isOurs = (state.accounts.get(name)?.organization ?? organization) === organization;
    return asked && isOurs ? (asked.parent ?? "root") : state.places.get(name)?.parent;
  }

  #claim({ account, user, uid, jobs }: WantedAssociation): void {
    this.#claims.set(`${account}/${user}`, { account, user, uid, jobs });
  }

  #modifyUsers(
    what: string,
    names: readonly string[],
    { account, words }: { account?: string; words: readonly string[] },
  ): void {
    const head = ["modify", "user", "where"];
    const where = account === undefined ? [] : [`account=${account}`, inNoPartition];
    const tail = [this.#cluster, ...where, "set", ...words];
    this.#call({ what, program: "sacctmgr", head, names, tail });
  }

  #modifyAccounts(what: string, accounts: readonly { readonly name: string }[], words: readonly string[]): void {
    const head = ["modify", "account", "where"];
    this.#call({ what, program: "sacctmgr", head, names: namesOf(accounts), tail: [this.#cluster, "set", ...words] });
  }

  #call(call: Call): void {
    this.#calls.push(...inChunks(call));
  }

  get #cluster(): string {
    return `cluster=${this.#in.state.cluster}`;
  }
}

/** Of an account and a user, the association that holds everywhere: others may have made more, each for one partition. */
const inNoPartition = "partition=";

/** Who goes on in an account, maybe under another name, as `account/uid`. */
function stayers({ associations }: SlurmWanted): Set<string> {
  return new Set([...associations.values()].map(({ account, uid }) => `${account}/${uid}`));
}

/** Whether a job of somebody who leaves is left to end by itself. */
function goesOn({ isQueued }: Job, claim: Claim, stay: ReadonlySet<string>): boolean {
  return stay.has(placeOf(claim)) || (claim.jobs === "finish" && !isQueued);
}

function placeOf({ account, uid }: Claim): string {
  return `${account}/${uid}`;
}

function jobsOf({ uid, account }: Claim, jobs: readonly Job[] = []): Job[] {
  return jobs.filter((job) => job.uid === Number(uid) && job.account === account);
}

/** How many, in words; undefined: none. */
function countOf(jobs: readonly Job[]): string | undefined {
  const count = new Set(jobs.map(({ id }) => id)).size;
  if (count === 0) return undefined;
  return count === 1 ? "1 job" : `${count} jobs`;
}

function removed(accounts: readonly string[]): string {
  return `remove ${accounts.length === 1 ? "1 account" : `${accounts.length} accounts`}`;
}

function keyOf({ account, user }: { readonly account: string; readonly user: string }): string {
  return `${account}/${user}`;
}

function limitsOf(state: SlurmState, each: { readonly account: string; readonly user: string }): Limits {
  return state.associations.get(keyOf(each))?.limits ?? {};
}

function namesOf(things: readonly ({ readonly name: string } | { readonly user: string })[]): string[] {
  return things.map((thing) => ("user" in thing ? thing.user : thing.name));
}

function counted(things: readonly unknown[], noun: string): string {
  return things.length === 1 ? `1 ${noun}` : `${things.length} ${noun}s`;
}

/** Names by how many of the others stand above them: those at the top first. */
function levelsOf(names: readonly string[], parentOf: (name: string) => string | undefined): string[][] {
  const among = new Set(names);
  const levels: string[][] = [];
  for (const name of names) {
    let depth = 0;
    for (let at = parentOf(name); at !== undefined && depth <= names.length; at = parentOf(at))
      if (among.has(at)) depth++;
    (levels[depth] ??= []).push(name);
  }
  return levels.map((level) => level ?? []).filter((level) => level.length > 0);
}

/**
 * A Slurm that does what 22.05 was seen to do with the calls that are made here, for tests of what would be asked of it. What the real one
 * does is tested with the real one (test/real).
 */

import { argumentsOf, type Call } from "./slurm-call.ts";
import { isLimit, type Limits } from "./slurm-limit.ts";
import type { Job, SlurmState } from "./slurm-state.ts";

export class SimulatedSlurm {
  readonly cluster = "hpc";
  readonly accounts = new Map<string, { description: string; organization: string }>();
  readonly places = new Map<string, { parent: string; limits: Limits }>();
  readonly users = new Map<string, { defaultAccount: string; adminLevel: string }>();
  readonly associations = new Map<string, { account: string; user: string; limits: Limits }>();
  /** Those that hold in one partition only, by `account/user`: a call that does not speak of partitions means them too. */
  readonly partitioned = new Map<string, { account: string; user: string; limits: Limits }>();
  jobs: Job[] = [];
  /** Every call, as it would be typed. */
  readonly calls: string[] = [];

  state(): SlurmState {
    const elsewhere = { accounts: new Set<string>(), users: new Set<string>() };
    const { cluster, accounts, places, users, associations, jobs } = this;
    const partitioned = [...this.partitioned.values()];
    return structuredClone({ cluster, accounts, places, users, associations, partitioned, jobs, elsewhere });
  }

  /** @throws Error as sacctmgr would say it. */
  run(call: Call): void {
    const words = argumentsOf(call);
    this.calls.push([call.program, ...words].join(" "));
    if (call.program === "scancel") {
      const isMeant = ({ isQueued }: Job) => isQueued || !call.head.includes("--state=PENDING");
      this.jobs = this.jobs.filter((job) => !(call.names.includes(job.id) && isMeant(job)));
      return;
    }
    const [, act, what] = words;
    const fields = new Map(words.slice(3).flatMap((word) => (word.includes("=") ? [pair(word)] : [])));
    const names = (fields.get("name") ?? "").split(",");
    if (what === "account") for (const name of names) this.#account(act ?? "", name, fields);
    else for (const name of names) this.#user(act ?? "", name, fields);
  }

  #account(act: string, name: string, fields: ReadonlyMap<string, string>): void {
    const parent = fields.get("parent");
    if (parent !== undefined && parent !== "root" && !this.places.has(parent)) throw new Error("no such parent");
    const place = this.places.get(name);
    switch (act) {
      case "add": {
        const [description, organization] = [fields.get("description") ?? name, fields.get("organization") ?? name];
        if (!this.accounts.has(name)) this.accounts.set(name, { description: description.toLowerCase(), organization });
        if (!place) this.places.set(name, { parent: parent ?? "root", limits: changed({}, fields) });
        return;
      }
      case "modify": {
        const record = this.accounts.get(name);
        if (!record) throw new Error("Nothing modified");
        record.organization = fields.get("organization") ?? record.organization;
        record.description = fields.get("description")?.toLowerCase() ?? record.description;
        if (!fields.has("cluster") || !place) return;
        for (let at = parent; at !== undefined; at = this.places.get(at)?.parent) {
          if (at === name) throw new Error("an account cannot be below itself");
        }
        this.places.set(name, { parent: parent ?? place.parent, limits: changed(place.limits, fields) });
        return;
      }
      case "delete": {
        const below = [...this.places].filter(([, each]) => each.parent === name).map(([each]) => each);
        for (const each of below) this.#account("delete", each, fields);
        for (const [key, each] of this.associations) if (each.account === name) this.#leave(key);
        for (const [key, each] of this.partitioned) if (each.account === name) this.partitioned.delete(key);
        this.places.delete(name);
        if (!fields.has("cluster")) this.accounts.delete(name);
        return;
      }
    }
  }

  #user(act: string, name: string, fields: ReadonlyMap<string, string>): void {
    const account = fields.get("account");
    const key = `${account}/${name}`;
    const found = this.users.get(name);
    switch (act) {
      case "add":
        if (account === undefined || !this.places.has(account)) throw new Error("this account doesn't exist");
        if (!found) this.users.set(name, { defaultAccount: account, adminLevel: "none" });
        if (!this.associations.has(key))
          this.associations.set(key, { account, user: name, limits: changed({}, fields) });
        return;
      case "modify": {
        if (!found) throw new Error("Nothing modified");
        const renamed = fields.get("newname");
        if (renamed !== undefined) return this.#rename(name, renamed);
        const wanted = fields.get("defaultaccount");
        if (wanted !== undefined && !this.associations.has(`${wanted}/${name}`))
          throw new Error("no such default account");
        found.defaultAccount = wanted ?? found.defaultAccount;
        found.adminLevel = fields.get("adminlevel") ?? found.adminLevel;
        const held = this.associations.get(key);
        const apart = fields.has("partition") ? undefined : this.partitioned.get(key);
        for (const each of [held, apart]) if (each) each.limits = changed(each.limits, fields);
        return;
      }
      case "delete":
        if (account === undefined) this.users.delete(name);
        for (const [each, { user }] of this.associations) {
          if (user === name && (account === undefined || each === key)) this.#leave(each);
        }
        if (!fields.has("partition")) this.partitioned.delete(key);
        return;
    }
  }

  #rename(before: string, after: string): void {
    if (this.users.has(after)) throw new Error("already exists");
    const record = this.users.get(before);
    this.users.delete(before);
    if (record) this.users.set(after, record);
    for (const associations of [this.associations, this.partitioned]) {
      for (const [key, each] of [...associations]) {
        if (each.user !== before) continue;
        associations.delete(key);
        associations.set(`${each.account}/${after}`, { ...each, user: after });
      }
    }
  }

  #leave(key: string): void {
    const { account, user } = this.associations.get(key) ?? { account: "", user: "" };
    if (this.jobs.some((job) => job.account === account && uidOf(user) === job.uid)) throw new Error("Job(s) active");
    this.associations.delete(key);
    const left = [...this.associations.values(), ...this.partitioned.values()];
    if (!left.some((each) => each.user === user)) this.users.delete(user);
  }
}

/** Whose a job is: `user7` is 200007. */
function uidOf(user: string): number {
  return 200_000 + Number(user.replace(/^[a-z]+/, ""));
}

function changed(before: Limits, fields: ReadonlyMap<string, string>): Limits {
  const after: Record<string, string> = { ...before };
  for (const [name, value] of fields) {
    if (!isLimit(name)) continue;
    const kept = value.split(",").filter((part) => part !== "" && !/(^|=)-1$/.test(part));
    if (kept.length > 0) after[name] = kept.join(",");
    else delete after[name];
  }
  return after;
}

function pair(word: string): [string, string] {
  const at = word.indexOf("=");
  return [word.slice(0, at), word.slice(at + 1)];
}

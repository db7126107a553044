/**
 * Slurm's accounting as `sacctmgr show` prints it. A row that has not exactly its columns holds something that nobody of ours wrote; a
 * listing without the cluster's root is not one of the cluster at all, and is never taken for an empty one, nor is one that lacks what
 * another one speaks of: what seems to be gone is forgotten (record.ts), and would be somebody else's when it is back.
 */

import { type Limits, limitColumns, limitsShown } from "../../identity/slurm-limit.ts";
import { type Job, organization, type SlurmAssociation, type SlurmState } from "../../identity/slurm-state.ts";
import { Away, oneLine, type Run, refuseAway } from "./program.ts";

const patience = 60_000;

/** Which cluster slurmctld on this node is of: accounting may be shared by several. @throws Away. */
export async function readCluster(run: Run): Promise<string> {
  const stdout = await show(run, "scontrol", ["show", "config"]);
  const [, name = ""] = /^ClusterName\s*=\s*([A-Za-z0-9_-]{1,40})\s*$/m.exec(stdout) ?? [];
  // sacctmgr folds all names.
  return name.toLowerCase() || lost("scontrol does not say what the cluster is called");
}

/** All but jobs. @throws Away. */
export async function readAccounting(run: Run, cluster: string): Promise<SlurmState> {
  const columns = ["cluster", "account", "user", "partition", "parentname", ...limitColumns];
  const ask = (what: readonly string[]) => show(run, "sacctmgr", ["-n", "-P", "show", ...what]);
  // Without what an association has from those above it.
  const askAssociations = () => ask(["association", "WOPLimits", `format=${columns.join(",")}`]);
  const [accounts, associations, users] = await Promise.all([
    ask(["account", "format=account,organization,description"]),
    askAssociations(),
    ask(["user", "format=user,defaultaccount,adminlevel"]),
  ]);
  const state = parseAccounting(cluster, { accounts, associations, users });
  if (!hasUnused(state)) return state;
  // The listings are of different moments: it may be that another cluster's agent made that account in between.
  return parseAccounting(cluster, { accounts, associations: await askAssociations(), users });
}

/** Whether no cluster seems to use some account that a Rollcall made. */
function hasUnused({ accounts, places, elsewhere }: SlurmState): boolean {
  return [...accounts].some(
    ([name, { organization: maker }]) => maker === organization && !places.has(name) && !elsewhere.accounts.has(name),
  );
}

/** @throws Away if the listings are not of this cluster. */
export function parseAccounting(
  cluster: string,
  listings: { readonly accounts: string; readonly associations: string; readonly users: string },
): SlurmState {
  const accounts = new Map<string, { description: string; organization: string }>();
  for (const row of rowsOf(listings.accounts)) {
    const [name = "", organization = "", description = ""] = row;
    accounts.set(name, row.length === 3 ? { description, organization } : { description: "", organization: "?" });
  }
  const users = new Map<string, { defaultAccount: string; adminLevel: string }>();
  for (const [name = "", defaultAccount = "", level = ""] of rowsOf(listings.users)) {
    users.set(name, { defaultAccount, adminLevel: levels.get(level) ?? level });
  }
  const places = new Map<string, { parent: string; limits: Limits }>();
  const associations = new Map<string, SlurmAssociation>();
  const partitioned: Pick<SlurmAssociation, "account" | "user">[] = [];
  const elsewhere = { accounts: new Set<string>(), users: new Set<string>() };
  let hasRoot = false;
  for (const row of rowsOf(listings.associations)) {
    const [where = "", account = "", user = "", partition = "", parent = "", ...cells] = row;
    if (where !== cluster) {
      elsewhere.accounts.add(account);
      if (user !== "") elsewhere.users.add(user);
    } else if (partition !== "") partitioned.push({ account, user });
    else if (user !== "") associations.set(`${account}/${user}`, { account, user, limits: limitsShown(cells) });
    else if (account === "root") hasRoot = true;
    else places.set(account, { parent, limits: limitsShown(cells) });
  }
  if (!hasRoot) lost(`slurmdbd does not list the cluster ${cluster}`);
  if (!accounts.has("root")) lost("slurmdbd does not list all accounts");
  for (const { user } of associations.values()) {
    if (!users.has(user)) lost(`slurmdbd does not list the user ${oneLine(user)}, who has an association`);
  }
  return { cluster, accounts, places, users, associations, partitioned, elsewhere, jobs: undefined };
}

/** Jobs that are not over, of everybody. @throws Away. */
export async function readJobs(run: Run): Promise<Job[]> {
  const rows = rowsOf(await show(run, "squeue", ["-a", "-h", "-o", "%A|%U|%a|%T"]));
  return rows.flatMap(([id = "", uid = "", account = "", state = ""]) =>
    /^[0-9]+$/.test(id) && /^[0-9]+$/.test(uid) ? { id, uid: Number(uid), account, isQueued: state === "PENDING" } : [],
  );
}

/** Those of some users whom this node's nss knows, with the uid that they should have. @throws Away. */
export async function knownUsers(run: Run, users: ReadonlyMap<string, number>): Promise<Set<string>> {
  const known = new Set<string>();
  const names = [...users.keys()];
  for (let at = 0; at < names.length; at += 500) {
    const { stdout } = await run("getent", ["passwd", "--", ...names.slice(at, at + 500)], patience);
    for (const line of stdout.split("\n")) {
      const [name = "", , uid] = line.split(":");
      if (users.get(name) === Number(uid)) known.add(name);
    }
  }
  return known;
}

const levels: ReadonlyMap<string, string> = new Map([
  ["", "none"],
  ["None", "none"],
  ["Not Set", "none"],
  ["Operator", "operator"],
  ["Administrator", "administrator"],
]);

async function show(run: Run, program: string, args: readonly string[]): Promise<string> {
  const outcome = await run(program, args, patience);
  if (outcome.code === 0) return outcome.stdout;
  refuseAway(program, outcome);
  throw new Away(`${program}: ${oneLine(outcome.stderr)}`);
}

function rowsOf(listing: string): string[][] {
  return listing.split("\n").flatMap((line) => (line === "" ? [] : [line.split("|")]));
}

function lost(why: string): never {
  throw new Away(why);
}

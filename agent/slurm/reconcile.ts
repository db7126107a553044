/**
 * Makes Slurm what is wanted, as far as it goes now: reads, plans, keeps what it will own, calls, and reads again, since the exit code of
 * a call proves nothing in either direction. Each call is made once; what is not true after it is left for the next time.
 */

import { argumentsOf, type Call, halved } from "../../identity/slurm-call.ts";
import type { SlurmState, SlurmWanted } from "../../identity/slurm-state.ts";
import { cancelJobs, leavers, newcomers, type Plan, planWork, type Waiting } from "../../identity/slurm-work.ts";
import { Away, oneLine, type Run, refuseAway } from "./program.ts";
import { knownUsers, readAccounting, readJobs } from "./read.ts";
import type { Record } from "./record.ts";

export interface Reconciled {
  /** What is not true yet, and why; none: all is. */
  readonly behind: readonly string[];
  /** Who left and has jobs that may finish: what is true of everybody else does not wait for them. */
  readonly lingering: readonly Lingering[];
  /** Jobs are ending: to be looked at again in a moment. */
  readonly soon: boolean;
  /** What is wanted and is there, and is not Rollcall's. */
  readonly foreign: readonly string[];
  /** What was to do when Slurm was read first. */
  readonly found: readonly string[];
}

export type Lingering = Extract<Waiting, { readonly for: "finish" }>;

export interface Site {
  readonly run: Run;
  readonly cluster: string;
  readonly record: Record;
  readonly adopts: boolean;
  /** Told of each call as it is made. */
  readonly tell: (call: Call) => void;
}

/** Reading again after this many rounds of calls is of no use: something takes back what is done. */
const mostRounds = 12;

/** @throws Away: Slurm cannot be asked. What was done by then is done, and is owned. */
export async function reconcile(site: Site, wanted: SlurmWanted): Promise<Reconciled> {
  const tried = new Map<string, string | undefined>();
  let found: readonly string[] | undefined;
  for (let round = 0; ; round++) {
    const plan = await look(site, wanted).catch(async (error: unknown) => {
      if (error instanceof Away) await cancelWithoutAccounting(site, wanted);
      throw error;
    });
    await site.record.keep(plan.owned);
    found ??= plan.calls.map(({ what }) => what);
    const todo = plan.calls.filter((call) => !tried.has(textOf(call)));
    if (todo.length === 0 || round === mostRounds) return { ...ended(plan, tried), found };
    for (const call of todo) {
      site.tell(call);
      tried.set(textOf(call), await carryOut(site.run, call));
    }
  }
}

async function look({ run, cluster, record, adopts }: Site, wanted: SlurmWanted): Promise<Plan> {
  const { owned } = record;
  let state: SlurmState = await readAccounting(run, cluster);
  const leave = leavers({ state, owned, wanted }).length > 0;
  const come = new Map(newcomers({ state, wanted }).map(({ user, uid }) => [user, Number(uid)]));
  const known = await knownUsers(run, come);
  if (leave) state = { ...state, jobs: await readJobs(run).catch(unanswered) };
  return planWork({ state, owned, wanted, adopts, isKnown: (user) => known.has(user) });
}

/** Jobs need slurmctld alone: those of who left are cancelled also while accounting is away. @throws Away: nor can jobs be. */
async function cancelWithoutAccounting({ run, record, tell }: Site, wanted: SlurmWanted): Promise<void> {
  const leaving = [...record.owned.associations].flatMap(([key, claim]) => (wanted.associations.has(key) ? [] : claim));
  if (leaving.length === 0) return;
  const jobs = (await readJobs(run).catch(unanswered)) ?? [];
  for (const call of cancelJobs("cancel jobs of who left, without accounting", { leaving, jobs, wanted })) {
    tell(call);
    await run(call.program, argumentsOf(call), patience);
  }
}

function unanswered(error: unknown): undefined {
  if (!(error instanceof Away)) throw error;
  return undefined;
}

function ended(plan: Plan, tried: ReadonlyMap<string, string | undefined>): Omit<Reconciled, "found"> {
  const failures = plan.calls.flatMap((call) => {
    if (call.program === "scancel") return [];
    return `${call.what}: ${tried.get(textOf(call)) ?? "it is not so after the call"}`;
  });
  const lingering = plan.waiting.filter((each) => each.for === "finish");
  const behind = [...plan.waiting.filter((each) => each.for !== "finish").map(({ what }) => what), ...failures];
  const isActive = failures.some((failure) => jobsActive.test(failure));
  return {
    behind,
    lingering,
    foreign: plan.foreign,
    soon: isActive || plan.waiting.some((each) => each.for === "jobs"),
  };
}

/** How long a call may take: Slurm deletes about a hundred a second. */
const patience = 120_000;

/** Why it failed, in Slurm's words. A list that one name spoils is halved until that name stands alone. @throws Away. */
async function carryOut(run: Run, call: Call): Promise<string | undefined> {
  const outcome = await run(call.program, argumentsOf(call), patience);
  if (outcome.code === 0 || call.program === "scancel" || nothing.test(`${outcome.stdout}\n${outcome.stderr}`))
    return undefined;
  refuseAway(call.program, outcome);
  const why = oneLine(`${outcome.stderr} ${outcome.stdout}`);
  const halves = jobsActive.test(why) ? undefined : halved(call);
  if (!halves) return why;
  const whys = [await carryOut(run, halves[0]), await carryOut(run, halves[1])];
  return whys.find((each) => each !== undefined);
}

/** It was so already: no error, whatever the exit code says. */
const nothing = /^\s*Nothing (new added|modified|deleted)/m;

const jobsActive = /Job\(s\) active/;

function textOf(call: Call): string {
  return argumentsOf(call).join(" ");
}

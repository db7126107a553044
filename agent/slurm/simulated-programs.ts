/** Slurm's programs over a simulated Slurm, as far as the agent calls them; each call can be made to fail, before or after it did its work. */

import { SimulatedSlurm } from "../../identity/simulated-slurm.ts";
import { limitColumns } from "../../identity/slurm-limit.ts";
import { Absent, type Outcome, type Run } from "./program.ts";

/** How a call goes wrong. */
export type Fault = "before" | "after" | { readonly says: string };

export class SimulatedPrograms {
  readonly slurm = new SimulatedSlurm();
  /** Whom getent finds, by name. */
  readonly known = new Map<string, number>();
  /** Asked before each call that changes something. */
  fault: (call: string) => Fault | undefined = () => undefined;
  /** What every call says instead of an answer. */
  away: string | undefined;
  /** The same, where only accounting is away. */
  accountingAway: string | undefined;
  /** No program of Slurm's is there. */
  isAbsent = false;

  readonly run: Run = async (program, args) => {
    if (program === "getent") return said(this.#passwd(args.slice(2)));
    if (this.isAbsent) throw new Absent(`${program} is not installed`);
    if (this.away !== undefined) return { code: 1, stdout: "", stderr: this.away };
    if (this.accountingAway !== undefined && program === "sacctmgr")
      return { code: 1, stdout: "", stderr: this.accountingAway };
    if (program === "scontrol") return said("ClusterName             = HPC\n");
    if (program === "squeue")
      return said(
        this.slurm.jobs
          .map(({ id, uid, account, isQueued }) => `${id}|${uid}|${account}|${isQueued ? "PENDING" : "RUNNING"}\n`)
          .join(""),
      );
    if (args.includes("show")) return said(this.#show(args[3] ?? ""));
    const fault = this.fault([program, ...args].join(" "));
    if (typeof fault === "object") return { code: 1, stdout: "", stderr: fault.says };
    const lost = { code: 1, stdout: "", stderr: "" };
    if (fault === "before") return lost;
    const outcome = this.#do(program, args);
    return fault === "after" ? lost : outcome;
  };

  #do(program: string, args: readonly string[]): Outcome {
    const at = args.findIndex((word) => word.startsWith("name="));
    const call =
      program === "scancel"
        ? ({
            what: "",
            program,
            head: args.filter((word) => word.startsWith("-")),
            names: args.filter((word) => !word.startsWith("-")),
            tail: [],
          } as const)
        : ({
            what: "",
            program: "sacctmgr",
            head: args.slice(1, at),
            names: args[at]?.slice(5).split(",") ?? [],
            tail: args.slice(at + 1),
          } as const);
    try {
      this.slurm.run(call);
      return said("");
    } catch (error) {
      return { code: 1, stdout: "", stderr: error instanceof Error ? error.message : String(error) };
    }
  }

  #show(what: string): string {
    const { accounts, users, places, associations, partitioned } = this.slurm;
    const limits = (of: Readonly<Record<string, string>>) =>
      limitColumns.map((column) => of[settable.get(column) ?? column] ?? "");
    switch (what) {
      case "account":
        return [["root", { organization: "root", description: "default root account" }] as const, ...accounts]
          .map(([name, { organization, description }]) => `${name}|${organization}|${description}\n`)
          .join("");
      case "user":
        return [...users]
          .map(([name, { defaultAccount, adminLevel }]) => `${name}|${defaultAccount}|${adminLevel}\n`)
          .join("");
      default:
        return [
          `hpc|root||||${limits({}).join("|")}\n`,
          ...[...places].map(([name, place]) => `hpc|${name}|||${place.parent}|${limits(place.limits).join("|")}\n`),
          ...[...associations.values()].map(
            (each) => `hpc|${each.account}|${each.user}|||${limits(each.limits).join("|")}\n`,
          ),
          ...[...partitioned.values()].map(
            (each) => `hpc|${each.account}|${each.user}|main||${limits(each.limits).join("|")}\n`,
          ),
        ].join("");
    }
  }

  #passwd(names: readonly string[]): string {
    return names
      .flatMap((name) => (this.known.has(name) ? `${name}:x:${this.known.get(name)}:0::/:/bin/sh\n` : []))
      .join("");
  }
}

const settable: ReadonlyMap<string, string> = new Map([
  ["grpsubmit", "grpsubmitjobs"],
  ["maxsubmit", "maxsubmitjobs"],
  ["maxwall", "maxwalldurationperjob"],
]);

function said(stdout: string): Outcome {
  return { code: 0, stdout, stderr: "" };
}

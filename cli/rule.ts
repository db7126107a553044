/** `rollcall rule`: what groups grant in a cluster. */

import { create } from "@bufbuild/protobuf";
import { Command, Option } from "commander";
import {
  type AccessRule,
  AccessRuleSchema,
  AdminLevel,
  GetClusterResponseSchema,
  JobsOnLeave,
  PutRuleResponseSchema,
  RemoveRuleResponseSchema,
} from "../proto/gen/rollcall/v1/cluster_pb.ts";
import type { Effect } from "../proto/gen/rollcall/v1/effect_pb.ts";
import { clusterOption, type InCluster, type Run } from "./command.ts";
import { type Exit, exit, UsageError } from "./exit.ts";
import { plain } from "./plain.ts";
import { showResource } from "./resource.ts";
import { table } from "./table.ts";

interface How extends InCluster {
  readonly dryRun?: boolean;
  readonly urgent?: boolean;
}

interface Details {
  readonly commands?: readonly string[];
  readonly password?: boolean;
  readonly account?: string;
  readonly parent?: string;
  readonly isDefault?: boolean;
  readonly adminLevel?: keyof typeof levels;
  readonly limit?: Readonly<Record<string, string>>;
  readonly jobs?: keyof typeof jobsOnLeave;
  readonly description?: string;
  readonly accountLimit?: Readonly<Record<string, string>>;
}

const levels = {
  none: AdminLevel.NONE,
  operator: AdminLevel.OPERATOR,
  administrator: AdminLevel.ADMINISTRATOR,
} as const;

const jobsOnLeave = { cancel: JobsOnLeave.CANCEL, finish: JobsOnLeave.FINISH } as const;

const kinds = ["login", "sudo", "group", "account"] as const;

export function ruleCommand(run: Run): Command {
  const command = new Command("rule").description("what groups grant in a cluster");
  command
    .command("list")
    .description("list a cluster's access rules")
    .addOption(clusterOption())
    .action(
      run<InCluster>(async ({ clusters, show }, _, { cluster }) => {
        show(GetClusterResponseSchema, await clusters.getCluster({ cluster }), (found) =>
          table(["group", "grants", "details"], (found.cluster?.rules ?? []).map(ruleRow)),
        );
      }),
    );
  command
    .command("add")
    .description("let a group grant something, or grant it otherwise")
    .argument("<group>", "display name of a group of the directory")
    .argument("<grant>", kinds.join(", "), parseKind)
    .addOption(clusterOption())
    .option(
      "--command <command>",
      "of sudo: an absolute path with fixed arguments or none; again for more; all by default",
      gather,
    )
    .option("--password", "of sudo: ask for a password")
    .option("--account <name>", "of account: its name")
    .option("--parent <name>", "of account: the account above it, root by default")
    .option("--default", "of account: where jobs go that name none")
    .addOption(new Option("--admin-level <level>", "of account").choices(Object.keys(levels)).default("none"))
    .option("--limit <name=value>", "of account: of each member, such as maxjobs=10; again for more", gatherLimits)
    .option(
      "--account-limit <name=value>",
      "of account: of the account itself, such as grptres=gres/gpu=8",
      gatherLimits,
    )
    .option("--description <text>", "of account: what people read of it")
    .addOption(
      new Option("--jobs <what>", "of account: what becomes of a member's jobs when they leave")
        .choices(Object.keys(jobsOnLeave))
        .default("cancel"),
    )
    .option("--dry-run", "only say what it would do")
    .option("--urgent", "past the guard: nothing waits")
    .addHelpText("after", "\nExit codes: 0 done, 6 some of it is held: see `rollcall hold list`.")
    .action(
      run<How & Omit<Details, "commands"> & { command?: string[]; default?: boolean }>(
        async ({ clusters, show }, [group = "", kind = ""], { command: commands, default: isDefault, ...options }) => {
          const details = {
            ...options,
            ...(commands && { commands }),
            ...(isDefault !== undefined && { isDefault }),
          };
          const rule = ruleOf(group, kind, details);
          const { cluster, dryRun = false, urgent = false } = options;
          const done = await clusters.putRule({ cluster, rule, dryRun, urgent });
          show(PutRuleResponseSchema, done, ({ effects }) => showEffects(effects, dryRun));
          return exitOfEffects(done.effects);
        },
      ),
    );
  command
    .command("remove")
    .description("end what a group grants")
    .argument("<group>", "display name of a group of the directory")
    .argument("<grant>", kinds.join(", "), parseKind)
    .addOption(clusterOption())
    .option("--account <name>", "of account: its name")
    .option("--dry-run", "only say what it would do")
    .option("--urgent", "past the guard: nothing waits")
    .addHelpText("after", "\nExit codes: 0 done, 6 some of it is held: see `rollcall hold list`.")
    .action(
      run<How & { account?: string }>(async ({ clusters, show }, [group = "", kind = ""], options) => {
        const { cluster, dryRun = false, urgent = false } = options;
        const done = await clusters.removeRule({ cluster, rule: ruleOf(group, kind, options), dryRun, urgent });
        show(RemoveRuleResponseSchema, done, ({ effects }) => showEffects(effects, dryRun));
        return exitOfEffects(done.effects);
      }),
    );
  return command;
}

function ruleOf(group: string, kind: string, details: Details): AccessRule {
  if (kind === "account" && details.account === undefined) {
    throw new UsageError("a rule that grants an account needs --account NAME");
  }
  const { commands = ["ALL"], password = false, account = "", parent = "", isDefault = false } = details;
  const { adminLevel = "none", limit = {}, jobs = "cancel", description = "", accountLimit = {} } = details;
  switch (kind) {
    case "login":
      return create(AccessRuleSchema, { group, grant: { case: "login", value: {} } });
    case "group":
      return create(AccessRuleSchema, { group, grant: { case: "posixGroup", value: {} } });
    case "sudo":
      return create(AccessRuleSchema, { group, grant: { case: "sudo", value: { commands: [...commands], password } } });
    default: {
      const limits = { limits: { ...limit }, accountLimits: { ...accountLimit } };
      const of = { account, parent, isDefault, adminLevel: levels[adminLevel], jobs: jobsOnLeave[jobs], description };
      const value = { ...of, ...limits };
      return create(AccessRuleSchema, { group, grant: { case: "account", value } });
    }
  }
}

/** A rule as a row: the group, what it grants, and how. */
export function ruleRow({ group, grant }: AccessRule): string[] {
  switch (grant.case) {
    case "sudo": {
      const { commands, password } = grant.value;
      return [group, "sudo", `${commands.join(", ")}${password ? "; with a password" : ""}`];
    }
    case "account": {
      const { account, parent, isDefault, adminLevel, limits, jobs, description, accountLimits } = grant.value;
      const level = Object.entries(levels).find(([, number]) => number === adminLevel)?.[0] ?? "none";
      const words = [
        `${account} below ${parent || "root"}`,
        isDefault ? "default" : "",
        level === "none" ? "" : `admin level ${level}`,
        ...Object.entries(limits).map(([name, value]) => `${name}=${value}`),
        ...Object.entries(accountLimits).map(([name, value]) => `the account ${name}=${value}`),
        jobs === JobsOnLeave.FINISH ? "jobs finish" : "",
        description === "" ? "" : `"${description}"`,
      ];
      return [group, "account", words.filter((word) => word !== "").join("; ")];
    }
    default:
      return [group, grant.case === "posixGroup" ? "group" : (grant.case ?? ""), ""];
  }
}

/** What was or would be done, cluster by cluster. */
export function showEffects(effects: readonly Effect[], dryRun: boolean): string {
  if (effects.length === 0) return dryRun ? "It would change nothing on any node.\n" : "Nothing changes on any node.\n";
  return effects
    .map(({ cluster, puts, removals, held, waiting, changes, slurm }) => {
      const verb = dryRun ? "would be" : "";
      const later = waiting === 0 ? "" : `, ${waiting} ${verb} put once the nodes know the people`;
      const head =
        `${cluster}: ${puts} ${verb} put, ${removals} ${verb} removed, ${held} ${verb} held${later}`.replaceAll(
          "  ",
          " ",
        );
      const lines = changes.map(({ before, after, held: isHeld, waiting: isLater }) => {
        const sign = isHeld ? "hold  " : isLater ? "later " : after ? "put   " : "remove";
        return `  ${sign} ${plain(showResource(after ?? before))}\n`;
      });
      const more = puts + removals + held + waiting - changes.length;
      const calls = slurm.map(({ command }) => `  slurm  ${plain(command)}\n`);
      return `${head}\n${lines.join("")}${more > 0 ? `  and ${more} more\n` : ""}${calls.join("")}`;
    })
    .join("");
}

/** Something that is held is not done. */
export function exitOfEffects(effects: readonly Effect[]): Exit {
  return effects.some(({ held }) => held > 0) ? exit.degraded : exit.done;
}

function parseKind(text: string): string {
  if (!kinds.some((kind) => kind === text)) throw new UsageError(`"${text}" is no grant: ${kinds.join(", ")}`);
  return text;
}

function gather(text: string, before: string[] = []): string[] {
  return [...before, text];
}

function gatherLimits(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`"${text}" is not of the form name=value`);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

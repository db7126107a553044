/** `rollcall hold`: removals that the guard keeps back. */

import { Command } from "commander";
import {
  ApproveHoldResponseSchema,
  GetHoldResponseSchema,
  type Hold,
  Hold_State,
  type HoldItem,
  ListHoldsResponseSchema,
  RejectHoldResponseSchema,
} from "../proto/gen/rollcall/v1/hold_pb.ts";
import { clusterOption, type InCluster, type Run, wholeList } from "./command.ts";
import { UsageError } from "./exit.ts";
import { showResource } from "./resource.ts";
import { card, table } from "./table.ts";
import { showTime } from "./time.ts";

const states: ReadonlyMap<Hold_State, string> = new Map([
  [Hold_State.PENDING, "pending"],
  [Hold_State.REJECTED, "rejected"],
  [Hold_State.DONE, "done"],
]);

export function holdCommand(run: Run): Command {
  const command = new Command("hold").description("removals that wait for an operator");
  command
    .command("list")
    .description("list a cluster's holds, newest first")
    .addOption(clusterOption())
    .option("--done", "also those that nothing is left in")
    .action(
      run<InCluster & { done?: boolean }>(async ({ holds, show }, _, { cluster, done = false }) => {
        const found = await wholeList("holds", (page) => holds.listHolds({ cluster, done, ...page }));
        show(ListHoldsResponseSchema, found, (list) =>
          table(
            ["hold", "state", "subjects", "since", "reason"],
            list.holds.map(({ id, state, subjects, createdAt, reason }) => [
              id,
              states.get(state) ?? "?",
              `${subjects}`,
              showTime(createdAt),
              reason,
            ]),
          ),
        );
      }),
    );
  command
    .command("show")
    .description("show one hold, and what it keeps on the nodes")
    .argument("<hold>", "its number")
    .action(
      run(async ({ holds, show }, [hold = ""]) => {
        const found = await wholeList("items", (page) => holds.getHold({ hold, ...page }));
        show(GetHoldResponseSchema, found, ({ hold: shown, items }) => showHold(shown) + showItems(items));
      }),
    );
  command
    .command("approve")
    .description("let go what a hold keeps, all of it or some")
    .argument("<hold>", "its number")
    .option("--only <subjects>", "these only: POSIX names with commas between, groups with % before them")
    .option("--seen <n>", "refuse if it does not keep so many subjects any more", parseCount)
    .action(
      run<{ only?: string; seen?: number }>(async ({ holds, show }, [hold = ""], { only, seen = 0 }) => {
        const subjects = only?.split(",").map((subject) => subject.trim()) ?? [];
        const done = await holds.approveHold({ hold, only: subjects, seen });
        show(ApproveHoldResponseSchema, done, (response) => showHold(response.hold));
      }),
    );
  command
    .command("reject")
    .description("keep it on the nodes, against the directory")
    .argument("<hold>", "its number")
    .action(
      run(async ({ holds, show }, [hold = ""]) => {
        show(RejectHoldResponseSchema, await holds.rejectHold({ hold }), (response) => showHold(response.hold));
      }),
    );
  return command;
}

function showHold(hold: Hold | undefined): string {
  if (!hold) return "";
  return card({
    hold: hold.id,
    cluster: hold.cluster,
    state: states.get(hold.state) ?? "?",
    subjects: `${hold.subjects}`,
    since: showTime(hold.createdAt),
    reason: hold.reason,
  });
}

function showItems(items: readonly HoldItem[]): string {
  if (items.length === 0) return "";
  const rows = items.flatMap(({ subject, cause, at, resources }) =>
    resources.map((resource) => [subject, showResource(resource), cause, showTime(at)]),
  );
  return `\n${table(["subject", "would lose", "asked by", "at"], rows)}`;
}

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new UsageError(`--seen "${text}" is not a number from 1`);
  return Number(text);
}

/** `rollcall org`: orgs, and the rules by which their people become accounts. */

import { Command } from "commander";
import {
  CreateOrgResponseSchema,
  GetOrgResponseSchema,
  type IdRange,
  ListOrgsResponseSchema,
  type Org,
  SetOrgResponseSchema,
} from "../proto/gen/rollcall/v1/org_pb.ts";
import { type Run, wholeList } from "./command.ts";
import { UsageError } from "./exit.ts";
import { card, table } from "./table.ts";
import { showTime } from "./time.ts";

interface Rules {
  readonly userNames?: string;
  readonly groupNames?: string;
  readonly spaces?: string;
  readonly userIds?: string;
  readonly groupIds?: string;
  readonly suppliedIds?: string;
  readonly home?: string;
  readonly shell?: string;
  readonly shells?: string;
}

export function orgCommand(run: Run): Command {
  const command = new Command("org").description("orgs, and how their people become accounts");
  command
    .command("list")
    .description("list orgs")
    .action(
      run(async ({ orgs, show }) => {
        const found = await wholeList("orgs", (page) => orgs.listOrgs(page));
        show(ListOrgsResponseSchema, found, (list) =>
          table(
            ["name", "user names", "group names", "user ids", "group ids"],
            list.orgs.map(({ name, userNames, groupNames, userIds, groupIds }) => {
              return [name, userNames, groupNames, showRange(userIds), showRange(groupIds)];
            }),
          ),
        );
      }),
    );
  command
    .command("show")
    .description("show one org's rules")
    .argument("[org]", "its name", "default")
    .action(
      run(async ({ orgs, show }, [org = "default"]) => {
        show(GetOrgResponseSchema, await orgs.getOrg({ org }), (found) => showOrg(found.org));
      }),
    );
  command
    .command("create")
    .description("make an org, with the usual rules and no cluster")
    .argument("<org>", "its name, a DNS label")
    .action(
      run(async ({ orgs, show }, [name = ""]) => {
        show(CreateOrgResponseSchema, await orgs.createOrg({ name }), (made) => showOrg(made.org));
      }),
    );
  command
    .command("set")
    .description("set rules of an org; the others stay, and so do names and numbers that were given")
    .argument("[org]", "its name", "default")
    .option("--user-names <rule>", "what POSIX names of people are made of, as {name.givenName:1}{name.familyName}")
    .option("--group-names <rule>", "what POSIX names of groups are made of, as {displayName}")
    .option("--spaces <how>", "what becomes of spaces in what names are made of: refuse or dash")
    .option("--user-ids <range>", "where people's numbers come from, FIRST-LAST")
    .option("--group-ids <range>", "where groups' numbers come from, FIRST-LAST")
    .option("--supplied-ids <how>", "what becomes of numbers that a provider states: honour or refuse")
    .option("--home <template>", "home directories, as /home/{name}")
    .option("--shell <path>", "login shell")
    .option("--shells <paths>", "login shells that people may have, with commas between")
    .action(
      run<Rules>(async ({ orgs, show }, [org = "default"], rules) => {
        if (Object.keys(rules).length === 0) throw new UsageError("nothing to set: give at least one rule");
        const { userIds, groupIds, shells, ...texts } = rules;
        const done = await orgs.setOrg({
          org,
          ...texts,
          ...(userIds !== undefined && { userIds: parseRange("--user-ids", userIds) }),
          ...(groupIds !== undefined && { groupIds: parseRange("--group-ids", groupIds) }),
          ...(shells !== undefined && { shells: shells.split(",") }),
        });
        show(SetOrgResponseSchema, done, (changed) => showOrg(changed.org));
      }),
    );
  return command;
}

function showOrg(org: Org | undefined): string {
  if (!org) return "";
  return card({
    name: org.name,
    "user names": org.userNames,
    "group names": org.groupNames,
    spaces: org.spaces,
    "user ids": showRange(org.userIds),
    "group ids": showRange(org.groupIds),
    "supplied ids": org.suppliedIds,
    home: org.home,
    shell: org.shell,
    shells: org.shells.join(", "),
    created: showTime(org.createdAt),
  });
}

function showRange(range: IdRange | undefined): string {
  return range ? `${range.first}-${range.last}` : "-";
}

function parseRange(option: string, text: string): { first: number; last: number } {
  const [, first, last] = /^([0-9]{1,10})-([0-9]{1,10})$/.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  // More would not fit the message; whether it fits the org is the server's to say.
  if (!(range.first <= 4_294_967_295 && range.last <= 4_294_967_295)) {
    throw new UsageError(`${option} ${JSON.stringify(text)} is not FIRST-LAST, such as 200000-524287`);
  }
  return range;
}

/** Access rules as messages. What they grant is checked by identity's grammar, field by field. */

import { parseGrant, type Rule } from "../../identity/grant.ts";
import { refuse } from "../../identity/refusal.ts";
import { type AccessRule, AccessRuleSchema, AdminLevel, JobsOnLeave } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { message } from "./field.ts";

const levels = {
  none: AdminLevel.NONE,
  operator: AdminLevel.OPERATOR,
  administrator: AdminLevel.ADMINISTRATOR,
} as const;

export function printRule({ group, grant }: Rule): AccessRule {
  switch (grant.kind) {
    case "login":
      return message(AccessRuleSchema, { group, grant: { case: "login", value: {} } });
    case "group":
      return message(AccessRuleSchema, { group, grant: { case: "posixGroup", value: {} } });
    case "sudo": {
      const commands = grant.commands === "ALL" ? ["ALL"] : [...grant.commands];
      return message(AccessRuleSchema, {
        group,
        grant: { case: "sudo", value: { commands, password: grant.password } },
      });
    }
    case "account": {
      const { account, parent = "", isDefault, description } = grant;
      const value = {
        account,
        parent,
        isDefault,
        adminLevel: levels[grant.adminLevel],
        limits: { ...grant.limits },
        jobs: grant.jobs === "finish" ? JobsOnLeave.FINISH : JobsOnLeave.CANCEL,
        description,
        accountLimits: { ...grant.accountLimits },
      };
      return message(AccessRuleSchema, { group, grant: { case: "account", value } });
    }
  }
}

/** @throws Refusal `invalid`: which field, and why. */
export function parseRule(rule: AccessRule | undefined): Rule {
  if (!rule) refuse("invalid", "rule: it is missing; say which group grants what");
  const { group, grant } = rule;
  switch (grant.case) {
    case "login":
      return { group, grant: parseGrant({ kind: "login" }) };
    case "posixGroup":
      return { group, grant: parseGrant({ kind: "group" }) };
    case "sudo": {
      const { commands, password } = grant.value;
      const isAll = commands.length === 1 && commands[0] === "ALL";
      return { group, grant: parseGrant({ kind: "sudo", password, commands: isAll ? "ALL" : commands }) };
    }
    case "account": {
      const { account, isDefault, limits, description, accountLimits } = grant.value;
      const adminLevel = Object.entries(levels).find(([, number]) => number === grant.value.adminLevel)?.[0] ?? "none";
      const parent = grant.value.parent === "" ? undefined : grant.value.parent;
      const jobs = grant.value.jobs === JobsOnLeave.FINISH ? "finish" : "cancel";
      const of = { account, parent, isDefault, adminLevel, limits, jobs, description, accountLimits };
      return { group, grant: parseGrant({ kind: "account", ...of }) };
    }
    case undefined:
      return refuse("invalid", "rule.grant: none is set; it must be login, posix_group, sudo or account");
  }
}

/** Which rule is meant: the group, and what it grants, whatever its details. @throws Refusal `invalid`. */
export function parseRuleName(rule: AccessRule | undefined) {
  const { group = "", grant } = rule ?? {};
  switch (grant?.case) {
    case "login":
    case "sudo":
      return { group, what: { kind: grant.case } } as const;
    case "posixGroup":
      return { group, what: { kind: "group" } } as const;
    case "account":
      return { group, what: { kind: "account", account: grant.value.account } } as const;
    case undefined:
      return refuse("invalid", "rule.grant: none is set; it must be login, posix_group, sudo or account");
  }
}

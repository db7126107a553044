/**
 * Lines of sudoers as this agent writes them: one rule per group, on a line of its own that means the same wherever it stands.
 *
 *     %admins ALL=(ALL:ALL) NOPASSWD: /usr/bin/id, /usr/sbin/reboot now
 *
 * The grammar is a small part of sudoers(5): a group by name, never a user, `ALL` or a number in its place; every host, since
 * the file is this node's own; any user and group to run as; whether a password is asked, always said; `ALL` alone, or
 * commands of identity/sudo.ts. No `#`, `\`, alias, `Defaults`, `@include`, negation, wildcard or continued line is in it.
 */

import { type Name, parseName } from "../../../identity/name.ts";
import { refuse } from "../../../identity/refusal.ts";
import { parseSudoCommands, type SudoCommands } from "../../../identity/sudo.ts";

/** What the members of a group may run as anybody. */
export interface Rule {
  readonly group: Name;
  readonly password: boolean;
  readonly commands: SudoCommands;
}

/** By group. */
export type Rules = ReadonlyMap<Name, Rule>;

/**
 * The whole file. sudo goes by the last line that matches: whoever is in two groups gets the sum of both, since lines
 * that ask for no password come last.
 */
export function printRules(rules: Rules): Buffer {
  const lines = [...rules.values()].map(({ group, password, commands }) => {
    const list = commands === "ALL" ? "ALL" : commands.join(", ");
    return `%${group} ALL=(ALL:ALL) ${password ? "PASSWD" : "NOPASSWD"}: ${list}`;
  });
  // "P" < "N" is wanted, by the tag; then by name.
  const asks = (line: string) => (line.includes(") PASSWD: ") ? 0 : 1);
  lines.sort((a, b) => asks(a) - asks(b) || (a < b ? -1 : 1));
  return Buffer.from(lines.map((line) => `${line}\n`).join(""));
}

const form = /^%([a-z_][a-z0-9_-]*) ALL=\(ALL:ALL\) (PASSWD|NOPASSWD): (.+)$/;

/** The exact inverse of {@link printRules}. @throws Refusal `invalid` for a byte that it would not have written. */
export function parseRules(bytes: Buffer): Rules {
  const rules = new Map<Name, Rule>();
  const lines = bytes.toString("latin1").split("\n");
  for (const [at, line] of lines.slice(0, -1).entries()) {
    const [, name, tag, list = ""] = form.exec(line) ?? refuse("invalid", `line ${at + 1} is not a rule of ours`);
    const group = parseName(name);
    const commands = parseSudoCommands(list === "ALL" ? "ALL" : list.split(", "));
    rules.set(group, { group, password: tag === "PASSWD", commands });
  }
  if (!printRules(rules).equals(bytes)) refuse("invalid", "the rules are not as we print them");
  return rules;
}

/** What both grant: the most that may be in force while groups change from one version's to the other's. */
export function meet(a: Rules, b: Rules): Rules {
  const both = new Map<Name, Rule>();
  for (const { group, password, commands } of a.values()) {
    const other = b.get(group);
    const common = other && commonOf(commands, other.commands);
    if (common) both.set(group, { group, password: password || other.password, commands: common });
  }
  return both;
}

function commonOf(a: SudoCommands, b: SudoCommands): SudoCommands | undefined {
  if (a === "ALL") return b;
  if (b === "ALL") return a;
  const common = a.filter((command) => b.includes(command));
  return common.length === 0 ? undefined : common;
}

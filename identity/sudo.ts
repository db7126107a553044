/**
 * Commands that a sudo grant may name. The grammar is narrower than sudoers(5): nothing in it needs escaping or has a
 * meaning of its own there, so no text can turn one command into more. Paths are exact: a trailing slash would grant a
 * whole folder, a pattern whatever matches it. A command without arguments is run with any, as in sudoers.
 */

import { quote, refuse } from "./refusal.ts";

/** `ALL`, or commands in their order, each once. */
export type SudoCommands = "ALL" | readonly string[];

/** More commands than this are no rule that anybody reads. */
const mostCommands = 64;
const longestCommand = 256;

// One program in absolute path, then words. `..` and `.` as parts of a path are refused below.
const command = /^(\/[A-Za-z0-9_][A-Za-z0-9_.+-]*)+( [A-Za-z0-9_./@%+-]+)*$/;

/** @throws Refusal `invalid`, naming the command and the rule. */
export function parseSudoCommands(value: unknown): SudoCommands {
  if (value === "ALL") return "ALL";
  if (!Array.isArray(value) || value.length === 0 || value.length > mostCommands) {
    refuse("invalid", `commands must be ALL, or a list of 1 to ${mostCommands} commands`);
  }
  return [...new Set(value.map(parseCommand))].sort();
}

function parseCommand(value: unknown): string {
  if (typeof value !== "string" || value.length > longestCommand || !command.test(value)) {
    refuse(
      "invalid",
      `the command ${quote(value)} must be an absolute path, then words, of at most ${longestCommand} characters of ` +
        "[A-Za-z0-9_./@%+-]; give ALL alone to allow everything",
    );
  }
  const words = value.split(" ");
  // sudoers reads a word `sudoedit` as a command of its own, and `..` leads elsewhere than it says.
  if (words.some((word) => word.split("/").includes("..") || word === "sudoedit" || word === "ALL")) {
    refuse("invalid", `the command ${quote(value)} must not hold "..", sudoedit or ALL`);
  }
  return value;
}

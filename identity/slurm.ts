/**
 * Names and limits of Slurm accounts, in a grammar in which sacctmgr(1) can read nothing but themselves: it joins its
 * words with spaces, commas and equal signs, folds names to lower case, and takes an empty condition for "all".
 */

import { quote, refuse } from "./refusal.ts";

const name = /^[a-z0-9][a-z0-9_-]{0,39}$/;

/** @throws Refusal `invalid`. */
export function parseAccountName(value: unknown, field = "account"): string {
  if (typeof value !== "string" || !name.test(value)) {
    refuse("invalid", `${field} ${quote(value)} does not match ${name.source}: give a name such as physics-dept`);
  }
  if (value === "root" || /^[0-9]+$/.test(value)) {
    refuse("invalid", `${field} ${quote(value)} is Slurm's own or a number: give a name of yours`);
  }
  return value;
}

const count = /^(0|[1-9][0-9]{0,8})$/;
const tres = /^(cpu|mem|node|energy|billing|gres\/[a-z0-9_]{1,32}(:[a-z0-9_]{1,32})?)=(0|[1-9][0-9]{0,11})[KMGT]?$/;
const wall = /^((0|[1-9][0-9]{0,4})-[0-9]{1,2}(:[0-5][0-9]){0,2}|[0-9]{1,5}(:[0-5][0-9]){0,2})$/;
const qos = /^[a-z0-9][a-z0-9_-]{0,39}$/;

/** What a limit's value must be: one pattern, or for a list the pattern of each of its parts. */
const limits = new Map<string, (value: string) => boolean>([
  ...(["fairshare", "priority"] as const).map((each) => [each, matches(count)] as const),
  ...(["grpjobs", "grpsubmitjobs", "maxjobs", "maxsubmitjobs"] as const).map((each) => [each, matches(count)] as const),
  ...(["grptres", "grptresmins", "maxtresperjob"] as const).map((each) => [each, eachMatches(tres)] as const),
  ...(["grpwall", "maxwalldurationperjob"] as const).map((each) => [each, matches(wall)] as const),
  ["qos", eachMatches(qos)],
  ["defaultqos", matches(qos)],
]);

/** Limits of an association by name, in the order of their names. @throws Refusal `invalid`. */
export function parseLimits(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse("invalid", "limits must be names with values, such as maxjobs=10");
  }
  const parsed = Object.entries(value).map(([key, text]: [string, unknown]) => {
    const allowed = limits.get(key);
    if (!allowed) refuse("invalid", `the limit ${quote(key)} is not one of ${[...limits.keys()].join(", ")}`);
    if (typeof text !== "string" || text.length > 256 || !allowed(text)) {
      refuse("invalid", `the limit ${key} cannot be ${quote(text)}: see sacctmgr(1) for its form, in lower case`);
    }
    return [key, text] as const;
  });
  return Object.fromEntries(parsed.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Limits on one line, as `parseLimitsLine` reads them: in the order of their names, however they were put together. */
export function printLimits(stated: Readonly<Record<string, string>>): string {
  return Object.entries(stated)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

/** @throws Refusal `invalid`. */
export function parseLimitsLine(line: string): Readonly<Record<string, string>> {
  const words = line === "" ? [] : line.split(" ");
  return parseLimits(Object.fromEntries(words.map((word) => word.split(/=(.*)/s, 2))));
}

export const adminLevels = ["none", "operator", "administrator"] as const;

/** Slurm's AdminLevel, in the order of what it allows. */
export type AdminLevel = (typeof adminLevels)[number];

/** @throws Refusal `invalid`. */
export function parseAdminLevel(value: unknown): AdminLevel {
  const level = adminLevels.find((each) => each === value);
  return level ?? refuse("invalid", `admin level ${quote(value)} is not one of ${adminLevels.join(", ")}`);
}

/** What becomes of somebody's jobs in an account that they leave: `finish` lets running ones end, and no new one starts. */
export type JobsOnLeave = "cancel" | "finish";

/** @throws Refusal `invalid`. */
export function parseJobsOnLeave(value: unknown): JobsOnLeave {
  return value === "cancel" || value === "finish"
    ? value
    : refuse("invalid", `jobs ${quote(value)} is neither cancel nor finish`);
}

/** An account's description: what sacctmgr(1) can take as one word. @throws Refusal `invalid`. */
export function parseDescription(value: unknown): string {
  if (typeof value !== "string" || !/^[A-Za-z0-9 ._:()/+-]{0,128}$/.test(value) || value.trim() !== value) {
    refuse("invalid", `description ${quote(value)} must be at most 128 characters of [A-Za-z0-9 ._:()/+-]`);
  }
  return value;
}

function matches(pattern: RegExp) {
  return (value: string): boolean => pattern.test(value);
}

function eachMatches(pattern: RegExp) {
  return (value: string): boolean => {
    const parts = value.split(",");
    return new Set(parts).size === parts.length && parts.every((part) => pattern.test(part));
  };
}

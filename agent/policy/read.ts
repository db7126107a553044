/**
 * Reads the policy file. Strict: what it says must be understood whole, or none of it counts; and only who may become root
 * here anyway can have written it.
 */

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open } from "node:fs/promises";
import { dirname } from "node:path";
import { parseDocument, visit } from "yaml";
import { type IdRange, parseRange } from "../../identity/id.ts";
import { parseName } from "../../identity/name.ts";
import { quote, refuse } from "../../identity/refusal.ts";
import { parseShell } from "../../identity/resource.ts";
import { parseAdminLevel } from "../../identity/slurm.ts";
import { parseSudoCommands, type SudoCommands } from "../../identity/sudo.ts";
import { errnoOf } from "../disk.ts";
import { type Homes, type Policy, type Shrink, type SlurmPolicy, unstated } from "./policy.ts";

const longest = 65_536;

/** The policy at a path; undefined if nothing is there. @throws Error naming the file and what is wrong with it. */
export async function readPolicy(path: string): Promise<Policy | undefined> {
  try {
    const text = await readTrusted(path);
    return text === undefined
      ? undefined
      : { ...parsePolicy(text), sum: createHash("sha256").update(text).digest("hex") };
  } catch (cause) {
    throw new Error(`policy ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** @throws Refusal `invalid`, naming the field, the value and the rule. */
export function parsePolicy(text: string): Policy {
  const document = parseDocument(text, {
    version: "1.2",
    schema: "core",
    strict: true,
    uniqueKeys: true,
    merge: false,
  });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) refuse("invalid", problem.message.split("\n", 1)[0] ?? "it is not YAML");
  visit(document, {
    Alias: () => refuse("invalid", "anchors and aliases are not taken"),
    Node: (_, node) =>
      "anchor" in node && node.anchor ? refuse("invalid", "anchors and aliases are not taken") : undefined,
  });
  const stated = mapping("the policy", document.toJS() ?? {}, fields);
  return {
    uids: optional(stated["uids"], (value) => ranges("uids", value)),
    gids: optional(stated["gids"], (value) => ranges("gids", value)),
    reservedUsers: new Set(
      optional(stated["reserved_users"], (value) => texts("reserved_users", value).map(alphabetic)),
    ),
    reservedGroups: new Set(
      optional(stated["reserved_groups"], (value) => texts("reserved_groups", value).map(alphabetic)),
    ),
    shells: optional(stated["shells"], (value) => new Set(texts("shells", value).map(parseShell))),
    sudo: optional(stated["sudo"], sudo),
    shrink: optional(stated["shrink"], shrink) ?? unstated.shrink,
    sessions: optional(stated["sessions"], (value) => oneOf("sessions", value, ["end", "leave"])),
    homes: optional(stated["homes"], homes),
    slurm: optional(stated["slurm"], slurm) ?? unstated.slurm,
    staleAfter: optional(stated["stale_after"], (value) => duration("stale_after", value)) ?? unstated.staleAfter,
    withdrawSudoAfter: optional(stated["stale"], stale),
    sum: undefined,
  };
}

const fields = [
  ...["uids", "gids", "reserved_users", "reserved_groups", "shells", "sudo", "shrink", "sessions", "homes"],
  ...["slurm", "stale_after", "stale"],
];

async function readTrusted(path: string): Promise<string | undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    if (errnoOf(error) === "ELOOP") throw new Error("it is a symlink", { cause: error });
    throw error;
  }
  await using _ = file;
  const found = await file.stat();
  if (!found.isFile()) throw new Error("it is not a regular file");
  trusted("it", found);
  trusted("its folder", await lstat(dirname(path)));
  if (found.size > longest) throw new Error(`it is longer than ${longest} bytes`);
  return new TextDecoder("utf-8", { fatal: true }).decode(await file.readFile());
}

function trusted(what: string, { uid, mode }: { uid: number; mode: number }): void {
  if (uid !== 0 && uid !== process.geteuid?.()) throw new Error(`${what} belongs to uid ${uid}, not to root`);
  if ((mode & 0o022) !== 0)
    throw new Error(`${what} may be written by others than root (mode ${(mode & 0o777).toString(8)})`);
}

function mapping(what: string, value: unknown, known?: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    refuse("invalid", `${what} must be a mapping`);
  const stranger = known && Object.keys(value).find((key) => !known.includes(key));
  if (stranger !== undefined) refuse("invalid", `${what} has no field ${quote(stranger)}`);
  return value as Readonly<Record<string, unknown>>;
}

/** What is not stated; `null` is stated, and wrong. */
function optional<T>(value: unknown, parse: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : parse(value);
}

function texts(field: string, value: unknown): string[] {
  if (!Array.isArray(value)) refuse("invalid", `${field} must be a list`);
  return value.map((each: unknown) =>
    typeof each === "string" ? each : refuse("invalid", `${field}: ${quote(each)} must be text`),
  );
}

function oneOf<T extends string>(field: string, value: unknown, words: readonly T[]): T {
  return (
    words.find((word) => word === value) ?? refuse("invalid", `${field} ${quote(value)} must be ${words.join(" or ")}`)
  );
}

function alphabetic(name: string): string {
  return /^[a-z_][a-z0-9_-]{0,30}$/.test(name)
    ? name
    : refuse("invalid", `${quote(name)} is no name that anybody could have`);
}

function ranges(field: string, value: unknown): IdRange[] {
  const list = texts(field, value);
  if (list.length === 0) refuse("invalid", `${field} must hold a range, such as 200000-524287`);
  return list.map((text) => {
    const [, first, last] = /^([0-9]{1,10})-([0-9]{1,10})$/.exec(text) ?? [];
    if (first === undefined) refuse("invalid", `${field}: ${quote(text)} is not a range FIRST-LAST`);
    return parseRange(field, { first: Number(first), last: Number(last) });
  });
}

function sudo(value: unknown): Map<string, SudoCommands> {
  const list = Object.entries(mapping("sudo", value));
  return new Map(list.map(([group, commands]) => [parseName(group), parseSudoCommands(commands)]));
}

function homes(value: unknown): Homes {
  const stated = mapping("homes", value, ["skeleton", "mode", "below", "mounted"]);
  const below = folders("homes: below", stated["below"] ?? []);
  if (below.length === 0) refuse("invalid", "homes: below must name a folder, such as /home");
  const mode = stated["mode"] ?? "0700";
  if (typeof mode !== "string" || !/^0?7[0-7][0-7]$/.test(mode) || (Number.parseInt(mode, 8) & 0o022) !== 0) {
    refuse("invalid", `homes: mode ${quote(mode)} must be text such as "0700", for nobody else to write in`);
  }
  const [skeleton = ""] = folders("homes: skeleton", [stated["skeleton"] ?? "/etc/skel"]);
  return {
    skeleton,
    mode: Number.parseInt(mode, 8),
    below,
    mounted: folders("homes: mounted", stated["mounted"] ?? []),
  };
}

function folders(field: string, value: unknown): string[] {
  return texts(field, value).map((path) => {
    if (/^(\/[A-Za-z0-9_][A-Za-z0-9._-]*)+$/.test(path)) return path;
    return refuse("invalid", `${field}: ${quote(path)} must be an absolute path, of [A-Za-z0-9._-]`);
  });
}

/** `stale: {after: 24h, withdraw: sudo}`. Nothing but sudo is ever withdrawn. */
function stale(value: unknown): number {
  const { after, withdraw } = mapping("stale", value, ["after", "withdraw"]);
  if (withdraw !== "sudo") refuse("invalid", `stale: withdraw ${quote(withdraw)} must be sudo; nothing else ever is`);
  return duration("stale: after", after);
}

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds; at least a minute, since shorter silences are everyday. */
function duration(field: string, value: unknown): number {
  const [, count, unit] = (typeof value === "string" && /^([1-9][0-9]{0,4})([smhd])$/.exec(value)) || [];
  if (count === undefined) refuse("invalid", `${field}: ${quote(value)} is not a time such as 90s, 30m, 24h or 7d`);
  const ms = Number(count) * units[unit as keyof typeof units];
  return ms >= units.m ? ms : refuse("invalid", `${field}: ${quote(value)} is shorter than a minute`);
}

function shrink(value: unknown): Shrink {
  const { people, share } = mapping("shrink", value, ["people", "share"]);
  if (typeof people !== "number" || !Number.isInteger(people) || people < 0) {
    refuse("invalid", `shrink: people ${quote(people)} must be a whole number from 0`);
  }
  if (typeof share !== "number" || !(share >= 0 && share <= 1)) {
    refuse("invalid", `shrink: share ${quote(share)} must be a number from 0 to 1`);
  }
  return { people, share };
}

function slurm(value: unknown): SlurmPolicy {
  const stated = mapping("slurm", value, ["enabled", "adopt", "admin_level", "every"]);
  const { enabled, adopt, adminLevel, every } = unstated.slurm;
  return {
    enabled: optional(stated["enabled"], (each) => flag("slurm: enabled", each)) ?? enabled,
    adopt: optional(stated["adopt"], (each) => flag("slurm: adopt", each)) ?? adopt,
    adminLevel: optional(stated["admin_level"], parseAdminLevel) ?? adminLevel,
    every: optional(stated["every"], seconds) ?? every,
  };
}

function flag(field: string, value: unknown): boolean {
  return typeof value === "boolean" ? value : refuse("invalid", `${field} ${quote(value)} must be true or false`);
}

function seconds(value: unknown): number {
  return typeof value === "number" && Number.isInteger(value) && value >= 5 && value <= 86_400
    ? value
    : refuse("invalid", `slurm: every ${quote(value)} must be whole seconds from 5 to 86400`);
}

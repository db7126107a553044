/**
 * A resource is one versioned thing that a node must know. Each has a key that never changes while the subject lives:
 * people are known by uid, groups by gid, so a rename is one put and an edit of one membership is one resource.
 *
 * `print` and `parse` are the canonical text: one line, fields separated by tabs, no field can hold a tab or a line
 * break. The digest is taken over it, the agent's memory is written in it, and both sides of the wire agree on it.
 */

import { type Gid, parseGid, parseUid, type Uid } from "./id.ts";
import { type Name, parseName } from "./name.ts";
import { quote, refuse } from "./refusal.ts";
import {
  type AdminLevel,
  type JobsOnLeave,
  parseAccountName,
  parseAdminLevel,
  parseDescription,
  parseJobsOnLeave,
  parseLimitsLine,
  printLimits,
} from "./slurm.ts";
import { parseSshKey, type SshKey } from "./ssh-key.ts";
import { parseSudoCommands, type SudoCommands } from "./sudo.ts";

/** A person's account: the fields of passwd(5). */
export interface User {
  readonly kind: "user";
  readonly uid: Uid;
  readonly gid: Gid;
  readonly name: Name;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
  /** On the way out: known while jobs may run, but nobody signs in as them. */
  readonly locked: boolean;
}

/** A POSIX group. A user's private group (gid = uid, same name) is implied by the user and has no resource. */
export interface Group {
  readonly kind: "group";
  readonly gid: Gid;
  readonly name: Name;
}

/** One membership of one user in one group. */
export interface Member {
  readonly kind: "member";
  readonly gid: Gid;
  readonly uid: Uid;
}

/** One public key that signs a user in. */
export interface Key {
  readonly kind: "key";
  readonly uid: Uid;
  readonly key: SshKey;
  /** From when on it signs nobody in, seconds since 1970; undefined: no such time. */
  readonly expires: number | undefined;
}

/** What the members of a POSIX group may run as anybody. */
export interface Sudo {
  readonly kind: "sudo";
  readonly gid: Gid;
  /** Whether sudo asks for a password. */
  readonly password: boolean;
  readonly commands: SudoCommands;
}

/** A Slurm account. */
export interface Account {
  readonly kind: "account";
  readonly name: string;
  /** The account above it; undefined: Slurm's root account. */
  readonly parent: string | undefined;
  /** For people; may be empty. */
  readonly description: string;
  /** Of the account itself, as in {@link Association.limits}. */
  readonly limits: Readonly<Record<string, string>>;
}

/** A user's use of a Slurm account. */
export interface Association {
  readonly kind: "association";
  readonly account: string;
  readonly uid: Uid;
  readonly isDefault: boolean;
  readonly adminLevel: AdminLevel;
  readonly limits: Readonly<Record<string, string>>;
  /** What becomes of the user's jobs in the account when the association goes. */
  readonly jobs: JobsOnLeave;
}

export type Resource = User | Group | Member | Key | Sudo | Account | Association;
export type Kind = Resource["kind"];

/**
 * Names a resource: `user/200000`, `group/70000`, `member/70000/200000`, `key/200000/<sha256 of the key blob, hex>`,
 * `sudo/70000`, `account/physics`, `association/physics/200000`.
 */
export type ResourceKey = string & { readonly __resourceKey: unique symbol };

export function keyOf(resource: Resource): ResourceKey {
  switch (resource.kind) {
    case "user":
      return `user/${resource.uid}` as ResourceKey;
    case "group":
      return `group/${resource.gid}` as ResourceKey;
    case "member":
      return `member/${resource.gid}/${resource.uid}` as ResourceKey;
    case "key":
      return `key/${resource.uid}/${resource.key.sha256}` as ResourceKey;
    case "sudo":
      return `sudo/${resource.gid}` as ResourceKey;
    case "account":
      return `account/${resource.name}` as ResourceKey;
    case "association":
      return `association/${resource.account}/${resource.uid}` as ResourceKey;
  }
}

/** The kind that a key names. */
export function kindOf(key: ResourceKey): Kind {
  return key.slice(0, key.indexOf("/")) as Kind;
}

const hex64 = /^[0-9a-f]{64}$/;

/** @throws Refusal `invalid`: not a key that {@link keyOf} could have made. */
export function parseKey(value: string): ResourceKey {
  const [kind = "", ...parts] = value.split("/");
  const form = forms.get(kind);
  const made = form?.length === parts.length ? [kind, ...form.map((read, at) => read(parts[at] ?? ""))].join("/") : "";
  if (made !== value) refuse("invalid", `${quote(value)} does not name a resource`);
  return value as ResourceKey;
}

/** What stands behind the kind in a key, part by part. */
const forms: ReadonlyMap<string, readonly ((part: string) => string | number)[]> = new Map([
  ["user", [(part: string) => parseUid(decimal(part))]],
  ["group", [(part: string) => parseGid(decimal(part))]],
  ["member", [(part: string) => parseGid(decimal(part)), (part: string) => parseUid(decimal(part))]],
  ["key", [(part: string) => parseUid(decimal(part)), (part: string) => (hex64.test(part) ? part : "?")]],
  ["sudo", [(part: string) => parseGid(decimal(part))]],
  ["account", [(part: string) => parseAccountName(part)]],
  ["association", [(part: string) => parseAccountName(part), (part: string) => parseUid(decimal(part))]],
]);

/**
 * The canonical line of a resource, without a line break. What revision 3 of the protocol added is printed only where it says
 * something, so that all else has the line, and the digest, that it always had.
 */
export function print(resource: Resource): string {
  switch (resource.kind) {
    case "user": {
      const { uid, gid, name, gecos, home, shell, locked } = resource;
      return `user\t${uid}\t${gid}\t${name}\t${gecos}\t${home}\t${shell}${locked ? "\tlocked" : ""}`;
    }
    case "group":
      return `group\t${resource.gid}\t${resource.name}`;
    case "member":
      return `member\t${resource.gid}\t${resource.uid}`;
    case "key":
      return `key\t${resource.uid}\t${resource.key.type}\t${resource.key.base64}\t${resource.key.comment}\t${resource.expires ?? ""}`;
    case "sudo": {
      const { gid, password, commands } = resource;
      return `sudo\t${gid}\t${password ? "password" : "nopassword"}\t${commands === "ALL" ? "ALL" : commands.join(",")}`;
    }
    case "account": {
      const { name, parent = "", description } = resource;
      const limits = printLimits(resource.limits);
      const more = description === "" && limits === "" ? "" : `\t${description}\t${limits}`;
      return `account\t${name}\t${parent}${more}`;
    }
    case "association": {
      const { account, uid, isDefault, adminLevel, limits, jobs } = resource;
      const line = `association\t${account}\t${uid}\t${isDefault ? "default" : ""}\t${adminLevel}\t${printLimits(limits)}`;
      return jobs === "cancel" ? line : `${line}\t${jobs}`;
    }
  }
}

/**
 * Reads a canonical line; strict, the exact inverse of {@link print}.
 * @throws Refusal `invalid`, naming the field and the rule.
 */
export function parse(line: string): Resource {
  const fields = line.split("\t");
  const resource = read(fields);
  if (print(resource) !== line) refuse("invalid", `${quote(line)} is not the canonical form of a ${resource.kind}`);
  return resource;
}

/** How many fields a line has, with its kind. */
const counts: ReadonlyMap<string, readonly number[]> = new Map<Kind, readonly number[]>([
  ["user", [7, 8]],
  ["group", [3]],
  ["member", [3]],
  ["key", [6]],
  ["sudo", [4]],
  ["account", [3, 5]],
  ["association", [6, 7]],
]);

function read(fields: readonly string[]): Resource {
  const [kind = "", a = "", b = "", c = "", d = "", e = "", f = "", g = ""] = fields;
  if (!counts.get(kind)?.includes(fields.length)) refuse("invalid", `${quote(fields.join(" "))} is not a resource`);
  switch (kind as Kind) {
    case "user":
      return user({ uid: decimal(a), gid: decimal(b), name: c, gecos: d, home: e, shell: f, locked: g === "locked" });
    case "group":
      return { kind: "group", gid: parseGid(decimal(a)), name: parseName(b) };
    case "member":
      return { kind: "member", gid: parseGid(decimal(a)), uid: parseUid(decimal(b)) };
    case "key":
      return {
        kind: "key",
        uid: parseUid(decimal(a)),
        key: parseSshKey(d === "" ? `${b} ${c}` : `${b} ${c} ${d}`),
        expires: e === "" ? undefined : parseExpiry(decimal(e)),
      };
    case "sudo":
      return {
        kind: "sudo",
        gid: parseGid(decimal(a)),
        password: b === "password",
        commands: parseSudoCommands(c === "ALL" ? c : c.split(",")),
      };
    case "account":
      return {
        kind: "account",
        name: parseAccountName(a),
        parent: b === "" ? undefined : parseAccountName(b, "parent"),
        description: parseDescription(c),
        limits: parseLimitsLine(d),
      };
    case "association":
      return {
        kind: "association",
        account: parseAccountName(a),
        uid: parseUid(decimal(b)),
        isDefault: c === "default",
        adminLevel: parseAdminLevel(d),
        limits: parseLimitsLine(e),
        jobs: parseJobsOnLeave(f === "" ? "cancel" : f),
      };
  }
}

/** The latest expiry of a key: the year 2200, in seconds since 1970. */
const lastExpiry = 7_258_118_400;

/** When a key expires, in whole seconds since 1970. @throws Refusal `invalid`. */
export function parseExpiry(value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > lastExpiry) {
    refuse("invalid", `expires ${quote(value)} must be whole seconds since 1970, before the year 2200`);
  }
  return value;
}

/** Makes a user of loose fields, each checked. @throws Refusal `invalid`. */
export function user(fields: {
  readonly uid: unknown;
  readonly gid: unknown;
  readonly name: unknown;
  readonly gecos: unknown;
  readonly home: unknown;
  readonly shell: unknown;
  readonly locked: boolean;
}): User {
  return {
    kind: "user",
    uid: parseUid(fields.uid),
    gid: parseGid(fields.gid),
    name: parseName(fields.name),
    gecos: parseGecos(fields.gecos),
    home: parseHome(fields.home),
    shell: parseShell(fields.shell),
    locked: fields.locked,
  };
}

/** passwd(5) GECOS: printable, no `:` and no control character; at most 128 UTF-8 bytes, for NSS buffers. */
export function parseGecos(value: unknown): string {
  if (typeof value !== "string" || Buffer.byteLength(value) > 128 || /[\p{C}\p{Zl}\p{Zp}:]/u.test(value)) {
    refuse("invalid", `gecos ${quote(value)} must be printable text of at most 128 bytes without ":"`);
  }
  return value;
}

/** Makes any display name a gecos that {@link parseGecos} accepts: unprintable characters and `:` become spaces. */
export function sanitiseGecos(value: string): string {
  const plain = value
    .toWellFormed()
    .normalize("NFC")
    .replace(/[\p{C}\p{Zl}\p{Zp}:\ufffd]+/gu, " ")
    .replace(/ +/g, " ")
    .trim();
  let cut = "";
  for (const char of plain) {
    if (Buffer.byteLength(cut) + Buffer.byteLength(char) > 128) break;
    cut += char;
  }
  return cut.trimEnd();
}

const safePath = /^(\/[A-Za-z0-9_][A-Za-z0-9._-]*)+$/;
const closedHomes = /^\/(root|proc|sys|dev|etc|boot|bin|sbin|lib|lib64|usr|run|tmp|var\/tmp|var\/run)(\/|$)/;

/** A home directory: absolute, plain, no `..`, at least two levels, outside the system's and world-writable trees. */
export function parseHome(value: unknown): string {
  if (typeof value !== "string" || value.length > 200 || !safePath.test(value) || value.indexOf("/", 1) === -1) {
    refuse("invalid", `home ${quote(value)} must be an absolute path of two levels or more, of [A-Za-z0-9._-]`);
  }
  if (closedHomes.test(value)) refuse("invalid", `home ${quote(value)} is in a tree of the system's`);
  return value;
}

/** Where a person's home directory is. */
export function homeOf(name: Name): string {
  return parseHome(`/home/${name}`);
}

/** The login shell that everyone gets. */
export const usualShell = "/bin/bash";

/** Login shells that may be written: absolute paths in root-owned folders. */
const shellPlaces = /^\/(usr\/(local\/)?)?s?bin\/[a-z0-9_][a-z0-9_.-]*$/;

export function parseShell(value: unknown): string {
  if (typeof value !== "string" || value.length > 64 || !shellPlaces.test(value)) {
    refuse("invalid", `shell ${quote(value)} must be a program in /bin, /sbin, /usr/bin, /usr/sbin or /usr/local/bin`);
  }
  return value;
}

function decimal(text: string): number {
  return /^(0|[1-9][0-9]{0,9})$/.test(text) ? Number(text) : Number.NaN;
}

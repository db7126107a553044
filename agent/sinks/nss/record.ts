/**
 * The lines of passwd(5), shadow(5) and group(5), as Rollcall writes them. Every field was parsed at the door and holds
 * no `:` or line break. The first four fields of any line fit in 64 bytes: a reader that is sent into the middle of a
 * record, at a multiple of 64, never finds something that parses.
 */

import type { Gid, Uid } from "../../../identity/id.ts";
import type { Name } from "../../../identity/name.ts";
import type { User } from "../../../identity/resource.ts";

/** The longest group line: readers hold it in memory whole, and grow their buffers by doubling from 1 kB. */
export const longestLine = 1_000_000;

// A fixed day of the last password change: no password exists, and 0 would make sshd ask for a new one.
const lastChange = 20_000;

// No directory can hold this name: the alphabet of names has no dot. Nothing looks it up, it ends a scan.
const end = "rollcall.end";

export function passwdLine({ name, uid, gid, gecos, home, shell }: User): string {
  return `${name}:x:${uid}:${gid}:${gecos}:${home}:${shell}`;
}

/**
 * Every user has one: `x` in passwd without it is refused by PAM. `*` matches no password. Who is locked has an account that expired on
 * the second day of 1970: PAM lets nobody in, with whatever key.
 */
export function shadowLine({ name, locked }: Pick<User, "name" | "locked">): string {
  return `${name}:*:${lastChange}:0:99999:7::${locked ? 1 : ""}:`;
}

/** @param members sorted. */
export function groupLine(name: Name, gid: Gid | Uid, members: readonly Name[]): string {
  return `${name}:x:${gid}:${members.join(",")}`;
}

/** The last record of each file: locked, expired, without a shell, in an id range that is nobody's. */
export const sentinels = {
  passwd: `${end}:*:65533:65533::/nonexistent:/usr/sbin/nologin`,
  shadow: `${end}:*:${lastChange}:0:99999:7::1:`,
  group: `${end}:*:65533:`,
} as const;

/** The text up to the first `:`. */
export function nameIn(line: string): string {
  return line.slice(0, line.indexOf(":"));
}

/** The third field: the uid of a passwd line, the gid of a group line. */
export function idIn(line: string): string {
  return line.split(":", 3)[2] ?? "";
}

const head = "[a-z_][a-z0-9_-]{0,30}:x:[1-9][0-9]{3,9}:";
const grammar = {
  passwd: new RegExp(`^${head}[1-9][0-9]{3,9}:[^:]*:/[^:]+:/[^:]+$`),
  shadow: /^[a-z_][a-z0-9_-]{0,30}:\*:[0-9]+:0:99999:7::1?:$/,
  group: new RegExp(`^${head}[a-z0-9_,-]*$`),
} as const;

/** Whether a line looks like one of these functions' (the sentinel apart): what else is in a file is a stranger's. */
export function isRecordOf(map: keyof typeof grammar, line: string): boolean {
  return grammar[map].test(line);
}

/**
 * What a command records of its deed, in the words of operators. Of what was changed, only what differs is told, and what
 * changes nothing leaves no entry. No secret, hash or key material comes here: each kind of thing is listed field by field.
 */

import { createHash } from "node:crypto";
import { fingerprint, type SshKey } from "../../identity/ssh-key.ts";
import type { Cluster } from "../store/clusters.ts";
import type { Group } from "../store/groups.ts";
import type { Lock } from "../store/locks.ts";
import type { Enrolment } from "../store/nodes.ts";
import type { Tx } from "../store/store.ts";
import type { Token } from "../store/tokens.ts";
import { slices, type User } from "../store/users.ts";
import { type Actor, signature } from "./actor.ts";

/** What is told of a thing. A field that is undefined is not there. */
export type Told = Readonly<Record<string, unknown>>;

export interface Deed {
  /** The org's id; empty for what belongs to no org. */
  readonly org: string;
  /** Kind of thing and act: `user.update`. */
  readonly action: string;
  /** Which thing, for people and for machines: see {@link named}. */
  readonly subject: string;
  /** Undefined: there was nothing before, or is nothing after. */
  readonly before?: Told | undefined;
  readonly after?: Told | undefined;
}

/** Records a deed, to be kept if and only if the transaction is. One that changed nothing is not recorded. */
export function record(tx: Tx, actor: Actor, { org, action, subject, before, after }: Deed): void {
  const [was, is] = before && after ? differing(before, after) : [before, after];
  if (before && after && Object.keys(was ?? {}).length === 0 && Object.keys(is ?? {}).length === 0) return;
  tx.audit.note({
    org,
    actor: signature(actor),
    cause: actor.cause ?? "",
    action,
    // What is not well-formed would not come back from every store as it was hashed.
    subject: subject.toWellFormed(),
    before: was ? print(was) : null,
    after: is ? print(is) : null,
  });
}

/** Records members that came to a group or left it: their ids, some hundreds in an entry, and never those who stayed. */
export function recordMembers(
  tx: Tx,
  actor: Actor,
  group: Group,
  { added, removed }: { readonly added: readonly string[]; readonly removed: readonly string[] },
): void {
  const deed = { org: group.org, subject: named(group.displayName, group.id) };
  for (const some of slices(removed)) record(tx, actor, { ...deed, action: "group.leave", before: { members: some } });
  for (const some of slices(added)) record(tx, actor, { ...deed, action: "group.join", after: { members: some } });
}

/** `ada@example.org [0198...]`: found by either. */
export function named(name: string, id: string): string {
  return `${name} [${id}]`;
}

export function tellUser({ attributes, userName, externalId, active, fullName, ...user }: User): Told {
  const { name, uid, gid, home, shell, origin } = user;
  return { ...attributes, userName, externalId, active, fullName, posixName: name, uid, gid, home, shell, origin };
}

export function tellGroup({ displayName, externalId, name, gid, origin }: Group): Told {
  return { displayName, externalId, posixName: name, gid, origin };
}

/** By fingerprint: the key itself is nobody's business here. */
export function tellKey(key: SshKey): Told {
  return { key: fingerprint(key), type: key.type, comment: key.comment };
}

export function tellLock({ id, reason, origin, externalId }: Lock): Told {
  return { lock: id, reason, origin, externalId };
}

export function tellToken({ kind, cluster, client, expiresAt, revokedAt }: Token): Told {
  return { kind, cluster, client, expires: time(expiresAt), revoked: time(revokedAt) };
}

export function tellCluster({ name, settings }: Pick<Cluster, "name" | "settings">): Told {
  return { name, settings };
}

export function tellNode({ id, role, serial, expiresAt, banned }: Enrolment): Told {
  return { id, role, serial, expires: time(expiresAt), banned };
}

export function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** Fields whose values differ, as they were and as they are. */
function differing(before: Told, after: Told): [Told, Told] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]),
  );
  const pick = (from: Told): Told =>
    Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
  return [pick(before), pick(after)];
}

/** Longer than this is what nobody reads: what is kept is enough to know it again. */
const longest = 64 * 1024;

function print(told: Told): string {
  const text = JSON.stringify(told);
  if (text.length <= longest) return text;
  const sha256 = createHash("sha256").update(text).digest("hex");
  return JSON.stringify({ tooLong: { characters: text.length, sha256 } });
}

/** The revisions of the protocol that both ends of this version speak: proto/README.md, section 7. */
export const protocols = { oldest: 1, newest: 3 } as const;

/**
 * The door between protobuf messages and what they mean. Everything that comes in is parsed here once, strictly; past
 * this file a value has a type that says so. Every function throws Refusal `invalid` for a message that breaks a rule.
 */

import { create, type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Delta } from "../identity/delta.ts";
import { parseDigest } from "../identity/digest.ts";
import { parseGid, parseUid } from "../identity/id.ts";
import { parseName } from "../identity/name.ts";
import type { Position } from "../identity/position.ts";
import { quote, Refusal, refuse } from "../identity/refusal.ts";
import { parseExpiry, parseKey, type Resource, user } from "../identity/resource.ts";
import type { Role } from "../identity/scope.ts";
import {
  parseAccountName,
  parseAdminLevel,
  parseDescription,
  parseJobsOnLeave,
  parseLimits,
} from "../identity/slurm.ts";
import { parseSshKey } from "../identity/ssh-key.ts";
import { parseSudoCommands, type SudoCommands } from "../identity/sudo.ts";
import * as node from "./gen/rollcall/v1/node_pb.ts";
import * as pb from "./gen/rollcall/v1/resource_pb.ts";

/** The message that some bytes are. */
export function parseMessage<M extends DescMessage>(schema: M, bytes: Uint8Array): MessageShape<M> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new Refusal("invalid", `a message that is no ${schema.name}`, { cause });
  }
}

export function printResource(resource: Resource): pb.Resource {
  switch (resource.kind) {
    case "user": {
      const { kind: _, ...fields } = resource;
      return create(pb.ResourceSchema, { kind: { case: "user", value: create(pb.UserSchema, fields) } });
    }
    case "group": {
      const { gid, name } = resource;
      return create(pb.ResourceSchema, { kind: { case: "group", value: create(pb.GroupSchema, { gid, name }) } });
    }
    case "member": {
      const { gid, uid } = resource;
      return create(pb.ResourceSchema, { kind: { case: "member", value: create(pb.MemberSchema, { gid, uid }) } });
    }
    case "key": {
      const { type, base64, comment } = resource.key;
      const blob = Buffer.from(base64, "base64");
      const expires = BigInt(resource.expires ?? 0);
      const value = create(pb.KeySchema, { uid: resource.uid, type, blob, comment, expires });
      return create(pb.ResourceSchema, { kind: { case: "key", value } });
    }
    case "sudo": {
      const { gid, password } = resource;
      const commands = resource.commands === "ALL" ? ["ALL"] : [...resource.commands];
      const value = create(pb.SudoSchema, { gid, password, commands });
      return create(pb.ResourceSchema, { kind: { case: "sudo", value } });
    }
    case "account": {
      const { name, parent = "", description, limits } = resource;
      const value = create(pb.AccountSchema, { name, parent, description, limits: { ...limits } });
      return create(pb.ResourceSchema, { kind: { case: "account", value } });
    }
    case "association": {
      const { kind: _, limits, jobs, ...fields } = resource;
      const said = jobs === "cancel" ? "" : jobs;
      const value = create(pb.AssociationSchema, { ...fields, limits: { ...limits }, jobs: said });
      return create(pb.ResourceSchema, { kind: { case: "association", value } });
    }
  }
}

export function parseResource({ kind }: pb.Resource): Resource {
  switch (kind.case) {
    case "user":
      return user(kind.value);
    case "group":
      return { kind: "group", gid: parseGid(kind.value.gid), name: parseName(kind.value.name) };
    case "member":
      return { kind: "member", gid: parseGid(kind.value.gid), uid: parseUid(kind.value.uid) };
    case "key": {
      const { type, blob, comment } = kind.value;
      const key = parseSshKey(`${type} ${Buffer.from(blob).toString("base64")} ${comment}`);
      if (key.type !== type || key.comment !== comment) refuse("invalid", `the comment ${quote(comment)} is not clean`);
      const { expires } = kind.value;
      return {
        kind: "key",
        uid: parseUid(kind.value.uid),
        key,
        expires: expires === 0n ? undefined : parseExpiry(Number(expires)),
      };
    }
    case "sudo": {
      const { gid, password, commands } = kind.value;
      return { kind: "sudo", gid: parseGid(gid), password, commands: parseSorted(commands) };
    }
    case "account": {
      const { name, parent, description, limits } = kind.value;
      return {
        kind: "account",
        name: parseAccountName(name),
        parent: parent === "" ? undefined : parseAccountName(parent, "parent"),
        description: parseDescription(description),
        limits: parseLimits(limits),
      };
    }
    case "association": {
      const { account, uid, isDefault, adminLevel, limits, jobs } = kind.value;
      return {
        kind: "association",
        account: parseAccountName(account),
        uid: parseUid(uid),
        isDefault,
        adminLevel: parseAdminLevel(adminLevel),
        limits: parseLimits(limits),
        jobs: parseJobsOnLeave(jobs === "" ? "cancel" : jobs),
      };
    }
    case undefined:
      return refuse("invalid", "a resource of a kind that is not known here");
  }
}

/** Commands of sudo as they must be said: one text for one meaning. */
function parseSorted(commands: readonly string[]): SudoCommands {
  const parsed = parseSudoCommands(commands.length === 1 && commands[0] === "ALL" ? "ALL" : commands);
  if (parsed !== "ALL" && parsed.join() !== commands.join()) {
    refuse("invalid", "the commands of sudo are not sorted, or one is there twice");
  }
  return parsed;
}

export function printPosition({ epoch, revision, digest }: Position): pb.Position {
  return create(pb.PositionSchema, { epoch: create(pb.EpochSchema, epoch), revision, digest });
}

export function parsePosition(position: pb.Position | undefined): Position {
  if (!position?.epoch) refuse("invalid", "the message lacks a position");
  const { epoch, revision, digest } = position;
  if (!/^[0-9a-f]{32}$/.test(epoch.id)) refuse("invalid", `the epoch id ${quote(epoch.id)} is not 32 hex digits`);
  if (revision > maxRevision || epoch.seq > maxRevision) refuse("invalid", `revision ${revision} is beyond every log`);
  return { epoch: { seq: epoch.seq, id: epoch.id }, revision, digest: parseDigest(digest) };
}

/** Revisions fit a signed 64-bit integer, the widest that SQLite and PostgreSQL hold. */
const maxRevision = 2n ** 63n - 1n;

export function printDelta({ from, to, puts, removals }: Delta): node.Delta {
  return create(node.DeltaSchema, {
    from: printPosition(from),
    to: printPosition(to),
    puts: puts.map(printResource),
    removals: removals.map((key) => create(pb.ResourceKeySchema, { key })),
  });
}

export function parseDelta({ from, to, puts, removals }: node.Delta): Delta {
  return {
    from: parsePosition(from),
    to: parsePosition(to),
    puts: parseResources(puts),
    removals: removals.map(({ key }) => parseKey(key)),
  };
}

/** As {@link parseResource}, for many; the refusal says which one. */
export function parseResources(messages: readonly pb.Resource[]): Resource[] {
  return messages.map((message, index) => {
    try {
      return parseResource(message);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      return refuse("invalid", `resource ${index + 1} of ${messages.length}: ${reason}`);
    }
  });
}

const roleNumbers = {
  login: node.Role.LOGIN,
  compute: node.Role.COMPUTE,
  controller: node.Role.CONTROLLER,
} as const satisfies Record<Role, node.Role>;

export function printRole(role: Role): node.Role {
  return roleNumbers[role];
}

export function parseRole(role: node.Role): Role {
  const entry = Object.entries(roleNumbers).find(([, number]) => number === role);
  return (entry?.[0] as Role | undefined) ?? refuse("invalid", "role must be login, compute or controller");
}

export function printMillis(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) });
}

export function parseMillis(duration: Duration | undefined): number {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}

export function printTime(ms: number | undefined): Timestamp | undefined {
  return ms === undefined ? undefined : timestampFromMs(ms);
}

export function parseTime(time: Timestamp | undefined): number | undefined {
  return time && timestampMs(time);
}

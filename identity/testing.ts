/** Resources and logs at random, for property tests. */

import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Gid, Uid } from "./id.ts";
import type { Name } from "./name.ts";
import { type Association, type Key, keyOf, type Resource, type ResourceKey, type User } from "./resource.ts";
import type { Job } from "./slurm-state.ts";
import { parseSshKey } from "./ssh-key.ts";
import type { SudoCommands } from "./sudo.ts";

/** A valid ed25519 public key line, the same for the same seed. */
export function ed25519Line(seed: string, comment = ""): string {
  const point = createHash("sha256").update(seed).digest();
  point[31] = (point[31] ?? 0) & 0x7f;
  const type = Buffer.from("ssh-ed25519");
  const length = (bytes: Buffer): Buffer => {
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(bytes.length);
    return Buffer.concat([prefix, bytes]);
  };
  const blob = Buffer.concat([length(type), length(point)]).toString("base64");
  return comment === "" ? `ssh-ed25519 ${blob}` : `ssh-ed25519 ${blob} ${comment}`;
}

export function aUser(n: number, fields: { gecos?: string; name?: string } = {}): User {
  const uid = (200_000 + n) as Uid;
  const name = (fields.name ?? `user${n}`) as Name;
  const gecos = fields.gecos ?? `User ${n}`;
  return {
    kind: "user",
    uid,
    gid: Number(uid) as Gid,
    name,
    gecos,
    home: `/home/${name}`,
    shell: "/bin/bash",
    locked: false,
  };
}

export function aGroup(n: number): Resource {
  return { kind: "group", gid: (70_000 + n) as Gid, name: `group${n}` as Name };
}

export function aMember(group: number, user: number): Resource {
  return { kind: "member", gid: (70_000 + group) as Gid, uid: (200_000 + user) as Uid };
}

export function aKey(user: number, seed: string): Key {
  return { kind: "key", uid: (200_000 + user) as Uid, key: parseSshKey(ed25519Line(seed)), expires: undefined };
}

export function aSudo(group: number, commands: SudoCommands): Resource {
  return { kind: "sudo", gid: (70_000 + group) as Gid, password: false, commands };
}

export function anAssociation(account: string, user: number, limits: Association["limits"]): Association {
  const uid = (200_000 + user) as Uid;
  return { kind: "association", account, uid, isDefault: user % 2 === 0, adminLevel: "none", limits, jobs: "cancel" };
}

/** A job of whom {@link aUser} makes. */
export function aJob(
  id: string,
  { user, account, isQueued = false }: { user: number; account: string; isQueued?: boolean },
): Job {
  return { id, uid: 200_000 + user, account, isQueued };
}

const anyAccount = fc.constantFrom("physics", "optics", "a-b_9");

/** Any resource of a small world of 8 users, 4 groups and 3 accounts, so that random edits meet one another. */
export const anyResource: fc.Arbitrary<Resource> = fc.oneof(
  fc
    .record({ n: fc.nat(7), gecos: fc.constantFrom("", "A", "Älan Ünïcode", "x".repeat(100)), locked: fc.boolean() })
    .map(({ n, gecos, locked }) => ({ ...aUser(n, { gecos }), locked })),
  fc.nat(3).map(aGroup),
  fc.tuple(fc.nat(3), fc.nat(7)).map(([group, user]) => aMember(group, user)),
  fc
    .tuple(fc.nat(7), fc.nat(2), fc.constantFrom(undefined, 1, 1_800_000_000))
    .map(([user, key, expires]) => ({ ...aKey(user, `${user} ${key}`), expires })),
  fc
    .tuple(fc.nat(3), fc.constantFrom<SudoCommands[]>("ALL", ["/usr/bin/id"], ["/bin/a -x /b", "/usr/bin/id"]))
    .map(([group, commands]) => aSudo(group, commands)),
  fc
    .tuple(
      anyAccount,
      fc.option(anyAccount, { nil: undefined }),
      fc.constantFrom("", "A lab (1st)"),
      fc.constantFrom({}, { fairshare: "7" }),
    )
    .map(([name, parent, description, limits]) => ({ kind: "account", name, parent, description, limits }) as const),
  fc
    .tuple(
      anyAccount,
      fc.nat(7),
      fc.constantFrom({}, { fairshare: "1" }, { grptres: "cpu=4,gres/gpu=2", maxjobs: "10" }),
    )
    .chain(([account, user, limits]) =>
      fc.constantFrom("cancel" as const, "finish" as const).map((jobs) => ({
        ...anAssociation(account, user, limits),
        jobs,
      })),
    ),
);

/** A history: each element is what one revision puts and removes, and removals name only what is held. */
export const anyHistory: fc.Arbitrary<{ puts: Resource[]; removals: ResourceKey[] }[]> = fc
  .array(fc.array(fc.record({ resource: anyResource, remove: fc.boolean() }), { maxLength: 6 }), { maxLength: 12 })
  .map((revisions) => {
    const held = new Set<ResourceKey>();
    return revisions.map((edits) => {
      const puts = new Map<ResourceKey, Resource>();
      const removals = new Set<ResourceKey>();
      for (const { resource, remove } of edits) {
        const key = keyOf(resource);
        if (puts.has(key) || removals.has(key)) continue;
        if (remove && held.has(key)) removals.add(key);
        else if (!remove) puts.set(key, resource);
      }
      for (const key of removals) held.delete(key);
      for (const key of puts.keys()) held.add(key);
      return { puts: [...puts.values()], removals: [...removals] };
    });
  });

/** Resources and logs at random, for property tests. */

import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Gid, Uid } from "./id.ts";
import type { Name } from "./name.ts";
import { keyOf, type Resource, type ResourceKey } from "./resource.ts";
import { parseSshKey } from "./ssh-key.ts";

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

export function aUser(n: number, fields: { gecos?: string; name?: string } = {}): Resource {
  const uid = (200_000 + n) as Uid;
  const name = (fields.name ?? `user${n}`) as Name;
  const gecos = fields.gecos ?? `User ${n}`;
  return { kind: "user", uid, gid: Number(uid) as Gid, name, gecos, home: `/home/${name}`, shell: "/bin/bash" };
}

export function aGroup(n: number): Resource {
  return { kind: "group", gid: (70_000 + n) as Gid, name: `group${n}` as Name };
}

export function aMember(group: number, user: number): Resource {
  return { kind: "member", gid: (70_000 + group) as Gid, uid: (200_000 + user) as Uid };
}

export function aKey(user: number, seed: string): Resource {
  return { kind: "key", uid: (200_000 + user) as Uid, key: parseSshKey(ed25519Line(seed)) };
}

/** Any resource of a small world of 8 users and 4 groups, so that random edits meet one another. */
export const anyResource: fc.Arbitrary<Resource> = fc.oneof(
  fc
    .record({ n: fc.nat(7), gecos: fc.constantFrom("", "A", "Älan Ünïcode", "x".repeat(100)) })
    .map(({ n, gecos }) => aUser(n, { gecos })),
  fc.nat(3).map(aGroup),
  fc.tuple(fc.nat(3), fc.nat(7)).map(([group, user]) => aMember(group, user)),
  fc.tuple(fc.nat(7), fc.nat(2)).map(([user, key]) => aKey(user, `${user} ${key}`)),
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

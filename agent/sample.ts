/** A small made-up scope for tests: people, teams and keys by number, and steps from any copy to any content. */

import { generateKeyPairSync } from "node:crypto";
import * as fc from "fast-check";
import { type Copy, emptyCopy, prepareSnapshot, type Step } from "../identity/copy.ts";
import { nothing, shift } from "../identity/digest.ts";
import { type Gid, parseGid, parseUid } from "../identity/id.ts";
import { parseName } from "../identity/name.ts";
import type { Position } from "../identity/position.ts";
import {
  type Group,
  type Key,
  keyOf,
  type Member,
  type Resource,
  type Sudo,
  type User,
  user,
} from "../identity/resource.ts";
import { parseSshKey } from "../identity/ssh-key.ts";
import type { SudoCommands } from "../identity/sudo.ts";

/** The nth person: uid 200000 + n, a private group. */
export function person(n: number, fields: { name?: string; gecos?: string; gid?: number } = {}): User {
  const name = fields.name ?? `user${n}`;
  const uid = 200_000 + n;
  const { gecos = `Person ${n}`, gid = uid } = fields;
  return user({ uid, gid, name, gecos, home: `/home/${name}`, shell: "/bin/bash", locked: false });
}

/** The nth team: gid 70000 + n. */
export function team(n: number, name = `team${n}`): Group {
  return { kind: "group", gid: parseGid(70_000 + n), name: parseName(name) };
}

export function member(teamNumber: number, personNumber: number): Member {
  return { kind: "member", gid: gidOf(teamNumber), uid: parseUid(200_000 + personNumber) };
}

/** What the nth team may run. */
export function sudo(teamNumber: number, commands: SudoCommands = ["/usr/bin/id"], password = false): Sudo {
  return { kind: "sudo", gid: gidOf(teamNumber), password, commands };
}

/** The nth of sixteen keys, held by a person. */
export function key(personNumber: number, n: number, expires?: number): Key {
  return { kind: "key", uid: parseUid(200_000 + personNumber), key: parseSshKey(publicKeys[n % 16] ?? ""), expires };
}

/** The step from a copy to exactly this content. */
export function stepTo(copy: Copy, resources: readonly Resource[], revision = copy.at.revision + 1n): Step {
  const distinct = new Map(resources.map((resource) => [keyOf(resource), resource]));
  const epoch = { seq: 1n, id: "1".repeat(32) };
  const to: Position = { epoch, revision, digest: shift(nothing, distinct.values(), []) };
  return prepareSnapshot(copy, to, distinct.values());
}

/** The step from nothing to exactly this content. */
export function firstStep(resources: readonly Resource[]): Step {
  return stepTo(emptyCopy(), resources);
}

/** Contents that differ by a few edits: renames, swaps, orphans and id clashes. No two share a name. */
export const contents: fc.Arbitrary<Resource[]> = fc
  .record({
    people: fc.uniqueArray(
      fc.record({ n: fc.nat(7), name: fc.constantFrom(..."abcdefgh".split("")), gecos: fc.nat(120) }),
      {
        selector: ({ n }) => n,
      },
    ),
    teams: fc.uniqueArray(fc.record({ n: fc.nat(3), name: fc.constantFrom(..."ghijk".split("")) }), {
      selector: ({ n }) => n,
    }),
    members: fc.array(fc.tuple(fc.nat(3), fc.nat(7)), { maxLength: 12 }),
    keys: fc.array(fc.tuple(fc.nat(7), fc.nat(3)), { maxLength: 8 }),
    clash: fc.boolean(),
  })
  .map(({ people, teams, members, keys, clash }) => {
    const named = new Map<string, Resource>();
    for (const { n, name, gecos } of people) {
      named.set(`${name}x`, person(n, { name: `${name}x`, gecos: "ä".repeat(gecos / 2) }));
    }
    for (const { n, name } of teams) named.set(`${name}x`, team(n, `${name}x`));
    if (clash) named.set("clash", { kind: "group", gid: parseGid(200_001), name: parseName("clash") });
    return [...named.values(), ...members.map(([t, p]) => member(t, p)), ...keys.map(([p, k]) => key(p, k))];
  });

function gidOf(teamNumber: number): Gid {
  return parseGid(70_000 + teamNumber);
}

const publicKeys = Array.from({ length: 16 }, (_, n) => {
  const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  const text = Buffer.from("\0\0\0\x0bssh-ed25519\0\0\0\x20", "latin1");
  return `ssh-ed25519 ${Buffer.concat([text, Buffer.from(x, "base64url")]).toString("base64")} key${n}`;
});

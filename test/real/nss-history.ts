/** A cluster's people and groups through many versions: what is hard for readers that look into two of them at once. */

import * as fc from "fast-check";
import { contents } from "../../agent/sample.ts";
import { type Gid, parseGid, type Uid } from "../../identity/id.ts";
import { parseName } from "../../identity/name.ts";
import { keyOf, type Resource, type ResourceKey, type User, user } from "../../identity/resource.ts";

interface Chapter {
  readonly about: string;
  readonly puts?: readonly Resource[];
  readonly removals?: readonly Resource[];
}

function person(uid: number, name: string, gecos = ""): User {
  return user({ uid, gid: uid, name, gecos, home: `/home/${name}`, shell: "/bin/bash", locked: false });
}

function group(gid: number, name: string): Resource {
  return { kind: "group", gid: parseGid(gid), name: parseName(name) };
}

function member(gid: number, { uid }: User): Resource {
  return { kind: "member", gid: gid as Gid, uid: uid as Uid };
}

function crowd(first: number, count: number, name: string, gecos = ""): User[] {
  return Array.from({ length: count }, (_, n) => person(first + n, `${name}${n}`, gecos));
}

const alice = person(1000, "alice");
const crew = crowd(300_000, 40, "crew");
const burst = crowd(210_000, 60, "burst", "one of many ".repeat(5));

const chapters: readonly Chapter[] = [
  {
    about: "ids that sort as text in another order than as numbers, names that end other names",
    puts: [
      ...[alice, person(9999, "malice"), person(10_000, "lice"), person(200_001, "ice"), person(2_000_000_000, "ce")],
      ...[group(7000, "team"), group(70_000, "steam"), group(1001, "tea"), member(7000, alice), member(70_000, alice)],
    ],
  },
  { about: "a record goes", removals: [person(9999, "malice")] },
  { about: "another name takes its slot", puts: [person(9998, "mal")] },
  { about: "a record outgrows its slot", puts: [person(1000, "alice", "A".repeat(128))] },
  { about: "the slot it left is taken", puts: [person(20_000, "bob"), member(7000, person(20_000, "bob"))] },
  { about: "a record shrinks in its slot", puts: [person(1000, "alice", "Älice")] },
  { about: "a name passes to another id", puts: [person(10_001, "lice")], removals: [person(10_000, "lice")] },
  { about: "two people change names", puts: [person(9998, "ice"), person(200_001, "mal")] },
  { about: "a group fills up", puts: crew.flatMap((one) => [one, member(70_000, one)]) },
  {
    about: "it loses every other member",
    removals: crew.filter((_, n) => n % 2 === 0).map((one) => member(70_000, one)),
  },
  { about: "a group goes, another has its name", puts: [group(7001, "team")], removals: [group(7000, "team")] },
  { about: "a burst, longer than the reserve", puts: burst },
  { about: "most go: the file stays as long", removals: [...burst, ...crew.slice(5)] },
  { about: "others come to their slots", puts: crowd(220_000, 30, "late", "x".repeat(60)) },
];

/** What is true, version by version: the chapters, then contents at random, always the same ones. */
export function history(): Resource[][] {
  const held = new Map<ResourceKey, Resource>();
  const told = chapters.map(({ puts = [], removals = [] }) => {
    for (const resource of removals) held.delete(keyOf(resource));
    for (const resource of puts) held.set(keyOf(resource), resource);
    return [...held.values()];
  });
  const random = fc.sample(contents, { seed: 20_261_123, numRuns: 14 });
  const distinct = random.map((content) => [
    ...new Map(content.map((resource) => [keyOf(resource), resource])).values(),
  ]);
  // Somebody stays: a node's policy refuses to lose everybody.
  const stays = (content: readonly Resource[]) => [alice, ...content.filter(({ kind }) => kind !== "key")];
  return [...told, ...distinct.map(stays)];
}

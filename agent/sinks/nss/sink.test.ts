import { dirname } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Copy, commit, emptyCopy, type Step } from "../../../identity/copy.ts";
import type { Resource } from "../../../identity/resource.ts";
import { contents, member, person, stepTo, team } from "../../sample.ts";
import { SimulatedDisk } from "../../simulated-disk.ts";
import type { Rendering, Sink, Write } from "../../sink.ts";
import { type Answer, enumerate, lookUp, type MapName } from "./reader.ts";
import { nssSink } from "./sink.ts";
import { checkStructure } from "./structure.ts";

const served = "/served";

/** A sink, what it wrote, and what it should show. */
class Node {
  readonly disk = new SimulatedDisk();
  readonly copy: Copy = emptyCopy();
  sink: Sink = nssSink(this.disk, served);

  async to(resources: readonly Resource[]): Promise<Rendering> {
    const step = stepTo(this.copy, resources);
    const rendering = await this.render(step);
    commit(this.copy, step);
    this.sink.settled(rendering);
    return rendering;
  }

  async render(step: Step): Promise<Rendering> {
    const rendering = await this.sink.render(this.copy, step);
    await this.publish(rendering);
    return rendering;
  }

  /** Verifies in a stage, then makes live, as apply.ts does. */
  async publish(rendering: Rendering): Promise<void> {
    const staged = new Map<Write, string>();
    for (const write of rendering.writes) {
      const { path, bytes, mode } = write;
      if (bytes) await this.disk.create(`/stage/${path}`, bytes, { mode });
      if (bytes) staged.set(write, `/stage/${path}`);
    }
    await this.sink.verify(rendering, staged);
    for (const { path, bytes, mode } of rendering.writes) this.disk.plant(`${served}/${path}`, bytes, { mode });
  }

  async repair(): Promise<Rendering> {
    const rendering = await this.sink.repair(this.copy);
    await this.publish(rendering);
    this.sink.settled(rendering);
    return rendering;
  }

  async file(path: string): Promise<Buffer | undefined> {
    return (await this.disk.read(`${served}/nss/${path}`))?.bytes;
  }
}

/** Every index of one version, and the data. */
interface Version {
  readonly data: Buffer;
  readonly indexes: Record<string, Buffer>;
}

const indexed: readonly [MapName, string, 0 | 2][] = [
  ["passwd", "ixname", 0],
  ["passwd", "ixuid", 2],
  ["shadow", "ixname", 0],
  ["group", "ixname", 0],
  ["group", "ixgid", 2],
];

async function versions(node: Node): Promise<Record<MapName, Version>> {
  const version = async (map: MapName): Promise<Version> => {
    const indexes: Record<string, Buffer> = {};
    for (const [of, name] of indexed) {
      if (of === map) indexes[name] = (await node.file(`${map}.cache.${name}`)) ?? Buffer.alloc(0);
    }
    return { data: (await node.file(`${map}.cache`)) ?? Buffer.alloc(0), indexes };
  };
  return { passwd: await version("passwd"), shadow: await version("shadow"), group: await version("group") };
}

const keys = {
  0: "abcdefghijk"
    .split("")
    .map((letter) => `${letter}x`)
    .concat("clash", "nobody-here", "rollcall.end"),
  2: [...Array(9).keys()].map((n) => String(200_000 + n)).concat("70000", "70001", "70002", "70003", "65533", "7"),
};

function answers(map: MapName, data: Buffer, index: Buffer | undefined, field: 0 | 2): Map<string, Answer> {
  return new Map(keys[field].map((key) => [key, lookUp(map, data, index, key, field)]));
}

/** Where slots start, less those in the tail. */
function places(data: Buffer): number[] {
  const starts: number[] = [];
  for (let at = 0; at < data.length; at += 64) {
    if ((at === 0 || data[at - 1] === 10) && !data.toString("latin1", at, at + 2).startsWith("##")) starts.push(at);
  }
  return starts;
}

describe("A3: every look-up gives the record of r or r+1", () => {
  test("patched files serve what files made from scratch serve, and any mix of neighbours is safe", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(contents, { minLength: 1, maxLength: 6 }), async (sequence) => {
        const node = new Node();
        let before: Record<MapName, Version> | undefined;
        for (const content of sequence) {
          const { isolated } = await node.to(content);
          const now = await versions(node);
          const scratch = new Node();
          const fresh = await scratch.to(content);
          expect(new Set(isolated.map(({ key }) => key))).toEqual(new Set(fresh.isolated.map(({ key }) => key)));
          const wanted = await versions(scratch);
          for (const [map, index, field] of indexed) {
            const right = answers(map, wanted[map].data, wanted[map].indexes[index], field);
            expect(answers(map, now[map].data, now[map].indexes[index], field)).toEqual(right);
            expect(enumerate(map, now[map].data).sort()).toEqual(enumerate(map, wanted[map].data).sort());
            if (before) expectSafe(map, index, field, before[map], now[map]);
          }
          before = now;
        }
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});

function expectSafe(map: MapName, index: string, field: 0 | 2, old: Version, now: Version): void {
  const before = answers(map, old.data, old.indexes[index], field);
  const after = answers(map, now.data, now.indexes[index], field);
  const mixes = [
    answers(map, now.data, old.indexes[index], field),
    answers(map, old.data, now.indexes[index], field),
    answers(map, now.data, undefined, field),
  ];
  for (const mix of mixes) {
    for (const [key, answer] of mix) {
      // A scan sees the sentinel, an index does not: both are the truth of a name that nobody has.
      if (key !== "rollcall.end" && key !== "65533") expect([before.get(key), after.get(key)]).toContainEqual(answer);
      expect(answer.kind).not.toBe("abort");
    }
  }
  expect(now.data.length).toBeGreaterThanOrEqual(old.data.length);
  expect(places(now.data)).toEqual(expect.arrayContaining(places(old.data).slice(0, -2)));
}

test("a burst larger than the tail only ever meets an old index, which is safe", async () => {
  const node = new Node();
  await node.to([person(0, { name: "ax" })]);
  const before = await versions(node);
  const many = Array.from({ length: 500 }, (_, n) => person(n, { name: `n${n}` }));
  await node.to(many);
  const now = await versions(node);
  for (const [map, index, field] of indexed) {
    for (const key of keys[field]) {
      expect(lookUp(map, now[map].data, before[map].indexes[index], key, field).kind).not.toBe("abort");
    }
  }
});

test("a step writes only the files that it changes", async () => {
  const node = new Node();
  const base = [person(1), person(2), team(1)];
  await node.to(base);
  const joined = await node.to([...base, member(1, 1)]);
  expect(joined.writes.map(({ path }) => path)).toEqual(["nss/group.cache"]);
  // They say the same as before, but readers pass over an index that is older than its data.
  expect(joined.touches).toEqual(["nss/group.cache.ixgid", "nss/group.cache.ixname"]);
  expect(enumerate("group", (await node.file("group.cache")) ?? Buffer.alloc(0))).toContain("team1:x:70001:user1");
  const same = await node.to([...base, member(1, 1)]);
  expect(same.writes).toEqual([]);
});

test("a group that gains a member keeps its place", async () => {
  const node = new Node();
  await node.to([person(1), person(2), team(1), member(1, 1)]);
  const before = await node.file("group.cache.ixgid");
  await node.to([person(1), person(2), team(1), member(1, 1), member(1, 2)]);
  expect(await node.file("group.cache.ixgid")).toEqual(before);
});

test("rendering twice gives the same bytes and changes nothing", async () => {
  const node = new Node();
  await node.to([person(1), person(2)]);
  const step = stepTo(node.copy, [person(2, { name: "other" }), person(3)]);
  const first = await node.sink.render(node.copy, step);
  const second = await node.sink.render(node.copy, step);
  expect(second).toEqual(first);
});

describe("A15: what cannot be served is isolated by name", () => {
  test("a member without a user or a group, until both are there", async () => {
    const node = new Node();
    const { isolated } = await node.to([person(1), team(1), member(1, 1), member(1, 5), member(2, 1)]);
    expect(isolated).toEqual([
      { key: "member/70001/200005", reason: "user 200005 is not known here" },
      { key: "member/70002/200001", reason: "group 70002 is not known here" },
    ]);
    const healed = await node.to([person(1), person(5), team(1), team(2), member(1, 1), member(1, 5), member(2, 1)]);
    expect(healed.isolated).toEqual([]);
    const group = (await node.file("group.cache")) ?? Buffer.alloc(0);
    expect(enumerate("group", group)).toEqual(
      expect.arrayContaining(["team1:x:70001:user1,user5", "team2:x:70002:user1"]),
    );
  });

  test("a group line that no reader takes", async () => {
    const people = Array.from({ length: 33_000 }, (_, n) =>
      person(n, { name: `a-name-of-thirty-one-char-${10_000 + n}` }),
    );
    const node = new Node();
    const { isolated } = await node.to([...people, team(1), ...people.map((_, n) => member(1, n))]);
    expect(isolated.map(({ key }) => key)).toEqual(["group/70001"]);
  }, 30_000);
});

describe("A10: live files are compared with the copy", () => {
  const content = [person(1), person(2), team(1), member(1, 1)];

  test("nothing is written when nothing differs", async () => {
    const node = new Node();
    await node.to(content);
    node.sink = nssSink(node.disk, served);
    expect((await node.repair()).writes).toEqual([]);
  });

  test("any byte changed by a stranger is put right, and slots stay where they were if they can be read", async () => {
    const node = new Node();
    await node.to(content);
    const good = node.disk.files();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...good.keys()), fc.nat(), fc.nat(255), async (path, place, byte) => {
        if (dirname(path) !== `${served}/nss`) return;
        const bytes = Buffer.from(good.get(path) ?? "");
        bytes[place % bytes.length] = byte;
        node.disk.plant(path, bytes, { mode: path.includes("shadow") ? 0o640 : 0o644 });
        await node.repair();
        expect((await node.repair()).writes).toEqual([]);
        const now = await versions(node);
        expect(lookUp("passwd", now.passwd.data, now.passwd.indexes["ixuid"], "200001", 2).kind).toBe("found");
        expect(enumerate("passwd", now.passwd.data)).toHaveLength(3);
      }),
      { numRuns: 300 },
    );
  });

  test("a stranger's file is laid anew with its indexes out of the way first, and no shorter", async () => {
    const node = new Node();
    await node.to(content);
    node.disk.plant(`${served}/nss/passwd.cache`, Buffer.from("root::0:0::/:/bin/sh\n".repeat(5000)));
    const { writes } = await node.repair();
    expect(writes.map(({ path, bytes }) => `${bytes ? "write" : "remove"} ${path}`)).toEqual([
      "remove nss/passwd.cache.ixuid",
      "remove nss/passwd.cache.ixname",
      "write nss/passwd.cache",
      "write nss/passwd.cache.ixuid",
      "write nss/passwd.cache.ixname",
    ]);
    expect((await node.file("passwd.cache"))?.length).toBeGreaterThanOrEqual(105_000);
  });

  test("a mode that lets others in is put right", async () => {
    const node = new Node();
    await node.to(content);
    node.disk.plant(`${served}/nss/shadow.cache`, await node.file("shadow.cache"), { mode: 0o666 });
    expect((await node.repair()).writes.map(({ path }) => path)).toContain("nss/shadow.cache");
  });

  test("a node whose memory is lost serves no leaver after its first snapshot", async () => {
    const node = new Node();
    await node.to(content);
    const next = new Node();
    for (const [path, text] of node.disk.files()) next.disk.plant(path, Buffer.from(text));
    await next.to([person(2)]);
    expect(
      enumerate("passwd", (await next.file("passwd.cache")) ?? Buffer.alloc(0)).map((line) => line.split(":")[0]),
    ).toEqual(["user2", "rollcall.end"]);
  });
});

test("verify finds a staged file that serves somebody else", async () => {
  const node = new Node();
  await node.to([person(1), person(2)]);
  const now = await versions(node);
  const indexes = [{ index: now.passwd.indexes["ixuid"] ?? Buffer.alloc(0), field: 2 as const }];
  const edits: [string, string][] = [
    ["user1:x:200001", "user1:x:200009"],
    ["user2:x", "user2::"],
    ["rollcall.end:*", "##############"],
    ["user1:x", "roo\n1:x"],
  ];
  expect(() => checkStructure("passwd", { data: now.passwd.data, indexes })).not.toThrow();
  for (const [from, to] of edits) {
    const forged = Buffer.from(now.passwd.data.toString().replace(from, to));
    expect(() => checkStructure("passwd", { data: forged, indexes })).toThrow();
  }
});

test("a step of another copy than the one that is live is compared with the files, not assumed to fit them", async () => {
  const node = new Node();
  await node.to([person(1), person(2)]);
  const other = emptyCopy();
  const step = stepTo(other, [person(2)]);
  await node.publish(await node.sink.render(other, step));
  const passwd = (await node.file("passwd.cache")) ?? Buffer.alloc(0);
  expect(enumerate("passwd", passwd).map((line) => line.split(":")[0])).toEqual(["user2", "rollcall.end"]);
});

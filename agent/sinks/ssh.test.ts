import { describe, expect, test } from "vitest";
import { commit, emptyCopy } from "../../identity/copy.ts";
import { type Resource, user } from "../../identity/resource.ts";
import { printSshKey } from "../../identity/ssh-key.ts";
import { key, person, stepTo } from "../sample.ts";
import { SimulatedDisk } from "../simulated-disk.ts";
import type { Rendering, Sink, Write } from "../sink.ts";
import { type Fingerprints, sshSink } from "./ssh.ts";

const folder = "/served/ssh/authorized_keys.d";

class Node {
  readonly disk = new SimulatedDisk();
  readonly copy = emptyCopy();
  readonly sink: Sink;

  constructor(fingerprints?: Fingerprints) {
    this.sink = sshSink(this.disk, "/served", fingerprints);
  }

  async to(resources: readonly Resource[]): Promise<Rendering> {
    const step = stepTo(this.copy, resources);
    const rendering = await this.sink.render(this.copy, step);
    await this.publish(rendering);
    commit(this.copy, step);
    return rendering;
  }

  async publish(rendering: Rendering, forge = (bytes: Uint8Array) => bytes): Promise<void> {
    const staged = new Map<Write, string>();
    for (const write of rendering.writes) {
      const { path, bytes } = write;
      if (!bytes) continue;
      this.disk.plant(`/stage/${path}`, forge(bytes));
      staged.set(write, `/stage/${path}`);
    }
    await this.sink.verify(rendering, staged);
    for (const { path, bytes } of rendering.writes) this.disk.plant(`/served/${path}`, bytes);
    this.sink.settled(rendering);
  }

  files(): Record<string, string> {
    const all = [...this.disk.files()].filter(([path]) => path.startsWith(folder));
    return Object.fromEntries(all.map(([path, text]) => [path.slice(folder.length + 1), text]));
  }
}

const lines = (...keys: ReturnType<typeof key>[]) =>
  keys
    .map(({ key }) => `${printSshKey(key)}\n`)
    .sort()
    .join("");

const said = ({ phase, path, bytes }: Write) => `${phase}: ${bytes ? "write" : "remove"} ${path.split("/").at(-1)}`;

describe("one file per user, sorted lines", () => {
  test("a key that comes is granted, one that goes is revoked", async () => {
    const node = new Node();
    const first = await node.to([person(1), person(2), key(1, 1), key(1, 0)]);
    expect(first.writes.map(said)).toEqual(["grant-keys: write user1"]);
    expect(node.files()).toEqual({ user1: lines(key(1, 0), key(1, 1)) });
    const second = await node.to([person(1), person(2), key(1, 1), key(2, 2)]);
    expect(second.writes.map(said).sort()).toEqual(["grant-keys: write user2", "revoke-keys: write user1"]);
    const third = await node.to([person(1), person(2), key(2, 2)]);
    expect(third.writes.map(said)).toEqual(["revoke-keys: remove user1"]);
  });

  test("a key that expires says so to sshd, in UTC; another time is a revocation", async () => {
    const node = new Node();
    const at = Date.UTC(2031, 0, 2, 3, 4, 5) / 1000;
    await node.to([person(1), key(1, 1, at)]);
    expect(node.files()).toEqual({ user1: `expiry-time="20310102030405Z" ${lines(key(1, 1))}` });
    const sooner = await node.to([person(1), key(1, 1, at - 60)]);
    expect(sooner.writes.map(said)).toEqual(["revoke-keys: write user1"]);
    await node.to([person(1), key(1, 1)]);
    expect(node.files()).toEqual({ user1: lines(key(1, 1)) });
  });

  test("a user who goes takes the file along, a new name moves it, and two may swap names", async () => {
    const node = new Node();
    await node.to([person(1), person(2), person(3), key(1, 1), key(2, 2), key(3, 3)]);
    const swap = [person(1, { name: "user2" }), person(2, { name: "user1" }), key(1, 1), key(2, 2)];
    const { writes } = await node.to(swap);
    expect(writes.map(said).sort()).toEqual([
      "grant-keys: write user1",
      "grant-keys: write user2",
      "revoke-keys: remove user1",
      "revoke-keys: remove user2",
      "revoke-keys: remove user3",
    ]);
  });

  test("who is locked has none, whatever keys they were sent, and has them again afterwards", async () => {
    const node = new Node();
    await node.to([person(1), key(1, 1)]);
    const locked = await node.to([{ ...person(1), locked: true }, key(1, 1), key(1, 2)]);
    expect(locked.writes.map(said)).toEqual(["revoke-keys: remove user1"]);
    expect(locked.isolated).toEqual([]);
    expect((await node.sink.repair(node.copy)).isolated).toEqual([]);
    expect(node.files()).toEqual({});
    await node.to([person(1), key(1, 1)]);
    expect(node.files()).toEqual({ user1: lines(key(1, 1)) });
  });

  test("a step that touches nobody's keys writes nothing", async () => {
    const node = new Node();
    await node.to([person(1), key(1, 1)]);
    expect((await node.to([person(1, { gecos: "Ada" }), person(2), key(1, 1)])).writes).toEqual([]);
  });
});

test("A15: keys of an unknown user are isolated until the user is there", async () => {
  const node = new Node();
  const orphan = await node.to([person(1), key(1, 1), key(5, 2)]);
  expect(orphan.isolated).toMatchObject([{ reason: "user 200005 is not known here" }]);
  expect((await node.to([person(1), key(1, 1), key(5, 2), person(2)])).isolated).toHaveLength(1);
  expect((await node.to([person(1), key(1, 1), key(5, 2), person(5)])).isolated).toEqual([]);
  expect(Object.keys(node.files())).toEqual(["user1", "user5"]);
});

test("A5: repair removes what we did not write, and puts right what was changed", async () => {
  const node = new Node();
  const content = [person(1), person(2), key(1, 1), key(2, 2)];
  await node.to(content);
  const good = node.files();
  node.disk.plant(`${folder}/intruder`, Buffer.from(lines(key(1, 9))));
  node.disk.plant(`${folder}/user1`, Buffer.from(lines(key(1, 1), key(1, 9))));
  node.disk.plant(`${folder}/user2`, undefined);
  const rendering = await node.sink.repair(node.copy);
  expect(rendering.writes.map(said)).toEqual([
    "revoke-keys: remove intruder",
    "revoke-keys: write user1",
    "grant-keys: write user2",
  ]);
  await node.publish(rendering);
  expect(node.files()).toEqual(good);
  expect((await node.sink.repair(node.copy)).writes).toEqual([]);
});

describe("verify", () => {
  const content = [person(1), key(1, 1)];
  const forgeries: [string, (text: string) => string][] = [
    ["an option", (text) => `command="id" ${text}`],
    ["another key", () => lines(key(1, 9))],
    ["no line break", (text) => text.trimEnd()],
    ["nothing", () => ""],
  ];
  for (const [what, forge] of forgeries) {
    test(`refuses a staged file with ${what}`, async () => {
      const node = new Node();
      const rendering = await node.sink.render(node.copy, stepTo(node.copy, content));
      const forged = node.publish(rendering, (bytes) => Buffer.from(forge(Buffer.from(bytes).toString())));
      await expect(forged).rejects.toThrow();
      expect(node.files()).toEqual({});
    });
  }

  test("refuses a key that ssh-keygen does not read", async () => {
    const node = new Node(async () => "256 SHA256:other comment (ED25519)\n");
    await expect(node.to(content)).rejects.toThrow("ssh-keygen does not read");
  });

  test("asks about what is new in a file, and about nothing of one that only loses keys", async () => {
    const asked: string[] = [];
    const node = new Node(async (text) => {
      asked.push(text);
      return undefined;
    });
    await node.to([person(1), person(2), key(1, 1), key(1, 2), key(2, 3)]);
    expect(asked.splice(0).join("").split("\n")).toHaveLength(4);
    await node.to([person(1), person(2), key(1, 1), key(2, 3)]);
    expect(asked, "one of two taken away").toEqual([]);
    await node.to([person(1), person(2), key(1, 1), key(1, 4), key(2, 3)]);
    expect(asked.splice(0)).toEqual([lines(key(1, 4))]);
    await node.to([person(1, { name: "other" }), person(2), key(1, 1), key(1, 4)]);
    expect(asked.splice(0), "another file").toEqual([lines(key(1, 1), key(1, 4))]);
    node.disk.plant(`${folder}/other`, Buffer.from(lines(key(1, 9))));
    await node.publish(await node.sink.repair(node.copy));
    expect(asked.splice(0), "a file that was not ours").toEqual([lines(key(1, 1), key(1, 4))]);
  });

  test("passes without ssh-keygen", async () => {
    await expect(new Node(async () => undefined).to(content)).resolves.toBeDefined();
  });

  test("asks the real ssh-keygen about a thousand users at a time", async () => {
    const people = Array.from({ length: 1_500 }, (_, n) => [person(n), key(n, n)]);
    await expect(new Node().to(people.flat())).resolves.toBeDefined();
  });
});

test("a user whose name is like a path cannot be", () => {
  expect(() => user({ ...person(1), name: "../x" })).toThrow();
});

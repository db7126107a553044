import { describe, expect, test } from "vitest";
import { commit, emptyCopy } from "../../../identity/copy.ts";
import type { Resource } from "../../../identity/resource.ts";
import { parseSudoCommands } from "../../../identity/sudo.ts";
import { member, person, stepTo, sudo, team } from "../../sample.ts";
import { SimulatedDisk } from "../../simulated-disk.ts";
import type { Rendering, Sink, Write } from "../../sink.ts";
import { sudoSink } from "./sink.ts";
import type { Check } from "./visudo.ts";

const live = "/served/sudo/rollcall";
const held = { mode: 0o440 };

class Node {
  readonly disk = new SimulatedDisk();
  readonly copy = emptyCopy();
  readonly sink: Sink;
  /** Content that visudo was asked about. */
  readonly asked: string[] = [];

  constructor(check: Check = async () => undefined) {
    this.sink = sudoSink(this.disk, "/served", async (path) => {
      this.asked.push((await this.disk.read(path))?.bytes.toString() ?? "");
      await check(path);
    });
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
    for (const [at, write] of rendering.writes.entries()) {
      if (!write.bytes) continue;
      this.disk.plant(`/stage/${at}`, forge(write.bytes), write);
      staged.set(write, `/stage/${at}`);
    }
    await this.sink.verify(rendering, staged);
    for (const { path, bytes, mode } of rendering.writes) this.disk.plant(`/served/${path}`, bytes, { mode });
    this.sink.settled(rendering);
  }

  get file(): string | undefined {
    return this.disk.files().get(live);
  }
}

const said = ({ writes }: Rendering) =>
  writes.map(({ phase, bytes }) => `${phase}: ${Buffer.from(bytes ?? []).toString()}`);
const line = (name: string, commands = "/usr/bin/id") => `%${name} ALL=(ALL:ALL) NOPASSWD: ${commands}\n`;

describe("one file, in two acts", () => {
  test("a rule that comes is granted, one that goes is revoked, and one that only changes never leaves", async () => {
    const node = new Node();
    expect(said(await node.to([team(1), sudo(1)]))).toEqual([`grant-sudo: ${line("team1")}`]);
    expect(said(await node.to([team(1), team(2), sudo(1), sudo(2)]))).toEqual([
      `grant-sudo: ${line("team1")}${line("team2")}`,
    ]);
    expect(said(await node.to([team(1), team(2), sudo(2)]))).toEqual([`revoke-sudo: ${line("team2")}`]);
    expect(said(await node.to([team(1), team(2), sudo(1), sudo(2, ["/bin/a", "/usr/bin/id"])]))).toEqual([
      `grant-sudo: ${line("team1")}${line("team2", "/bin/a, /usr/bin/id")}`,
    ]);
    expect(said(await node.to([team(1), team(2), sudo(1, "ALL"), sudo(2, ["/bin/a"])]))).toEqual([
      `revoke-sudo: ${line("team1")}${line("team2", "/bin/a")}`,
      `grant-sudo: ${line("team1", "ALL")}${line("team2", "/bin/a")}`,
    ]);
    expect(said(await node.to([team(1), team(2)]))).toEqual(["revoke-sudo: "]);
    expect(node.file).toBe("");
  });

  test("that a password is asked again is a revocation", async () => {
    const node = new Node();
    await node.to([team(1), sudo(1, "ALL", false)]);
    expect(said(await node.to([team(1), sudo(1, "ALL", true)]))).toEqual([
      "revoke-sudo: %team1 ALL=(ALL:ALL) PASSWD: ALL\n",
    ]);
  });

  test("a group that takes over the name of another gets its rule only when all are renamed", async () => {
    const node = new Node();
    await node.to([team(1, "a"), team(2, "b"), sudo(1)]);
    expect(said(await node.to([team(1, "b"), team(2, "a"), sudo(1)]))).toEqual([
      "revoke-sudo: ",
      `grant-sudo: ${line("b")}`,
    ]);
  });

  test("a step that touches no rule and no group writes nothing, and asks nobody", async () => {
    const node = new Node();
    await node.to([person(1), team(1), sudo(1), sudo(5)]);
    node.asked.length = 0;
    const { writes, isolated } = await node.to([person(1), team(1), sudo(1), sudo(5), member(1, 1)]);
    expect({ writes, isolated: isolated.length, asked: node.asked }).toEqual({ writes: [], isolated: 1, asked: [] });
  });

  test("without rules there is no file, and nobody is asked", async () => {
    const node = new Node();
    expect((await node.to([person(1), team(1)])).writes).toEqual([]);
    expect(node.asked).toEqual([]);
  });
});

test("A15: a rule of an unknown group is isolated, alone, until the group is there", async () => {
  const node = new Node();
  const { isolated } = await node.to([team(1), sudo(1), sudo(7)]);
  expect(isolated).toEqual([{ key: "sudo/70007", reason: "group 70007 is not known here" }]);
  expect(node.file).toBe(line("team1"));
  expect((await node.to([team(1), team(7), sudo(1), sudo(7)])).isolated).toEqual([]);
  expect(node.file).toBe(line("team1") + line("team7"));
});

describe("A5, A10: repair", () => {
  const content = [team(1), sudo(1, ["/bin/a", "/usr/bin/id"])];
  const good = line("team1", "/bin/a, /usr/bin/id");

  test.each<[string, string, readonly string[]]>([
    ["a rule of a stranger's", good + line("zoo", "ALL"), [`revoke-sudo: ${good}`]],
    ["a wider rule", line("team1", "ALL"), [`revoke-sudo: ${good}`]],
    ["a narrower rule", line("team1", "/bin/a"), [`grant-sudo: ${good}`]],
    ["a user", `ada ALL=(ALL:ALL) NOPASSWD: ALL\n${good}`, ["revoke-sudo: ", `grant-sudo: ${good}`]],
    ["a comment", `# mine\n${good}`, ["revoke-sudo: ", `grant-sudo: ${good}`]],
  ])("puts right %s", async (_, found, writes) => {
    const node = new Node();
    await node.to(content);
    node.disk.plant(live, Buffer.from(found), held);
    const rendering = await node.sink.repair(node.copy);
    expect(said(rendering)).toEqual(writes);
    await node.publish(rendering);
    expect(node.file).toBe(good);
    expect((await node.sink.repair(node.copy)).writes).toEqual([]);
  });

  test.each([0o644, 0o640, 0o666, 0o400])("puts right the mode %o", async (mode) => {
    const node = new Node();
    await node.to(content);
    node.disk.plant(live, Buffer.from(good), { mode });
    expect(said(await node.sink.repair(node.copy))).toEqual([`revoke-sudo: ${good}`]);
  });

  test("brings back a missing file", async () => {
    const node = new Node();
    await node.to(content);
    node.disk.plant(live, undefined);
    expect(said(await node.sink.repair(node.copy))).toEqual([`grant-sudo: ${good}`]);
  });
});

describe("verify", () => {
  const forgeries: [string, (text: string) => string][] = [
    ["everybody", (text) => `ALL ALL=(ALL:ALL) NOPASSWD: ALL\n${text}`],
    ["half of it", (text) => text.slice(0, -4)],
    ["nothing", () => ""],
  ];
  test.each(forgeries)("refuses a staged file with %s", async (_, forge) => {
    const node = new Node();
    const rendering = await node.sink.render(node.copy, stepTo(node.copy, [team(1), sudo(1)]));
    const forged = node.publish(rendering, (bytes) => Buffer.from(forge(Buffer.from(bytes).toString())));
    await expect(forged).rejects.toThrow("is not what was rendered");
    expect(node.file).toBeUndefined();
  });

  test("asks visudo about what grants more, and a revocation waits for nobody", async () => {
    let here = true;
    const node = new Node(async () => {
      if (!here) throw new Error("visudo could not be run");
    });
    await node.to([team(1), team(2), sudo(1, parseSudoCommands(["/bin/a", "/bin/b"])), sudo(2)]);
    expect(node.asked).toEqual([node.file]);
    here = false;
    await expect(node.to([team(1), sudo(1, ["/bin/c"])])).rejects.toThrow("visudo could not be run");
    await node.to([team(1), sudo(1, ["/bin/a"])]);
    expect(node.file).toBe(line("team1", "/bin/a"));
  });
});

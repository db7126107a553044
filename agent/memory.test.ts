import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { commit, emptyCopy } from "../identity/copy.ts";
import { origin } from "../identity/position.ts";
import { foldersIn } from "./folders.ts";
import { type Memory, recall } from "./memory.ts";
import { key, member, person, stepTo, team } from "./sample.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const folders = foldersIn("/state");
const journal = "/state/private/journal";
const base = "/state/private/base";

const story = [
  [person(1)],
  [person(1), person(2), team(1), member(1, 2)],
  [person(2, { gecos: "Zoë" }), team(1), member(1, 2), key(2, 0)],
  [person(2)],
];

async function told(disk: SimulatedDisk, upTo = story.length): Promise<Memory> {
  const { memory } = await recall(disk, folders);
  for (const content of story.slice(0, upTo)) {
    await memory.begin(stepTo(memory.copy, content));
    await memory.done();
  }
  return memory;
}

/** Every copy that the story passes through, first to last. */
const copies = story.reduce(
  (all, content) => {
    const next = { ...emptyCopy() };
    for (const past of story.slice(0, story.indexOf(content) + 1)) commit(next, stepTo(next, past));
    return [...all, next];
  },
  [emptyCopy()],
);

describe("A4: what was done survives", () => {
  test("a restart recalls the copy, its position and the highest ids", async () => {
    const disk = new SimulatedDisk();
    const before = await told(disk);
    const { memory, warning } = await recall(disk.after("power cut"), folders);
    expect(warning).toBeUndefined();
    expect(memory.copy).toEqual(before.copy);
    expect(memory.unfinished).toBeUndefined();
    expect(memory.highest).toEqual({ uid: 200_002, gid: 200_002 });
  });

  test("so it does through a compaction, which keeps ids of people who are gone", async () => {
    const disk = new SimulatedDisk();
    const before = await told(disk);
    await before.begin(stepTo(before.copy, []));
    await before.done();
    await before.compact();
    const { memory } = await recall(disk.after("power cut"), folders);
    expect(memory.copy).toEqual(before.copy);
    expect(memory.highest).toEqual({ uid: 200_002, gid: 200_002 });
  });

  test("a journal cut at any byte gives a state of the story, begun steps as unfinished", async () => {
    const disk = new SimulatedDisk();
    await told(disk);
    const whole = (await disk.read(journal))?.bytes ?? Buffer.alloc(0);
    let last = 0;
    for (let length = 0; length <= whole.length; length++) {
      const cut = disk.after("kill");
      cut.plant(journal, whole.subarray(0, length));
      const { memory, warning } = await recall(cut, folders);
      const found = copies.findIndex((copy) => copy.at.revision === memory.copy.at.revision);
      expect(memory.copy).toEqual(copies[found]);
      expect(memory.at).toEqual((memory.unfinished ? copies[found - 1] : copies[found])?.at);
      if (warning === undefined) expect(found).toBeGreaterThanOrEqual(last);
      last = found;
      // The torn end is gone for good: what is written next can be read.
      if (memory.unfinished) await memory.done();
      await memory.begin(stepTo(memory.copy, [person(7)]));
      expect((await recall(cut, folders)).memory.unfinished).toEqual(memory.unfinished);
    }
    expect(last).toBe(story.length);
  });

  test("killed or cut from power at any call of a compaction, nothing is lost", async () => {
    for (const torn of [false, true]) {
      for (let at = 1; ; at++) {
        const disk = new SimulatedDisk();
        const before = await told(disk, 2);
        disk.fault = { kind: "killed", at: disk.calls + at, torn };
        const survived = await before.compact().then(
          () => true,
          () => false,
        );
        for (const end of ["kill", "power cut"] as const) {
          const after = await recall(disk.after(end), folders);
          expect(after.warning).toBeUndefined();
          expect(after.memory.copy).toEqual(before.copy);
        }
        if (survived) break;
      }
    }
  });

  test("a compaction that fails half way is finished by the next step", async () => {
    for (let at = 1; ; at++) {
      const disk = new SimulatedDisk();
      const memory = await told(disk, 2);
      disk.fault = { kind: "errno", at: disk.calls + at, code: "ENOSPC" };
      const survived = await memory.compact().then(
        () => true,
        () => false,
      );
      disk.fault = undefined;
      await memory.begin(stepTo(memory.copy, story[2] ?? []));
      await memory.done();
      expect((await recall(disk.after("power cut"), folders)).memory.copy).toEqual(memory.copy);
      if (survived) break;
    }
  });
});

describe("A6: a step that cannot be recorded was never begun", () => {
  test("a full disk tears the frame; the copy stays, and the next step is readable", async () => {
    const disk = new SimulatedDisk();
    const memory = await told(disk, 2);
    const step = stepTo(memory.copy, story[2] ?? []);
    disk.fault = { kind: "errno", at: disk.calls + 1, code: "ENOSPC" };
    await expect(memory.begin(step)).rejects.toThrow("ENOSPC");
    expect(memory.copy).toEqual(copies[2]);
    expect((await recall(disk.after("kill"), folders)).memory.copy).toEqual(copies[2]);
    await memory.begin(step);
    expect(memory.at).toEqual(copies[2]?.at);
    await memory.done();
    expect((await recall(disk.after("kill"), folders)).memory.copy).toEqual(copies[3]);
  });

  test("a step of another copy, or a second one, is not begun", async () => {
    const memory = await told(new SimulatedDisk(), 2);
    await expect(memory.begin(stepTo(emptyCopy(), [person(1)]))).rejects.toThrow("not prepared for this copy");
    await memory.begin(stepTo(memory.copy, []));
    await expect(memory.begin(stepTo(memory.copy, [person(1)]))).rejects.toThrow("unfinished");
  });
});

describe("damage is not guessed at", () => {
  test("any changed byte of the base leads to origin, with a warning", async () => {
    const disk = new SimulatedDisk();
    await (await told(disk)).compact();
    const bytes = (await disk.read(base))?.bytes ?? Buffer.alloc(0);
    for (let at = 0; at < bytes.length; at++) {
      const hurt = disk.after("kill");
      const forged = Buffer.from(bytes);
      forged[at] = (forged[at] ?? 0) ^ 1;
      hurt.plant(base, forged);
      const { memory, warning } = await recall(hurt, folders);
      expect(memory.at).toEqual(origin);
      expect(warning).toContain("a snapshot is needed");
      expect((await recall(hurt, folders)).warning).toBeUndefined();
    }
  });

  test("a changed byte inside the journal is no torn end", async () => {
    const disk = new SimulatedDisk();
    await told(disk);
    const bytes = (await disk.read(journal))?.bytes ?? Buffer.alloc(0);
    const lastFrame = bytes.lastIndexOf("done\n");
    for (let at = 0; at < lastFrame; at++) {
      const hurt = disk.after("kill");
      const forged = Buffer.from(bytes);
      forged[at] = (forged[at] ?? 0) ^ 1;
      hurt.plant(journal, forged);
      expect((await recall(hurt, folders)).memory.at).toEqual(origin);
    }
  });

  test("a base or a journal that is gone", async () => {
    for (const path of [base, journal]) {
      const disk = new SimulatedDisk();
      await (await told(disk)).compact();
      disk.plant(path, undefined);
      const { memory, warning } = await recall(disk, folders);
      expect(memory.at).toEqual(origin);
      expect(warning).toContain("missing");
    }
  });
});

describe("a base in another format", () => {
  /** A whole base, with the sum that every format ends with, that says it has some format. */
  async function inFormat(format: string): Promise<SimulatedDisk> {
    const disk = new SimulatedDisk();
    await (await told(disk)).compact();
    const text = (await disk.read(base))?.bytes.toString() ?? "";
    const body = text.replace(/^rollcall memory 1\n/, format).replace(/sum [0-9a-f]{64}\n$/, "");
    disk.plant(base, Buffer.from(`${body}sum ${createHash("sha256").update(body).digest("hex")}\n`));
    return disk;
  }

  test("a newer agent's is refused with what to do, and not touched", async () => {
    for (const format of ["rollcall memory 2\n", "rollcall memory 17\nof another shape altogether\n"]) {
      const disk = await inFormat(format);
      const before = disk.files();
      await expect(recall(disk, folders)).rejects.toThrow(
        /^\/state\/private\/base is of a newer agent \(format \d+; this one reads 1\): run that agent again, or remove /,
      );
      expect(disk.files()).toEqual(before);
    }
  });

  test("an older agent's that is not read any more starts anew, and is kept aside", async () => {
    const disk = await inFormat("rollcall memory 0\n");
    const { memory, warning } = await recall(disk, folders);
    expect(warning).toContain("format 0 is of an older agent, and not read any more");
    expect(memory.at).toEqual(origin);
    expect(disk.files().get(`${base}.damaged`)).toMatch(/^rollcall memory 0\n/);
  });

  test("one that says none is no memory", async () => {
    const { memory, warning } = await recall(await inFormat(""), folders);
    expect(warning).toContain("does not begin with its format");
    expect(memory.at).toEqual(origin);
  });
});

test("the journal is bulky once it outgrows its base and a megabyte", async () => {
  const memory = await told(new SimulatedDisk());
  expect(memory.bulky).toBe(false);
  const people = Array.from({ length: 20_000 }, (_, n) => person(n));
  await memory.begin(stepTo(memory.copy, people));
  await memory.done();
  expect(memory.bulky).toBe(true);
  await memory.compact();
  expect(memory.bulky).toBe(false);
});

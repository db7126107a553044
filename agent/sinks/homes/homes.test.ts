/**
 * Homes on a real file system, in layouts that somebody without root's rights could have arranged, and in some that only root could: nothing
 * that exists is changed, nothing outside is written, and nobody else's home waits.
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempDisposableSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { emptyCopy } from "../../../identity/copy.ts";
import { keyOf, type Resource } from "../../../identity/resource.ts";
import type { Homes } from "../../policy/policy.ts";
import { firstStep, person, stepTo } from "../../sample.ts";
import type { Isolated } from "../../sink.ts";
import { type Home, makeHome } from "./make.ts";
import { homesSink } from "./sink.ts";
import { readSkeleton } from "./skeleton.ts";

const uid = 200_001;

/** A folder of root's (so is its parent), with a skeleton and homes in it. */
function ground() {
  const folder = mkdtempDisposableSync("/run/rollcall-homes-");
  chmodSync(folder.path, 0o755);
  const at = (...names: string[]) => join(folder.path, ...names);
  mkdirSync(at("homes"), { mode: 0o755 });
  mkdirSync(at("skel/.config/deep"), { recursive: true, mode: 0o755 });
  writeFileSync(at("skel/.bashrc"), "umask 077\n", { mode: 0o644 });
  writeFileSync(at("skel/.config/deep/tool"), "#!/bin/sh\n", { mode: 0o755 });
  chmodSync(at("skel/.config/deep/tool"), 0o4755);
  symlinkSync("/etc/shadow", at("skel/.link"));
  return { at, [Symbol.dispose]: () => folder.remove() };
}

const home = (path: string): Home => ({ path, uid, gid: uid });

async function make(at: (...names: string[]) => string, path = at("homes/ada"), mode = 0o700) {
  return makeHome(home(path), { skeleton: await readSkeleton(at("skel")), mode, tag: "n1" });
}

/** Every entry below a folder: kind, mode, owner, and content or target. */
function tree(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  return Object.fromEntries(
    ["", ...entries].map((name) => {
      const path = join(folder, name);
      const found = lstatSync(path);
      const held = `${(found.mode & 0o7777).toString(8)} ${found.uid}:${found.gid}`;
      if (found.isSymbolicLink()) return [name, `link ${found.uid}:${found.gid} ${readlinkSync(path)}`];
      return [name, found.isDirectory() ? `folder ${held}` : `file ${held} ${readFileSync(path, "utf8").trim()}`];
    }),
  );
}

describe.runIf(process.geteuid?.() === 0)("a home", () => {
  test("holds the skeleton, and is its owner's, whole", async () => {
    using here = ground();
    expect(await make(here.at)).toBe("made");
    expect(tree(here.at("homes/ada"))).toEqual({
      "": "folder 700 200001:200001",
      ".bashrc": "file 644 200001:200001 umask 077",
      ".config": "folder 755 200001:200001",
      ".config/deep": "folder 755 200001:200001",
      ".config/deep/tool": "file 755 200001:200001 #!/bin/sh",
      ".link": "link 200001:200001 /etc/shadow",
    });
    expect(readdirSync(here.at("homes"))).toEqual(["ada"]);
    expect(lstatSync("/etc/shadow").uid).toBe(0);
  });

  test("that is there is left as it is, whosesoever it is", async () => {
    using here = ground();
    mkdirSync(here.at("homes/ada"));
    chownSync(here.at("homes/ada"), 4_242, 4_242);
    mkdirSync(here.at("elsewhere"));
    symlinkSync(here.at("elsewhere"), here.at("homes/bob"));
    const before = [tree(here.at("homes")), tree(here.at("elsewhere"))];
    expect(await make(here.at)).toBe("there");
    expect(await make(here.at, here.at("homes/bob"))).toBe("there");
    expect([tree(here.at("homes")), tree(here.at("elsewhere"))]).toEqual(before);
  });

  test.each<[string, (at: (...names: string[]) => string) => string, RegExp]>([
    [
      "a link to nowhere in its place",
      (at) => (symlinkSync(at("outside"), at("homes/ada")), at("homes/ada")),
      /is there, and is a symlink to no folder/,
    ],
    [
      "a link to a file in its place",
      (at) => (symlinkSync("/etc/shadow", at("homes/ada")), at("homes/ada")),
      /is there, and is a symlink to no folder/,
    ],
    ["a file in its place", (at) => (writeFileSync(at("homes/ada"), ""), at("homes/ada")), /is no folder: left alone/],
    [
      "a link as the parent",
      (at) => (mkdirSync(at("outside")), symlinkSync(at("outside"), at("homes/x")), at("homes/x/ada")),
      /homes\/x is a symlink/,
    ],
    [
      "a link on the way to the parent",
      (at) => (mkdirSync(at("outside/x"), { recursive: true }), symlinkSync(at("outside"), at("l")), at("l/x/ada")),
      /\/l is a symlink/,
    ],
    [
      "a parent of somebody's",
      (at) => (mkdirSync(at("homes/x")), chownSync(at("homes/x"), 4_242, 0), at("homes/x/ada")),
      /homes\/x belongs to uid 4242, not to root/,
    ],
    [
      "a parent that a group may write",
      (at) => (mkdirSync(at("homes/x")), chmodSync(at("homes/x"), 0o775), at("homes/x/ada")),
      /homes\/x may be written by others than root/,
    ],
    [
      "a parent like /tmp",
      (at) => (mkdirSync(at("homes/x")), chmodSync(at("homes/x"), 0o1777), at("homes/x/ada")),
      /homes\/x may be written by others than root/,
    ],
    ["no parent", (at) => at("homes/x/ada"), /ENOENT/],
    ["a way up", (at) => `${at("homes")}/../homes/ada`, /no plain path/],
  ])("is not made where there is %s", async (_, arrange, why) => {
    using here = ground();
    const path = arrange(here.at);
    const before = tree(here.at());
    await expect(make(here.at, path)).rejects.toThrow(why);
    expect(tree(here.at())).toEqual(before);
  });

  test.each<[string, (at: (...names: string[]) => string) => void, RegExp]>([
    ["a pipe", (at) => execFileSync("mkfifo", [at("skel/pipe")]), /pipe is no file, folder or link/],
    ["a device", (at) => execFileSync("mknod", [at("skel/null"), "c", "1", "3"]), /null is no file, folder or link/],
    ["somebody's file", (at) => chownSync(at("skel/.bashrc"), uid, 0), /\.bashrc belongs to uid 200001/],
    ["a file that others may write", (at) => chmodSync(at("skel/.bashrc"), 0o666), /\.bashrc may be written/],
    ["somebody's folder", (at) => chownSync(at("skel/.config"), uid, 0), /\.config belongs to uid/],
    ["too much", (at) => writeFileSync(at("skel/big"), Buffer.alloc(5_000_000)), /more than 4194304 bytes/],
    [
      "a link in its own place",
      (at) => (renameSync(at("skel"), at("other")), symlinkSync(at("other"), at("skel"))),
      /skel is a symlink/,
    ],
    ["nothing in its place", (at) => renameSync(at("skel"), at("other")), /ENOENT/],
  ])("is made of no skeleton with %s", async (_, arrange, why) => {
    using here = ground();
    arrange(here.at);
    await expect(make(here.at)).rejects.toThrow(why);
    expect(readdirSync(here.at("homes"))).toEqual([]);
  });

  test("never follows a link that others plant while it is made", async () => {
    using here = ground();
    mkdirSync(here.at("secret"), { mode: 0o700 });
    mkdirSync(here.at("shared"), { mode: 0o755 });
    chownSync(here.at("shared"), uid + 1, 0);
    // Somebody who may write in the parent exchanges it and its entries for links without a pause, as fast as a process can.
    const script = `
      chdir $ARGV[0]; my $n = 0;
      while (1) {
        for my $name ("ada", ".rollcall-home-${uid}-n1", ".rollcall-home-${uid}-n1/.config") {
          symlink("../secret", $name); unlink($name); mkdir($name); rmdir($name);
        }
      }`;
    const { spawn } = await import("node:child_process");
    const racer = spawn("perl", ["-e", script, here.at("shared")], { uid: uid + 1, gid: uid + 1, stdio: "ignore" });
    try {
      const tries = Array.from({ length: 200 }, () => make(here.at, here.at("shared/ada")).catch(() => undefined));
      expect(new Set(await Promise.all(tries))).toEqual(new Set([undefined]));
      // With the parent made root's under their eyes, they may still have it open: no more than that.
      for (let n = 0; n < 50; n++) {
        chownSync(here.at("shared"), 0, 0);
        await make(here.at, here.at(`shared/new${n}`)).catch(() => undefined);
        chownSync(here.at("shared"), uid + 1, 0);
      }
    } finally {
      racer.kill("SIGKILL");
    }
    expect(tree(here.at("secret"))).toEqual({ "": "folder 700 0:0" });
    expect(lstatSync("/etc/shadow").uid).toBe(0);
  });

  test.each([0o700, 0o755])("mode %o: wherever a node went down, the next try ends at a whole home", async (mode) => {
    using here = ground();
    await make(here.at, here.at("homes/whole"), mode);
    const whole = tree(here.at("homes/whole"));
    const draft = here.at(`homes/.rollcall-home-${uid}-n1`);
    const stages: (() => void)[] = [
      () => mkdirSync(draft, { mode: 0o700 }),
      () => writeFileSync(join(draft, ".bashrc"), "um", { mode: 0o600 }),
      () => (mkdirSync(join(draft, ".config/deep"), { recursive: true }), chownSync(join(draft, ".config"), uid, uid)),
      () => (chmodSync(join(draft, ".config"), 0o500), lchownSync(join(draft, ".config/deep"), uid, uid)),
    ];
    for (let count = 1; count <= stages.length; count++) {
      for (const stage of stages.slice(0, count)) stage();
      expect(await make(here.at, here.at(`homes/half${count}`), mode), `stage ${count}`).toBe("made");
      expect(tree(here.at(`homes/half${count}`))).toEqual(whole);
    }
    // Given away, or as good as: only the last calls are missing.
    execFileSync("cp", ["-a", here.at("homes/whole"), draft]);
    if (mode !== 0o700) chownSync(draft, 0, 0);
    expect(await make(here.at, here.at("homes/late"), mode)).toBe("made");
    expect(tree(here.at("homes/late"))).toEqual(whole);
    expect(readdirSync(here.at("homes")).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("of another node's making is not touched", async () => {
    using here = ground();
    const theirs = here.at(`homes/.rollcall-home-${uid}-n2`);
    mkdirSync(theirs, { mode: 0o700 });
    await make(here.at);
    expect(readdirSync(here.at("homes")).sort()).toEqual([`.rollcall-home-${uid}-n2`, "ada"]);
  });

  test("hard links into the skeleton are copies, not the files", async () => {
    using here = ground();
    linkSync(here.at("skel/.bashrc"), here.at("skel/second"));
    await make(here.at);
    expect(lstatSync(here.at("homes/ada/second")).nlink).toBe(1);
    expect(lstatSync(here.at("skel/.bashrc")).uid).toBe(0);
  });
});

describe.runIf(process.geteuid?.() === 0)("the homes of a node", () => {
  function node(here: ReturnType<typeof ground>, rule: Partial<Homes> | undefined = {}) {
    const stop = new AbortController();
    let now = 0;
    const waits: { readonly ms: number; readonly wake: () => void }[] = [];
    const told: string[] = [];
    const usual: Homes = { skeleton: here.at("skel"), mode: 0o700, below: [here.at("homes")], mounted: [] };
    let homes: Homes | undefined = rule && { ...usual, ...rule };
    const sink = homesSink({
      rule: () => homes,
      tag: "n1",
      own: here.at("skel"),
      clock: {
        now: () => 0,
        elapsed: () => now,
        sleep: (ms, signal) =>
          new Promise((wake) => {
            waits.push({ ms, wake });
            signal.addEventListener("abort", () => wake(), { once: true });
          }),
        random: () => 0.5,
      },
      signal: stop.signal,
      tell: (what, facts) => told.push(`${what} ${JSON.stringify(facts)}`),
    });
    const copy = emptyCopy();
    return {
      told,
      set rule(next: Homes | undefined) {
        homes = next;
      },
      usual,
      see: async (people: readonly Resource[], isWhole = false): Promise<readonly Isolated[]> => {
        const step = copy.resources.size === 0 ? firstStep(people) : stepTo(copy, people);
        return (await sink.act?.({ step: isWhole ? undefined : step, shown: people, isWhole })) ?? [];
      },
      pass: (ms: number) => {
        now += ms;
        for (const { wake } of waits.splice(0).filter((each) => each.ms <= ms)) wake();
      },
      [Symbol.dispose]: () => stop.abort(),
    };
  }

  const at = (here: ReturnType<typeof ground>, n: number, name = `user${n}`) => ({
    ...person(n),
    home: here.at("homes", name),
  });

  test("are made below the folders that the policy names, and for nobody who is locked", async () => {
    using here = ground();
    using own = node(here);
    const people = [at(here, 1), { ...at(here, 2), locked: true }, { ...person(3), home: here.at("other/user3") }];
    expect(await own.see(people)).toEqual([]);
    expect(readdirSync(here.at("homes"))).toEqual(["user1"]);
    using none = node(here, undefined);
    none.rule = undefined;
    expect(await none.see([at(here, 4)])).toEqual([]);
    expect(readdirSync(here.at("homes"))).toEqual(["user1"]);
  });

  test("fail one by one, by name, and are tried again at the next step and each minute", async () => {
    using here = ground();
    using own = node(here);
    writeFileSync(here.at("homes/user1"), "");
    writeFileSync(here.at("homes/user2"), "");
    const failed = await own.see([at(here, 1), at(here, 2), at(here, 3)]);
    expect(failed.map(({ key }) => key)).toEqual(["user/200001", "user/200002"]);
    expect(failed[0]?.reason).toBe(
      `home ${here.at("homes/user1")}: ${here.at("homes/user1")} is there, and is no folder: left alone`,
    );
    expect(lstatSync(here.at("homes/user3")).uid).toBe(200_003);
    renameSync(here.at("homes/user1"), here.at("away1"));
    expect((await own.see([at(here, 4)])).map(({ key }) => key)).toEqual(["user/200002"]);
    expect(lstatSync(here.at("homes/user1")).uid).toBe(200_001);
    renameSync(here.at("homes/user2"), here.at("away2"));
    own.pass(60_000);
    for (const end = Date.now() + 5_000; Date.now() < end && !readdirSync(here.at("homes")).includes("user2"); )
      await sleep(5);
    expect(lstatSync(here.at("homes/user2")).uid).toBe(200_002);
    expect(own.told.filter((line) => line.startsWith("a home cannot"))).toHaveLength(2);
  });

  test("wait for a share that the policy says is mounted", async () => {
    using here = ground();
    using own = node(here, { mounted: [here.at("homes")] });
    expect(await own.see([at(here, 1)])).toEqual([
      { key: "user/200001", reason: `home ${here.at("homes/user1")}: ${here.at("homes")} is not mounted` },
    ]);
    expect(readdirSync(here.at("homes"))).toEqual([]);
    // As a service manager does it for a folder that may be written: it is no share.
    execFileSync("mount", ["--bind", here.at("homes"), here.at("homes")]);
    expect(await own.see([at(here, 1)])).toHaveLength(1);
    execFileSync("umount", [here.at("homes")]);
    execFileSync("mount", ["-t", "tmpfs", "-o", "mode=755", "none", here.at("homes")]);
    try {
      expect(await own.see([at(here, 2)])).toEqual([]);
      expect(readdirSync(here.at("homes")).sort()).toEqual(["user1", "user2"]);
    } finally {
      execFileSync("umount", [here.at("homes")]);
    }
  });

  test("wait for it in a container too, whose root is another file system than the node's", async () => {
    using here = ground();
    mkdirSync(here.at("pod"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "mode=755", "none", here.at("pod")]);
    const homes = here.at("pod/homes");
    try {
      mkdirSync(homes);
      execFileSync("mount", ["--bind", here.at("homes"), homes]);
      using own = node(here, { below: [homes], mounted: [homes] });
      const user = { ...at(here, 1), home: `${homes}/user1` };
      expect(await own.see([user])).toEqual([
        { key: "user/200001", reason: `home ${user.home}: ${homes} is not mounted` },
      ]);
      expect(readdirSync(homes)).toEqual([]);
    } finally {
      execFileSync("umount", ["-R", here.at("pod")]);
    }
  });

  test("keep nobody waiting on a file system that does not answer, and are made once it does", async () => {
    using here = ground();
    execFileSync("truncate", ["-s", "16M", here.at("image")]);
    execFileSync("mkfs.ext4", ["-q", here.at("image")]);
    execFileSync("mount", ["-o", "loop", here.at("image"), here.at("homes")]);
    try {
      execFileSync("fsfreeze", ["--freeze", here.at("homes")]);
      using own = node(here);
      const waiting = own.see([at(here, 1)]);
      own.pass(2_000);
      const stuck = { key: "user/200001", reason: `home ${here.at("homes/user1")}: the file system does not answer` };
      expect(await waiting).toEqual([stuck]);
      expect(await own.see([at(here, 2)]), "the next step does not even wait").toEqual([stuck]);
      execFileSync("fsfreeze", ["--unfreeze", here.at("homes")]);
      const made = () => readdirSync(here.at("homes")).filter((name) => name !== "lost+found");
      await expect.poll(() => made().sort(), { timeout: 10_000 }).toEqual(["user1", "user2"]);
    } finally {
      spawnSync("fsfreeze", ["--unfreeze", here.at("homes")]);
      await expect.poll(() => spawnSync("umount", [here.at("homes")]).status, { timeout: 10_000 }).toBe(0);
    }
  });

  test("of many are made by one list of what is there, and those of people who left are forgotten", async () => {
    using here = ground();
    using own = node(here);
    const people = Array.from({ length: 120 }, (_, n) => at(here, n));
    for (const { home: path } of people.slice(0, 100)) mkdirSync(path);
    expect(await own.see(people, true)).toEqual([]);
    expect(readdirSync(here.at("homes"))).toHaveLength(120);
    expect(own.told).toHaveLength(20);
    expect(people.map(keyOf)).toHaveLength(120);
  });
});

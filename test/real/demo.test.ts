/** `npm run demo` as a visitor runs it: it does what the README says, can be looked around in, and leaves nothing. */

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposable, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { normalise, transcriptIn } from "../../demo/transcript.ts";
import { describeHosts } from "../lab/suite.ts";
import { Started } from "../processes/started.ts";

const repo = fileURLToPath(new URL("../..", import.meta.url));
const limit = { timeout: 200_000 };

describeHosts("the demo on test hosts", () => {
  test("prints the README's transcript, in less than two minutes", limit, async () => {
    const { code, stdout, stderr, seconds } = await ended(start([]));
    expect([code, stderr]).toEqual([0, ""]);
    expect(seconds).toBeLessThan(120);
    const transcript = transcriptIn(await readFile(join(repo, "README.md"), "utf8"));
    expect(normalise(stdout)).toBe(normalise(transcript ?? "README.md has no <!-- demo --> block"));
  });

  test("with --keep lets one into its hosts, until ^C", limit, async () => {
    await using demo = start(["--keep"]);
    const [, enter = ""] = await demo.says(/^ +(\S+\/in) control rollcall node list$/m, 120_000);
    const inside = promisify(execFile);
    expect((await inside(enter, ["login-1", "hostname"])).stdout).toBe("login-1\n");
    expect((await inside(enter, ["control", "rollcall", "rollout", "status"])).stdout).toContain("4 of 4");
    await expect(inside(enter, ["nowhere", "true"])).rejects.toMatchObject({ code: 2 });
    expect(await demo.end("SIGINT")).toBe(0);
    await expect(readFile(enter)).rejects.toThrow("ENOENT");
  });
});

test("without test hosts it says so, tells the story by files, and leaves none", limit, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "demo-test-"));
  const { code, stdout, stderr } = await ended(start(["--plain"], folder.path));
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("You asked for no test hosts.\n");
  expect(stdout).toContain("Rollout r4 complete: 4 of 4 nodes.\n");
  expect(stdout).toContain("ada:x:200000:200000:Ada Lovelace:/home/ada:/bin/bash\n");
  expect(stdout).toMatch(/Rollout r5 progressing: 3 of 4 nodes\.\n.*\n +compute-2 .*stale, last heard/);
  expect(stdout).toContain("Rollout r5 complete: 4 of 4 nodes.\n");
  expect(stdout).toMatch(/delivered +delta\n/);
  expect(await readdir(folder.path)).toEqual([]);
});

test("at ^C it leaves no process and no file", limit, async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "demo-test-"));
  await using demo = start(["--plain"], folder.path);
  await demo.says(/^2\. /m, 60_000);
  await demo.says(/login-1\$ rollcall-agent/, 60_000);
  const [stage = ""] = await readdir(folder.path);
  expect(await demo.end("SIGINT")).toBe(130);
  expect(await readdir(folder.path)).toEqual([]);
  await expect.poll(() => processesIn(stage)).toEqual([]);
});

test("facts come as JSON with -o json", limit, async () => {
  const { code, stdout } = await ended(start(["--plain", "-o", "json"]));
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    stage: "plain",
    acks: [{ by: "delta" }, { by: "delta" }, { by: "delta" }, { by: "delta" }],
    stale: { node: "compute-2" },
    healed: { node: "compute-2", by: "delta" },
  });
});

function start(args: readonly string[], temporary = tmpdir()): Started {
  const env = { ...process.env, TMPDIR: temporary };
  return new Started(spawn(process.execPath, [join(repo, "demo/demo.ts"), ...args], { env, stdio: "pipe" }));
}

async function ended(demo: Started) {
  const from = Date.now();
  const [code] = (await once(demo.process, "close")) as [number | null];
  return { code, stdout: demo.stdout, stderr: demo.stderr, seconds: (Date.now() - from) / 1000 };
}

/** Command lines that name a folder. */
async function processesIn(folder: string): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return lines.filter((line) => line.includes(folder));
}

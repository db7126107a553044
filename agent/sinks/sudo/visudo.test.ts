import { chmod, mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { errnoOf } from "../../disk.ts";
import { visudoWithin } from "./visudo.ts";

afterEach(() => vi.unstubAllEnvs());

/** Asks a visudo that is this script. */
async function ask(script: string, timeout = 10_000): Promise<unknown> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-visudo-"));
  const program = join(folder.path, "visudo");
  await writeFile(program, script);
  await chmod(program, 0o755);
  vi.stubEnv("PATH", `${folder.path}:${process.env["PATH"]}`);
  return await visudoWithin("/stage/1.rollcall", timeout).catch((error: unknown) => error);
}

test("a good file is passed, by the flags that touch nothing", async () => {
  expect(await ask('#!/bin/sh\n[ "$*" = "-cf /stage/1.rollcall" ]\n')).toBeUndefined();
});

test("what it refuses is said in one line, and will be refused again", async () => {
  const error = await ask("#!/bin/sh\nprintf '%s:1:2: syntax\\n error' $2 >&2; exit 1\n");
  expect(String(error)).toBe("Error: visudo refuses the file: it:1:2: syntax error");
  expect(errnoOf(error)).toBeUndefined();
});

test("one that hangs is ended, and may answer another time", async () => {
  const error = await ask("#!/bin/sh\nexec sleep 60\n", 200);
  expect(String(error)).toContain("visudo did not answer within 0.2 s");
  expect(errnoOf(error)).toBe("ETIMEDOUT");
});

test("one that is missing, or cannot be run, is named", async () => {
  const error = await ask("#!/nonexistent/interpreter\n");
  expect(String(error)).toContain("visudo could not be run: is sudo installed?");
  expect(errnoOf(error)).toBe("ENOENT");
});

import { writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readOptions } from "./options.ts";

const given = ["--data", "/d"];

test("the SCIM rate is a flag, else the file's, else 100", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-options-"));
  const config = join(folder.path, "config.json");
  writeFileSync(config, JSON.stringify({ scim_rate: 25 }));
  expect(readOptions(given)).toMatchObject({ scimRate: 100 });
  expect(readOptions([...given, "--config", config])).toMatchObject({ scimRate: 25 });
  expect(readOptions([...given, "--config", config, "--scim-rate", "0"])).toMatchObject({ scimRate: 0 });
});

test.each(["", "-1", "1.5", "x", "1e3", "10000000"])("a SCIM rate of %o is refused", async (rate) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-options-"));
  expect(() => readOptions([...given, `--scim-rate=${rate}`])).toThrow("--scim-rate");
  const config = join(folder.path, "config.json");
  for (const value of [rate, -1, 0.5]) {
    writeFileSync(config, JSON.stringify({ scim_rate: value }));
    expect(() => readOptions([...given, "--config", config])).toThrow("scim");
  }
});

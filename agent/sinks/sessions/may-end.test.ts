import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseUid, type Uid } from "../../../identity/id.ts";
import { nobodyLocal } from "../../policy/local.ts";
import { parsePolicy } from "../../policy/read.ts";
import { mayEnd } from "./may-end.ts";

const uid = parseUid(200_005);

test("a person's sessions may be ended, a local account's never, whichever passwd it is in", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-may-end-"));
  const passwd = join(folder.path, "passwd");
  const policy = parsePolicy("{}");
  const gate = { policy, local: nobodyLocal };
  expect(mayEnd(gate, uid, passwd), "no such file").toBe(true);
  await writeFile(passwd, "root:x:0:0::/root:/bin/sh\n");
  expect(mayEnd(gate, uid, passwd)).toBe(true);
  expect(mayEnd({ policy, local: { ...nobodyLocal, uids: new Map([[uid, "builder"]]) } }, uid, passwd)).toBe(false);
  await writeFile(passwd, `root:x:0:0::/root:/bin/sh\nbuilder:x:${uid}:100::/:/bin/sh\n`);
  expect(mayEnd(gate, uid, passwd)).toBe(false);
});

test("nobody's of the system, and nobody's whom the policy gives no number", async () => {
  const gate = { policy: parsePolicy("uids: [200000-200009]"), local: nobodyLocal };
  expect(mayEnd(gate, uid, "/nonexistent")).toBe(true);
  expect(mayEnd(gate, parseUid(200_010), "/nonexistent")).toBe(false);
  expect(mayEnd({ policy: parsePolicy("{}"), local: nobodyLocal }, 999 as Uid, "/nonexistent")).toBe(false);
});

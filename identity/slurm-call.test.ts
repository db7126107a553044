import { expect, test } from "vitest";
import { hostileInputs } from "../test/hostile.ts";
import { argumentsOf, type Call, halved, inChunks } from "./slurm-call.ts";

const call: Call = {
  what: "add 2 users to physics",
  program: "sacctmgr",
  head: ["add", "user"],
  names: ["ada", "bob"],
  tail: ["cluster=hpc", "account=physics", "grptres=cpu=4,mem=-1", "qos="],
};

test("names are one list, apart from every other word", () => {
  expect(argumentsOf(call)).toEqual(["-i", "add", "user", "name=ada,bob", ...call.tail]);
  expect(argumentsOf({ ...call, program: "scancel", head: [], names: ["7", "8"], tail: [] })).toEqual(["7", "8"]);
});

// Whatever went wrong before: these are not passed on. Slurm's own account is turned down by the grammar of accounts (grant.test.ts).
const hostile = hostileInputs("slurm.name", "reject").filter(([, value]) => value !== "root");
test.each(hostile)("%s", (_, value) => {
  expect(() => argumentsOf({ ...call, names: ["ada", String(value)] })).toThrow("must not be passed to sacctmgr");
  expect(() => argumentsOf({ ...call, tail: [String(value)] })).toThrow("must not be passed to sacctmgr");
});

test("a call about nobody, which sacctmgr would take for everybody, is none", () => {
  expect(() => argumentsOf({ ...call, names: [] })).toThrow("nothing");
  expect(inChunks({ ...call, names: [] })).toEqual([]);
});

test("a thousand names are one call, and one more is another", () => {
  const names = Array.from({ length: 1_001 }, (_, n) => `user${n}`);
  expect(inChunks({ ...call, names }).map((each) => each.names.length)).toEqual([1_000, 1]);
});

test("a list is halved down to one name", () => {
  expect(halved(call)?.map(({ names }) => names)).toEqual([["ada"], ["bob"]]);
  expect(halved({ ...call, names: ["ada"] })).toBeUndefined();
});

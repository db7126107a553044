import { expect, test } from "vitest";
import type { Group } from "../store/groups.ts";
import { groupEdits } from "./group-patch.ts";
import type { Operation } from "./operation.ts";

const edits = (op: Operation["op"], path: string | undefined, value?: unknown) =>
  groupEdits([{ op, path, value }], "g1");

const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:Group";

test.each([
  ["add", "members", [{ value: "a" }, { value: "a" }], [{ kind: "add-members", members: ["a"] }]],
  ["add", "members", { value: "a" }, [{ kind: "add-members", members: ["a"] }]],
  ["replace", "Members", [{ value: "a" }], [{ kind: "set-members", members: ["a"] }]],
  ["replace", "members", [], [{ kind: "set-members", members: [] }]],
  ["remove", "members", undefined, [{ kind: "set-members", members: [] }]],
  ["remove", "members", [{ value: "a" }], [{ kind: "remove-members", members: ["a"] }]],
  ["remove", "members", [], [{ kind: "remove-members", members: [] }]],
  ["remove", 'members[value eq "a"]', undefined, [{ kind: "remove-members", members: ["a"] }]],
  ["remove", 'members[value eq "a" or value eq "b"]', undefined, [{ kind: "remove-members", members: ["a", "b"] }]],
  ["replace", "displayName", "x", [{ kind: "set-display-name", displayName: "x" }]],
  ["replace", undefined, { id: "g1", displayName: "x" }, [{ kind: "set-display-name", displayName: "x" }]],
  ["add", undefined, { members: [{ value: "a" }] }, [{ kind: "add-members", members: ["a"] }]],
  ["replace", "externalId", "x", [{ kind: "set-external-id", externalId: "x" }]],
  ["remove", "externalId", undefined, [{ kind: "set-external-id", externalId: undefined }]],
  ["replace", undefined, { unknown: 1, meta: {} }, []],
] as const)("compiles %s %s %j", (op, path, value, expected) => {
  expect(edits(op, path, value)).toEqual(expected);
});

test.each([
  ["remove", "members", null, "invalidValue"],
  ["replace", "members", null, "invalidValue"],
  ["replace", undefined, { members: null }, "invalidValue"],
  ["add", "members", [{ display: "a" }], "invalidValue"],
  ["remove", 'members[display eq "a"]', undefined, "invalidFilter"],
  ["remove", 'members[value ne "a"]', undefined, "invalidFilter"],
  ["remove", 'members[value eq "a" and value eq "b"]', undefined, "invalidFilter"],
  ["replace", 'members[value eq "a"]', { value: "b" }, "invalidPath"],
  ["replace", "members.value", "b", "invalidPath"],
  ["remove", "displayName", undefined, "mutability"],
  ["replace", "displayName", "", "invalidValue"],
  ["replace", undefined, { id: "g2", displayName: "x" }, "mutability"],
  ["remove", posix, undefined, "mutability"],
  ["replace", `${posix}:groupName`, "sudo", "mutability"],
] as const)("refuses %s %s %j", (op, path, value, scimType) => {
  expect(() => edits(op, path, value)).toThrow(expect.objectContaining({ scimType }));
});

test.each([
  ["replace", `${posix}:gidNumber`, 70_000, true],
  ["add", posix, { gidNumber: 70_000, groupName: "sudo" }, true],
  ["replace", undefined, { [posix]: { gidNumber: 70_000 } }, true],
  ["replace", `${posix}:gidNumber`, 27, false],
  ["add", posix, { gidNumber: 70_001 }, false],
  ["replace", undefined, { [posix]: { gidNumber: 0 } }, false],
  ["remove", `${posix}:gidNumber`, undefined, false],
] as const)("%s %s %j repeats the number of 70000: %s", (op, path, value, same) => {
  const [edit] = edits(op, path, value);
  const check = () => edit?.kind === "check" && edit.check({ gid: 70_000 } as Group);
  if (same) expect(check()).toBe(undefined);
  else expect(check).toThrow(expect.objectContaining({ scimType: "mutability" }));
});

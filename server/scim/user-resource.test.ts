import { expect, test } from "vitest";
import type { Uid } from "../../identity/id.ts";
import type { Doc } from "./json.ts";
import { userType } from "./schema.ts";
import { fromInput, toInput } from "./user-resource.ts";
import { readResource } from "./value.ts";

const input = (body: Doc) => toInput(readResource(userType, { userName: "ada", ...body }), { active: true });

test.each([
  [{ displayName: "Ada L", name: { formatted: "Lady Ada", givenName: "Ada" } }, "Ada L"],
  [{ name: { formatted: "Lady Ada", givenName: "Ada" } }, "Lady Ada"],
  [{ name: { givenName: "Ada", familyName: "Lovelace" } }, "Ada Lovelace"],
  [{ name: { familyName: "Lovelace" } }, "Lovelace"],
  [{}, ""],
  [{ displayName: "A:0:0:/root\nevil:x" }, "A 0 0 /root evil x"],
])("the full name of %j is %j", (body, expected) => {
  expect(input(body).fullName).toBe(expected);
});

test.each([
  [true, true],
  [false, false],
  ["True", true],
  ["true", true],
  ["FALSE", false],
  ["False", false],
])("active %j is %j", (active, expected) => {
  expect(input({ active }).active).toBe(expected);
});

test.each(["no", "1", "", null, 0, 1, [], [false], {}])("active %j is refused", (active) => {
  expect(() => input({ active })).toThrow("active");
});

test("a password is dropped, and read-only and unknown attributes are not kept", () => {
  const { attributes } = input({
    password: "hunter2",
    id: "7",
    groups: [{ value: "g" }],
    "urn:rollcall:params:scim:schemas:extension:posix:1.0:User": { uidNumber: 4711, gidNumber: 0, userName: "root" },
    "urn:example:x": { a: 1 },
    isAdmin: true,
    title: "Dr",
  });
  expect(attributes).toEqual({ title: "Dr" });
});

test("what was stated is said back in one order, whatever order it came in", () => {
  const a = input({ title: "Dr", name: { givenName: "Ada", familyName: "L" }, displayName: "A" });
  const b = input({ DISPLAYNAME: "A", name: { familyName: "L", givenName: "Ada" }, Title: "Dr" });
  const uid = 200_000 as Uid;
  expect(JSON.stringify(a)).toBe(JSON.stringify(b));
  expect(JSON.stringify(toInput(fromInput({ ...a, uid }), { ...a, uid }))).toBe(JSON.stringify(a));
});

test("a number is stated of someone new, and afterwards only repeated", () => {
  const uid = 200_000 as Uid;
  const stated = (uidNumber: unknown, before: { uid?: Uid }) =>
    toInput(
      readResource(userType, {
        userName: "ada",
        "urn:rollcall:params:scim:schemas:extension:posix:1.0:User": { uidNumber },
      }),
      { active: true, ...before },
    ).uidNumber;
  expect([stated(uid, {}), stated(null, {}), stated(uid, { uid }), stated(null, { uid })]).toEqual([
    uid,
    undefined,
    undefined,
    undefined,
  ]);
  expect(() => stated(200_001, { uid })).toThrow(expect.objectContaining({ scimType: "mutability" }));
  for (const value of ["200000", 1.5, true, [200_000], {}]) expect(() => stated(value, {})).toThrow("uidNumber");
});

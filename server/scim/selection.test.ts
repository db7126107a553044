import { expect, test } from "vitest";
import { userType } from "./schema.ts";
import { parseSelection, select, wants } from "./selection.ts";

const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";
const ada = {
  schemas: [],
  id: "1",
  name: { givenName: "Ada", familyName: "Lovelace" },
  emails: [{ value: "a", type: "work" }, { value: "b" }],
  [posix]: { userName: "ada", uidNumber: 1 },
};

const only = (names: string) => select(parseSelection(userType, names, undefined), ada);
const except = (names: string) => select(parseSelection(userType, undefined, names), ada);

test("attributes keep what they name, and what is always returned", () => {
  expect(only("NAME.givenname, emails.value")).toEqual({
    schemas: [],
    id: "1",
    name: { givenName: "Ada" },
    emails: [{ value: "a" }, { value: "b" }],
  });
  expect(only(`name.givenName,name,${posix}:uidNumber`)).toEqual({
    schemas: [],
    id: "1",
    name: ada.name,
    [posix]: { uidNumber: 1 },
  });
  expect(only("constructor,__proto__,,nope")).toEqual({ schemas: [], id: "1" });
});

test("excludedAttributes drop what they name, but not what is always returned", () => {
  expect(except(`id,schemas,name.givenName,emails,${posix}`)).toEqual({
    schemas: [],
    id: "1",
    name: { familyName: "Lovelace" },
  });
});

test("what is not wanted need not be read", () => {
  expect(wants(parseSelection(userType, undefined, "groups"), "groups")).toBe(false);
  expect(wants(parseSelection(userType, undefined, "groups.display"), "groups")).toBe(true);
  expect(wants(parseSelection(userType, "userName", undefined), "groups")).toBe(false);
  expect(wants(parseSelection(userType, undefined, undefined), "groups")).toBe(true);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ScimRefusal } from "./errors.ts";
import type { Doc } from "./json.ts";
import type { Operation } from "./operation.ts";
import { applyPatch } from "./patch.ts";
import { userType } from "./schema.ts";
import { readResource } from "./value.ts";

const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const work = { value: "ada@work", type: "work", primary: true };
const home = { value: "ada@home", type: "home" };

const ada: Doc = {
  userName: "ada",
  active: true,
  name: { familyName: "Lovelace", givenName: "Ada" },
  emails: [work, home],
  [enterprise]: { department: "Engines", manager: { value: "m1", $ref: "../m1", displayName: "Babbage" } },
};

function patched(op: Operation["op"], path: string | undefined, value?: unknown, doc = ada): Doc {
  return applyPatch(userType, doc, [{ op, path, value }], "1");
}

describe("one value", () => {
  test.each<[Operation["op"], string, unknown, Doc]>([
    ["add", "title", "Dr", { ...ada, title: "Dr" }],
    ["replace", "TITLE", "Dr", { ...ada, title: "Dr" }],
    ["remove", "title", undefined, ada],
    ["replace", "name.givenName", "A", { ...ada, name: { familyName: "Lovelace", givenName: "A" } }],
    ["remove", "name.givenName", undefined, { ...ada, name: { familyName: "Lovelace" } }],
    ["replace", "name", { givenName: "A" }, { ...ada, name: { familyName: "Lovelace", givenName: "A" } }],
    ["add", "name", { GIVENNAME: "" }, { ...ada, name: { familyName: "Lovelace" } }],
    ["add", "password", "hunter2", ada],
  ])("%s %s %j", (op, path, value, expected) => {
    expect(patched(op, path, value)).toEqual(expected);
  });

  test("the last part to go takes the whole with it", () => {
    const bare = patched("remove", "name.givenName", undefined, patched("remove", "name.familyName"));
    expect(bare).not.toHaveProperty("name");
  });

  test("a manager is replaced whole: nothing of the old one is left", () => {
    const extension = (value: unknown) => patched("replace", `${enterprise}:manager`, value)[enterprise];
    expect(extension("m2")).toEqual({ department: "Engines", manager: { value: "m2" } });
    expect(extension("")).toEqual({ department: "Engines" });
    expect(patched("remove", enterprise)).not.toHaveProperty([enterprise]);
    expect(patched("add", enterprise, { department: "E" })[enterprise]).toMatchObject({ department: "E" });
  });
});

describe("many values", () => {
  const emails = (op: Operation["op"], path: string, value?: unknown) => patched(op, path, value).emails;

  test("add joins what is new, once", () => {
    expect(emails("add", "emails", [home, { value: "x" }])).toEqual([work, home, { value: "x" }]);
    expect(emails("add", "emails", { VALUE: "ada@home", Type: "home" })).toEqual([work, home]);
  });

  test("a new primary clears the old one", () => {
    const former = { ...work, primary: false };
    expect(emails("add", "emails", { value: "x", primary: true })).toEqual([
      former,
      home,
      { value: "x", primary: true },
    ]);
    expect(emails("replace", 'emails[type eq "home"].primary', "True")).toEqual([former, { ...home, primary: true }]);
    expect(() =>
      emails("add", "emails", [
        { value: "x", primary: true },
        { value: "y", primary: true },
      ]),
    ).toThrow("primary");
  });

  test("remove takes all, those that match, or those that are named", () => {
    expect(patched("remove", "emails")).not.toHaveProperty("emails");
    expect(emails("remove", 'emails[type eq "work"]')).toEqual([home]);
    expect(emails("remove", "emails", [{ value: "ada@home" }])).toEqual([work]);
    expect(emails("remove", "emails", [{ value: "other" }])).toEqual([work, home]);
    expect(emails("remove", 'emails[type eq "other"]')).toEqual([work, home]);
  });

  test("a value path changes what matches, and makes what does not exist yet", () => {
    expect(emails("replace", 'emails[type eq "work"].value', "x")).toEqual([{ ...work, value: "x" }, home]);
    expect(emails("replace", 'emails[type eq "other"].value', "x")).toEqual([
      work,
      home,
      { value: "x", type: "other" },
    ]);
    expect(emails("replace", 'emails[type eq "other"].value', "")).toEqual([work, home]);
    expect(emails("add", 'emails[type eq "home"]', { display: "at home" })).toEqual([
      work,
      { ...home, display: "at home" },
    ]);
    expect(() => emails("replace", 'emails[type ne "x" and type ne "work" and type ne "home"].value', "x")).toThrow(
      expect.objectContaining({ scimType: "noTarget" }),
    );
  });

  test("a value of which only the label is left is gone", () => {
    for (const value of ["", null]) {
      expect(emails("replace", 'emails[type eq "work"].value', value)).toEqual([home]);
      expect(emails("replace", 'emails[type eq "work"]', value)).toEqual([home]);
    }
    expect(emails("remove", 'emails[type eq "work"].value')).toEqual([home]);
  });
});

test("operations build on one another", () => {
  const operations: Operation[] = [
    { op: "remove", path: "title", value: undefined },
    { op: "add", path: "title", value: "Dr" },
    {
      op: "replace",
      path: undefined,
      value: { title: "Prof", "name.givenName": "A", 'emails[type eq "home"].value': "h" },
    },
  ];
  const after = applyPatch(userType, ada, operations, "1");
  expect(after).toMatchObject({ title: "Prof", name: { givenName: "A" }, emails: [work, { ...home, value: "h" }] });
});

test("without a path, what is read-only or unknown is ignored; the id must be right", () => {
  const value = {
    id: "1",
    meta: { version: "x" },
    groups: [{ value: "g" }],
    schemas: ["x"],
    [posix]: { gidNumber: 0 },
  };
  expect(patched("replace", undefined, { ...value, isAdmin: true, "urn:example:x": { a: 1 } })).toEqual(ada);
  expect(() => patched("replace", undefined, { id: "2" })).toThrow(expect.objectContaining({ scimType: "mutability" }));
});

const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";

test("what never changes may be repeated", () => {
  const uidNumber = 200_000;
  const doc = { ...ada, [posix]: { uidNumber } };
  const change = (op: Operation["op"], path: string | undefined, value: unknown) =>
    applyPatch(userType, doc, [{ op, path, value }], "1");
  expect(change("replace", `${posix}:uidNumber`, uidNumber)).toEqual(doc);
  expect(change("add", undefined, { [posix]: { uidNumber, userName: "root" } })).toEqual(doc);
  const mutability = expect.objectContaining({ scimType: "mutability" });
  expect(() => change("replace", `${posix}:uidNumber`, 200_001)).toThrow(mutability);
  expect(() => change("add", posix, { uidNumber: 200_001 })).toThrow(mutability);
  expect(() => change("replace", undefined, { [`${posix}:uidNumber`]: 0 })).toThrow(mutability);
  expect(() => change("remove", `${posix}:uidNumber`, undefined)).toThrow(mutability);
  expect(() => change("replace", `${posix}:uidNumber`, "200000")).toThrow("uidNumber");
});

test.each([
  ["remove", "userName", undefined, "mutability"],
  ["remove", "active", undefined, "mutability"],
  ["remove", "id", undefined, "mutability"],
  ["replace", "meta", {}, "mutability"],
  ["replace", "groups", [], "mutability"],
  ["remove", "urn:rollcall:params:scim:schemas:extension:posix:1.0:User", undefined, "mutability"],
  ["replace", "userName", "", "invalidValue"],
  ["replace", "active", null, "invalidValue"],
  ["add", "nope", 1, "invalidPath"],
  ["add", "name.nope", 1, "invalidPath"],
  ["add", "name.givenName.x", 1, "invalidPath"],
  ["add", "emails[].value", 1, "invalidPath"],
  ["add", "__proto__", {}, "invalidPath"],
  ["add", undefined, "text", "invalidSyntax"],
] as const)("refuses %s %s %j", (op, path, value, scimType) => {
  expect(() => patched(op, path, value)).toThrow(expect.objectContaining({ scimType }));
});

test("whatever is sent: a canonical resource or a refusal, the start untouched, no prototype reached", () => {
  const paths = [
    ...`active userName name name.givenName emails emails.value manager ${enterprise} ${enterprise}:department
      __proto__ constructor.prototype.x toString roles addresses password`.split(/\s+/),
    'emails[type eq "work"]',
    'emails[type eq "x"].value',
    "emails[primary eq true].primary",
    undefined,
  ];
  const path = fc.constantFrom(...paths);
  const key = fc.constantFrom("value", "type", "primary", "givenName", "active", "__proto__", "constructor", "emails");
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.array(fc.dictionary(key, fc.oneof(fc.string(), fc.boolean(), fc.constant(null)))),
    fc.dictionary(key, fc.jsonValue({ maxDepth: 2 })),
    fc.constant(undefined),
  );
  const operation = fc.record({ op: fc.constantFrom("add", "replace", "remove"), path, value });
  const start = JSON.stringify(ada);
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 4 }), (operations) => {
      try {
        const after = applyPatch(userType, ada, operations as Operation[], "1");
        expect(readResource(userType, after)).toEqual(after);
        expect([typeof after.userName, typeof after.active]).toEqual(["string", "boolean"]);
      } catch (error) {
        expect(error).toBeInstanceOf(ScimRefusal);
      }
      expect(JSON.stringify(ada)).toBe(start);
      expect({}).not.toHaveProperty("x");
    }),
    { numRuns: 1000 },
  );
});

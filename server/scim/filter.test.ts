import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ScimRefusal } from "./errors.ts";
import { type Filter, limits, parseFilter, parseRawPath, printFilter } from "./filter.ts";

const eq = (name: string, value: string | number | boolean | null): Filter => ({
  kind: "compare",
  name,
  op: "eq",
  value,
});

test.each<[string, Filter]>([
  ['userName eq "ada"', eq("userName", "ada")],
  ['userName EQ "a\\"\\u0041"', eq("userName", 'a"A')],
  ["active eq true", eq("active", true)],
  ["x eq null", eq("x", null)],
  ["x eq -1.5e3", eq("x", -1500)],
  ["title pr", { kind: "present", name: "title" }],
  ['a eq "1" and b eq "2" or c pr', or(and(eq("a", "1"), eq("b", "2")), { kind: "present", name: "c" })],
  ['a eq "1" and (b eq "2" or c pr)', and(eq("a", "1"), or(eq("b", "2"), { kind: "present", name: "c" }))],
  ['not (a eq "1")', { kind: "not", term: eq("a", "1") }],
  ['NOT(a eq "1") AND b pr', and({ kind: "not", term: eq("a", "1") }, { kind: "present", name: "b" })],
  ["not pr", { kind: "present", name: "not" }],
  ['emails[type eq "work"]', { kind: "some", name: "emails", of: eq("type", "work") }],
  [
    'emails[type eq "work"].value eq "x"',
    { kind: "some", name: "emails", of: and(eq("type", "work"), eq("value", "x")) },
  ],
  [
    'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "x"',
    eq("urn:ietf:params:scim:schemas:core:2.0:User:userName", "x"),
  ],
])("reads %s", (text, filter) => {
  expect(parseFilter(text)).toEqual(filter);
  expect(parseFilter(printFilter(filter))).toEqual(filter);
});

test("prints what it would read the same", () => {
  const name = fc.constantFrom("userName", "name.givenName", "urn:x:y:z");
  const value = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.boolean(), fc.constant(null));
  const { filter } = fc.letrec<{ filter: Filter }>((tie) => {
    const several = fc.array(tie("filter"), { minLength: 2, maxLength: 3 });
    return {
      filter: fc.oneof(
        { maxDepth: 4 },
        fc.record({ kind: fc.constant("present" as const), name }),
        fc.record({ kind: fc.constant("compare" as const), name, op: fc.constantFrom("eq", "co"), value }),
        fc.record({ kind: fc.constant("not" as const), term: tie("filter") }),
        fc.record({ kind: fc.constantFrom("and" as const, "or" as const), terms: several }),
        fc.record({ kind: fc.constant("some" as const), name: fc.constant("emails"), of: tie("filter") }),
      ),
    };
  });
  fc.assert(
    fc.property(filter, (each) => {
      expect(parseFilter(printFilter(each))).toEqual(each);
    }),
  );
});

test.each([
  ["", "an attribute name"],
  ["userName", "an operator"],
  ["userName is 1", "one of eq"],
  ["userName eq", "a value"],
  ["userName eq ada", "a value"],
  ['userName eq "ada', "unknown at character 13"],
  ['userName eq "\\q"', "unknown at character 13"],
  ['userName eq "a" extra', "the end"],
  ['(userName eq "a"', '")"'],
  ['emails[type eq "a")', '"]"'],
  ['a eq "1" and', "an attribute name"],
  ["a\neq 1", "unknown at character 2"],
  ["1 eq 1", "an attribute name"],
])("refuses %j, saying what was expected", (text, why) => {
  expect(() => parseFilter(text)).toThrow(why);
  expect(() => parseFilter(text)).toThrow(expect.objectContaining({ scimType: "invalidFilter" }));
});

describe("limits", () => {
  const nested = (depth: number): string => `${"(".repeat(depth)}a pr${")".repeat(depth)}`;
  const joined = (terms: number): string => Array(terms).fill("a pr").join(" or ");

  test("are where they are said to be", () => {
    expect(() => parseFilter(nested(limits.depth))).not.toThrow();
    expect(() => parseFilter(nested(limits.depth + 1))).toThrow("nested");
    expect(() => parseFilter(joined(limits.terms))).not.toThrow();
    expect(() => parseFilter(joined(limits.terms + 1))).toThrow("terms");
    expect(() => parseFilter("a pr".padEnd(limits.length))).not.toThrow();
    expect(() => parseFilter("a pr".padEnd(limits.length + 1))).toThrow("longer");
  });

  test("bound brackets and nots as well", () => {
    for (const open of ["a[", "not ("]) expect(() => parseFilter(open.repeat(1000))).toThrow("nested");
    expect(() => parseRawPath(`a[${"(".repeat(1000)}`)).toThrow(expect.objectContaining({ scimType: "invalidPath" }));
  });
});

test("any text gives a tree or a refusal", () => {
  const words = [
    "a",
    "eq",
    "and",
    "or",
    "not",
    "pr",
    "(",
    ")",
    "[",
    "]",
    '"x"',
    ".b",
    "1",
    "true",
    " ",
    "\\",
    '"',
    "urn:",
  ];
  const text = fc.oneof(
    fc.string(),
    fc.array(fc.constantFrom(...words)).map((parts) => parts.join(" ")),
  );
  fc.assert(
    fc.property(text, (filter) => {
      for (const parse of [parseFilter, parseRawPath]) {
        try {
          parse(filter);
        } catch (error) {
          expect(error).toBeInstanceOf(ScimRefusal);
        }
      }
    }),
  );
});

test.each([
  ["members", { name: "members", filter: undefined, sub: undefined }],
  ["name.givenName", { name: "name.givenName", filter: undefined, sub: undefined }],
  ['emails[type eq "work"].value', { name: "emails", filter: eq("type", "work"), sub: "value" }],
  ['members[value eq "1"]', { name: "members", filter: eq("value", "1"), sub: undefined }],
])("reads the path %s", (text, path) => {
  expect(parseRawPath(text)).toEqual(path);
});

test.each(["", "a b", "a[", "a[]", "a[b pr]c", "a[b pr].c.d", "[b pr]", ".a"])("refuses the path %j", (text) => {
  expect(() => parseRawPath(text)).toThrow(expect.objectContaining({ scimType: "invalidPath" }));
});

function and(...terms: Filter[]): Filter {
  return { kind: "and", terms };
}

function or(...terms: Filter[]): Filter {
  return { kind: "or", terms };
}

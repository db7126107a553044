import { describe, expect, test } from "vitest";
import { parseFilter } from "./filter.ts";
import type { Doc } from "./json.ts";
import { described, predicate, resourcePredicate } from "./match.ts";
import { posixUrn, resolve, userType } from "./schema.ts";

const parts = resolve(userType, "emails")?.attribute.subAttributes ?? [];
const mail = { value: "Ada@Example.com", type: "work", primary: true };

test.each([
  ['type eq "WORK"', true],
  ['type eq "home"', false],
  ['type ne "home"', true],
  ['display ne "x"', true],
  ["display eq null", true],
  ["display pr", false],
  ["value pr", true],
  ['value sw "ada@"', true],
  ['value ew ".com"', true],
  ['value co "EXAMPLE"', true],
  ['value gt "a"', true],
  ['value lt "a"', false],
  ['display co ""', false],
  ["primary eq true", true],
  ['primary eq "True"', true],
  ["primary eq false", false],
  ['type eq "work" and primary eq true', true],
  ['type eq "home" or primary eq true', true],
  ['not (type eq "work")', false],
])("%s is %s", (filter, matches) => {
  expect(predicate(parseFilter(filter), parts)(mail)).toBe(matches);
});

test.each(['foo eq "x"', 'constructor eq "x"', "primary gt true", 'value[type eq "x"]'])("refuses %s", (filter) => {
  expect(() => predicate(parseFilter(filter), parts)).toThrow(expect.objectContaining({ scimType: "invalidFilter" }));
});

test("a filter of equalities describes a value; others do not", () => {
  expect(described(parseFilter('TYPE eq "work" and primary eq true'), parts)).toEqual({ type: "work", primary: true });
  expect(described(parseFilter('type eq "work" or type eq "home"'), parts)).toBeUndefined();
  expect(described(parseFilter('type ne "work"'), parts)).toBeUndefined();
});

describe("a whole resource", () => {
  const ada: Doc = {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
    id: "7",
    userName: "Ada@Example.com",
    name: { familyName: "Ångström", givenName: "Ada" },
    title: "\u{10000}",
    nickName: "42",
    active: true,
    emails: [
      { value: "ada@work.example", type: "work", primary: true },
      { value: "ada@home.example", type: "home" },
    ],
    [userType.extensions[0]?.id ?? ""]: { department: "Math", manager: { value: "9" } },
    [posixUrn.user]: { userName: "ada", uidNumber: 200_000, gidNumber: 200_000 },
    meta: { resourceType: "User", created: "2024-01-02T03:04:05.678Z", version: 'W/"abc"' },
  };
  const matches = (filter: string): boolean => resourcePredicate(parseFilter(filter), userType)(ada);

  test.each([
    ['USERNAME eq "ada@example.COM"', true],
    ['urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada@example.com"', true],
    ['id eq "7"', true],
    ["id eq 7", true],
    ["nickName eq 42", true],
    ['nickName co "true"', false],
    ['schemas eq "urn:ietf:params:scim:schemas:core:2.0:User"', true],
    ['schemas eq "URN:ietf:params:scim:schemas:core:2.0:User"', false],
    ['displayName ne "x"', true],
    ['displayName eq ""', false],
    ['displayName lt "x"', false],
    ["displayName eq null", true],
    ["displayName ne null", false],
    ["userName ne null", true],
    ['name.familyName eq "a\u030angstro\u0308m"', true],
    ['name[familyName sw "å" and givenName eq "ada"]', true],
    ["name pr", true],
    ["meta pr", true],
    ["addresses pr", false],
    // The code point U+10000 comes after U+FF5E, its first UTF-16 unit before.
    ['title gt "\uff5e"', true],
    ['title le "\uff5e"', false],
    ['emails eq "ADA@home.example"', true],
    ['emails.value ew "work.example"', true],
    ['emails[type eq "work" and value co "home"]', false],
    ['emails[type eq "work"].value co "work"', true],
    ['emails.type eq "work" and emails.value co "home"', true],
    ['emails ne "ada@work.example"', true],
    ['phoneNumbers ne "1"', false],
    ['not (phoneNumbers eq "1")', true],
    ["phoneNumbers eq null", true],
    ["emails eq null", false],
    ["emails.display eq null", true],
    ["emails.primary eq true", true],
    ["active eq true", true],
    ['active eq "True"', true],
    ["active ne false", true],
    ['active eq "false"', false],
    ['manager eq "9"', true],
    ['manager.value eq "9"', true],
    ['urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "math"', true],
    ["uidNumber eq 200000", true],
    ['uidNumber eq "200000"', true],
    ['uidNumber gt "30"', true],
    ["uidNumber lt 30", false],
    ['meta.created eq "2024-01-02T04:04:05.678+01:00"', true],
    ['meta.created lt "2024-01-02T03:04:05.6785Z"', true],
    ['meta[created ge "2024-01-02T03:04:05Z"]', true],
    ['meta.lastModified gt "2024-01-02T03:04:05Z"', false],
    ['meta.version eq "W/\\"abc\\""', true],
    ['meta.version ne "W/\\"ABC\\""', true],
  ])("%s is %s", (filter, expected) => {
    expect(matches(filter)).toBe(expected);
  });

  test.each([
    'foo eq "x"',
    "password pr",
    'password eq "x"',
    'name eq "x"',
    'name.foo eq "x"',
    'userName[value eq "x"]',
    'emails.type[value eq "x"]',
    'emails[foo eq "x"]',
    "active gt false",
    'active eq "yes"',
    "active eq 1",
    'active co "t"',
    'uidNumber eq "x"',
    "uidNumber eq true",
    'uidNumber sw "2"',
    'meta.created eq "yesterday"',
    'meta.created eq "2024-02-30T00:00:00Z"',
    'meta.created eq "2024-01-02"',
    'meta.created sw "2024-01-02T00:00:00Z"',
    'meta.version gt "W"',
    "userName gt null",
    "emails co null",
    "constructor pr",
    "__proto__ pr",
  ])("refuses %s", (filter) => {
    expect(() => matches(filter)).toThrow(expect.objectContaining({ scimType: "invalidFilter" }));
  });
});

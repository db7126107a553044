import { expect, test } from "vitest";
import { parseFilter } from "./filter.ts";
import { described, predicate } from "./match.ts";
import { resolve, userType } from "./schema.ts";

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

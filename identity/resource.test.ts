import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostileInputs as inputs } from "../test/hostile.ts";
import { parseGid, parseUid } from "./id.ts";
import { nameCandidates, parseName } from "./name.ts";
import { keyOf, parse, parseGecos, parseHome, parseKey, parseShell, print, sanitiseGecos } from "./resource.ts";
import { nameFrom } from "./template.ts";
import { anyResource, aUser } from "./testing.ts";

describe("canonical text", () => {
  test("parse is the inverse of print, for every resource", () => {
    fc.assert(
      fc.property(anyResource, (resource) => {
        expect(parse(print(resource))).toEqual(resource);
      }),
    );
  });

  test("parseKey takes every key that keyOf makes", () => {
    fc.assert(
      fc.property(anyResource, (resource) => {
        expect(parseKey(keyOf(resource))).toBe(keyOf(resource));
      }),
    );
  });

  test("nothing but canonical text is read", () => {
    const line = print(aUser(1));
    for (const other of [
      `${line}\t`,
      ` ${line}`,
      line.replace("200001", "0200001"),
      line.replace("user", "User"),
      "",
      "\t",
    ]) {
      expect(() => parse(other)).toThrow();
    }
  });

  test.each([
    "user/1e6",
    "user/200000/",
    "user/",
    "member/70000",
    "key/200000/../../etc",
    "user/0",
    "__proto__/1",
    "a/b/c/d",
  ])("%s names no resource", (key) => {
    expect(() => parseKey(key)).toThrow(/does not name|belongs to|not a whole number/);
  });
});

const candidatesOf = (userName: string) => nameCandidates(nameFrom("{userName}", "refuse", { userName }));

describe("hostile names", () => {
  test.each([...inputs("login", "reject"), ...inputs("group", "reject")])("refused: %s", (_, value) => {
    expect(() => parseName(value)).toThrow(/POSIX name/);
  });

  // An accepted login may have capitals (B098, toString): the POSIX name derived from it is lower case.
  test.each(inputs("login", "accept"))("taken: %s", (_, value) => {
    expect(candidatesOf(String(value))[0]).toBe(String(value).toLowerCase());
  });

  test.each([...inputs("login", "reject"), ...inputs("group", "reject")].filter(([, value]) => value !== "ADMINS"))(
    "no name is derived from %s",
    (_, value) => {
      expect(() => candidatesOf(String(value))).toThrow(/POSIX name/);
    },
  );

  test("what is derived from any text is a name", { timeout: 30_000 }, () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[A-Za-z_][A-Za-z0-9._-]{0,30}$/)),
        (text) => {
          let candidates: readonly string[] = [];
          try {
            candidates = candidatesOf(text);
          } catch (err) {
            expect(err).toMatchObject({ reason: "invalid" });
          }
          expect(candidates.filter((name) => parseName(name) !== name)).toEqual([]);
          expect(new Set(candidates).size).toBe(candidates.length);
        },
      ),
    );
  });

  test("the ladder", () => {
    expect(candidatesOf("Ada.Lovelace@example.org").slice(0, 3)).toEqual([
      "ada-lovelace",
      "ada-lovelace2",
      "ada-lovelace3",
    ]);
    expect(candidatesOf("a".repeat(31))[1]).toBe(`${"a".repeat(30)}2`);
  });
});

describe("hostile ids", () => {
  const rejected = [...inputs("uid", "reject"), ...inputs("gid", "reject")].filter(
    ([, value]) => value !== "change of an existing uid",
  );
  test.each(rejected)("refused: %s", (_, value) => {
    expect(() => parseUid(value)).toThrow(/uid/);
    expect(() => parseGid(value)).toThrow(/gid/);
  });
});

describe("hostile fields of a user", () => {
  test.each([...inputs("displayName", "sanitise"), ...inputs("displayName", "accept")])("gecos of %s", (_, value) => {
    expect(parseGecos(sanitiseGecos(String(value)))).not.toMatch(/[:\n\0]/);
  });

  test("any text makes a gecos", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
        parseGecos(sanitiseGecos(text));
      }),
    );
  });

  test.each(
    inputs("home", "reject").filter(([, value]) => String(value).startsWith("/") || value === "" || value === "~"),
  )("home refused: %s", (_, value) => {
    expect(() => parseHome(value)).toThrow(/home/);
  });

  test.each(inputs("shell", "reject"))("shell refused: %s", (_, value) => {
    expect(() => parseShell(value)).toThrow(/shell/);
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { ScimRefusal } from "./errors.ts";
import { parseJson, property } from "./json.ts";

const read = (text: string): unknown => parseJson(Buffer.from(text));

test("reads what JSON.parse reads, or refuses", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), (text) => {
      try {
        expect(read(text)).toEqual(JSON.parse(text));
      } catch (error) {
        // Keys that differ only in case are one attribute.
        expect(error).toBeInstanceOf(ScimRefusal);
        expect((error as Error).message).toContain("twice");
      }
    }),
  );
});

test("any bytes give a value or a refusal", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.string({ unit: fc.constantFrom("{", "}", "[", "]", '"', ",", ":", "\\", "a", "1", " ") }),
      ),
      (body) => {
        try {
          parseJson(Buffer.from(body as string));
        } catch (error) {
          expect(error).toBeInstanceOf(ScimRefusal);
        }
      },
    ),
  );
});

test.each([
  ['{"a":1,"a":2}', "twice"],
  ['{"a":1,"A":2}', "twice"],
  ['{"a":[{"b":1,"\\u0042":2}]}', "twice"],
  [`${"[".repeat(33)}${"]".repeat(33)}`, "nested"],
  ['{"password":"hunter2"', "not JSON"],
  ['{"a":"b', "not JSON"],
  [":", "not JSON"],
  ["", "not JSON"],
])("refuses %s", (text, why) => {
  expect(() => read(text)).toThrow(why);
  expect(() => read(text)).not.toThrow("hunter2");
});

test("the same name in different objects, and as a value, is no repetition", () => {
  expect(read('{"a":{"a":"a"},"b":[{"a":"a:"},{"a":"{"}]}')).toEqual({ a: { a: "a" }, b: [{ a: "a:" }, { a: "{" }] });
  expect(read(`${"[".repeat(32)}${"]".repeat(32)}`)).toBeInstanceOf(Array);
});

test("an unclosed string of escapes costs its length, not its square", () => {
  const start = performance.now();
  expect(() => read(`"${'\\"'.repeat(500_000)}`)).toThrow("not JSON");
  expect(performance.now() - start).toBeLessThan(1000);
});

test("a property is found whatever its case, and only if it is the object's own", () => {
  expect(property({ UserName: "ada" }, "userName")).toBe("ada");
  expect(property({}, "constructor")).toBeUndefined();
});

import { expect, test } from "vitest";
import { plain, plainJson } from "./plain.ts";
import { card, table } from "./table.ts";

test("columns are aligned, lines have no end of spaces", () => {
  const rows = [
    ["login-1", "r4", ""],
    ["c2", "r3", "nss: disk full"],
  ];
  expect(table(["node", "holds", "refusal"], rows)).toBe(
    ["NODE     HOLDS  REFUSAL", "login-1  r4", "c2       r3     nss: disk full", ""].join("\n"),
  );
  expect(table(["node"], [])).toBe("NODE\n");
});

test("one thing is shown by its fields", () => {
  expect(card({ name: "ada", uid: "200000", keys: "" })).toBe("name  ada\nuid   200000\nkeys\n");
});

test.each([
  ["a colour", "\u001b[31mred\u001b[0m", "?[31mred?[0m"],
  ["a title of the terminal", "\u001b]0;owned\u0007", "?]0;owned?"],
  ["a C1 control", "\u009b31m", "?31m"],
  ["a forged line", "ok\nRollout r9 complete", "ok?Rollout r9 complete"],
  ["text turned around", "abc\u202ecba", "abc?cba"],
  ["a separator of lines", "a\u2028b", "a?b"],
  ["half a character", "a\ud800", "a\ufffd"],
  ["people's names", "Zoë Łukasz 李", "Zoë Łukasz 李"],
])("%s does not reach the terminal as such", (_, text, shown) => {
  expect(plain(text)).toBe(shown);
  expect(table(["x"], [[text]])).toBe(`X\n${shown}\n`);
  expect(card({ x: text })).toBe(`x  ${shown}\n`);
  expect(plainJson({ text })).toMatch(/^[\x20-\x7e]*$/);
  expect(JSON.parse(plainJson({ text }))).toEqual({ text });
});

import { expect, test } from "vitest";
import { rotationOf, whyNot } from "./rotation.ts";

const now = 1_000;
const node = { authority: "old", trusts: ["old"], banned: false, expiresAt: 2_000 };

test.each([
  ["one authority, and nothing else was ever told", { authority: "old", trusts: [] }, ["old"], "done"],
  ["one authority", { authority: "old", trusts: ["old"] }, ["old"], "done"],
  ["a second one was prepared", { authority: "old", trusts: [] }, ["old", "new"], "learning"],
  ["it knows both", { authority: "old", trusts: ["old", "new"] }, ["old", "new"], "done"],
  ["the second one signs now", { authority: "old", trusts: ["old", "new"] }, ["new", "old"], "behind"],
  ["its newest certificate is of the second", { authority: "new", trusts: ["new", "old"] }, ["new", "old"], "done"],
  ["the first one was retired", { authority: "new", trusts: ["new", "old"] }, ["new"], "learning"],
  ["it was not seen with its newest certificate", { authority: undefined, trusts: ["new"] }, ["new"], "behind"],
])("%s", (_, given, trusted, expected) => {
  expect(rotationOf(given, trusted)).toBe(expected);
});

test.each([
  ["activate", node, "does not know new yet"],
  ["activate", { ...node, trusts: ["old", "new"] }, undefined],
  [
    "activate",
    { ...node, authority: undefined, trusts: ["old", "new"] },
    "was not seen to use its newest certificate yet",
  ],
  ["activate", { ...node, banned: true }, undefined],
  ["activate", { ...node, expiresAt: now }, undefined],
  ["retire", node, undefined],
  ["retire", { ...node, authority: "new" }, "has a certificate of new"],
  ["retire", { ...node, authority: undefined }, "was not seen to use its newest certificate yet"],
  ["retire", { ...node, authority: "new", expiresAt: now }, undefined],
] as const)("%s waits for whom it would lock out: %j", (step, each, expected) => {
  expect(whyNot(step, each, ["old", "new"], now)).toBe(expected);
});

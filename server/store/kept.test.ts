import { expect, test } from "vitest";
import { Kept } from "./kept.ts";

test("what is made is made once, and given at once from then on, also if it is nothing", async () => {
  const kept = new Kept<string | undefined>(2);
  let made = 0;
  const make = async (): Promise<undefined> => void (made += 1);
  await Promise.all([kept.once("a", make), kept.once("a", make)]);
  expect(kept.once("a", make)).toBeUndefined();
  expect(made).toBe(1);
});

test("what failed is made anew, and what is older than the newest few too", async () => {
  const kept = new Kept<string>(2);
  await expect(kept.once("a", () => Promise.reject(new Error("away")))).rejects.toThrow("away");
  for (const key of ["a", "b", "c"]) await kept.once(key, async () => `first ${key}`);
  expect(kept.once("c", async () => "second c")).toBe("first c");
  expect(kept.once("b", async () => "second b")).toBe("first b");
  expect(await kept.once("a", async () => "second a")).toBe("second a");
});

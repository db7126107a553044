import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "vitest";
import { play } from "./story.ts";

const folder = new URL(".", import.meta.url);
const stories = readdirSync(folder).filter((name) => name.endsWith(".txt"));

describe.concurrent("stories", { concurrent: true }, () => {
  test.each(stories)("%s", async (name) => {
    await play(readFileSync(new URL(name, folder), "utf8"));
  });
});

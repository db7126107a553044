/**
 * Applies versions at full speed, round and round, as an agent does, until its stdin ends; then says how many it were:
 *
 *     nss-writer.ts STATE CONTENT...
 *
 * Each CONTENT is a file of resources in their canonical text, one a line.
 */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { apply } from "../../agent/apply.ts";
import { placeLinks } from "../../agent/links.ts";
import { parse } from "../../identity/resource.ts";
import { openGround, stepTo } from "../fault/ground.ts";

const [state = "", ...files] = process.argv.slice(2);
const versions = files.map((file) => readFileSync(file, "utf8").split("\n").slice(0, -1).map(parse));
const { ground } = await openGround(state);
await placeLinks("/etc", ground.folders.served);
let stopped = false;
void once(process.stdin.resume(), "end").then(() => {
  stopped = true;
});
let count = 0;
for (; !stopped; count++) {
  await apply(ground, stepTo(ground.memory.copy, versions[count % versions.length] ?? []));
  if (count === 0) console.log("writing");
}
console.log(`wrote ${count}`);

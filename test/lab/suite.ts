/**
 * `describe` for tests that need hosts. A machine that can have none fails the whole file in CI; elsewhere its tests are
 * skipped, and it is said why: never silently.
 */

import { describe } from "vitest";
import { buildLayer } from "./layer.ts";

const layer = await buildLayer();

export function describeHosts(name: string, tests: () => void): void {
  if (layer.kind === "ready") return void describe(name, tests);
  const why = `no test hosts here (${layer.because}): ${layer.detail}`;
  if (process.env["CI"] === "true") throw new Error(why);
  console.warn(`${name}: skipped: ${why}`);
  describe.skip(name, tests);
}

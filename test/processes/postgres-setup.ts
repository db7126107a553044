/** Runs one PostgreSQL for all tests of the project `postgres`, on the socket that vitest.config.ts names. */

import type { TestProject } from "vitest/node";
import { Postgres } from "./postgres.ts";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const socket = String(project.config.env["ROLLCALL_TEST_POSTGRES"]);
  const postgres = await Postgres.start(socket);
  return () => postgres[Symbol.asyncDispose]();
}

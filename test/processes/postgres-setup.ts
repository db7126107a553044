/** Runs one PostgreSQL for all tests of the project `postgres`, on the socket that vitest.config.ts names. */

import type { TestProject } from "vitest/node";
import { Postgres, prepareDatabase } from "./postgres.ts";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const socket = String(project.config.env["ROLLCALL_TEST_POSTGRES"]);
  // What a machine's power cut leaves is no question here: not to wait for its disk makes the tests twice as fast.
  const postgres = await Postgres.start(socket, ["fsync=off"]);
  await prepareDatabase(socket);
  return () => postgres[Symbol.asyncDispose]();
}

/**
 * Our SCIM edge in a process of its own for the benchmark: plain HTTP as its yardstick, a durable SQLite file, so many
 * users in it from the start. Prints its port and token.
 */

import { randomBytes, randomUUIDv7 } from "node:crypto";
import { mkdtempDisposable } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fastify } from "fastify";
import { orgId, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { createScimToken } from "../../server/directory/tokens.ts";
import { createUser } from "../../server/directory/users.ts";
import { scim } from "../../server/scim/routes.ts";
import { userType } from "../../server/scim/schema.ts";
import { toInput } from "../../server/scim/user-resource.ts";
import { readResource } from "../../server/scim/value.ts";
import { openSqlite } from "../../server/store/sqlite.ts";
import { person } from "./scim-person.ts";

const users = Number(process.argv[2] ?? 0);
await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-bench-scim-"));
await using store = await openSqlite(join(folder.path, "rollcall.db"), Date.now);
const ctx: Context = {
  store,
  now: Date.now,
  newId: randomUUIDv7,
  newSecret: () => randomBytes(32).toString("base64url"),
};
await seed(ctx);
const { secret } = await createScimToken(ctx, { kind: "admin" }, "default", "bench");
const org = await orgId(ctx, "default");
const actor = { kind: "scim", connection: "bench" } as const;
for (let from = 0; from < users; from += 64) {
  const some = Array.from({ length: Math.min(64, users - from) }, (_, i) => person(from + i));
  await Promise.all(
    some.map((body) => createUser(ctx, actor, org, toInput(readResource(userType, body), { active: true }))),
  );
}
const app = fastify({ logger: false });
await app.register(scim(ctx, { baseUrl: () => "http://bench" }));
await app.listen({ host: "127.0.0.1", port: 0 });
process.stdout.write(`${(app.server.address() as AddressInfo).port} ${secret}\n`);
await new Promise((resolve) => process.once("SIGTERM", resolve));
await app.close();

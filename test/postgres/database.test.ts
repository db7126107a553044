/** The database's own accidents: it restarts, two programs migrate it at once, it is filled from another engine's. */

import { once } from "node:events";
import { chmod, mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import pg from "pg";
import { expect, test } from "vitest";
import { AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { ClusterService } from "../../proto/gen/rollcall/v1/cluster_pb.ts";
import { openStore } from "../../server/store/engine.ts";
import { migrations } from "../../server/store/schema.ts";
import { ControlPlane, type ScimAnswer } from "../processes/control-plane.ts";
import { enrolled, Holder, until } from "../processes/holder.ts";
import { createDatabase, Postgres } from "../processes/postgres.ts";
import { startBin } from "../processes/started.ts";

test.each([
  ["ends by SIGINT in the middle of writes and comes back", "SIGINT", "up"],
  ["ends by SIGKILL in the middle of writes and comes back", "SIGKILL", "up"],
  ["ends by SIGKILL in the middle of writes, and its standby takes over", "SIGKILL", "takeOver"],
] as const)("it %s", async (_, signal, how) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-database-"));
  const socket = join(folder.path, "socket");
  await chmod(folder.path, 0o755);
  await using postgres = await Postgres.start(socket);
  await using plane = await ControlPlane.start(undefined, ["--database", await createDatabase({ socket })]);
  if (how === "takeOver") await postgres.addStandby();
  const { server, identities } = await enrolled(plane, 2);
  const holders = identities.map((identity) => new Holder(server, identity));
  await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [] });
  await until(async () => (await plane.acked()) === 2);
  const accepted: string[] = [];
  const refused: ScimAnswer[] = [];
  let isOver = false;
  const writing = Array.from({ length: 4 }, async (_, writer) => {
    for (let n = 0; !isOver; n++) {
      const userName = `w${writer}-${n}`;
      const answer = await plane.scim("POST", "/Users", { userName, active: true });
      if (answer.status === 201) accepted.push(userName);
      else refused.push(answer);
    }
  });
  await until(() => accepted.length > 20);
  await postgres.down(signal);
  await until(() => refused.length > 0);
  // Nobody's request is at fault, and everybody is told to come back: clients, operators, nodes.
  const away = { status: 503, retryAfter: "5" };
  expect(await plane.scim("GET", "/Users?count=1")).toMatchObject(away);
  await expect((await plane.client(ClusterService)).listClusters({})).rejects.toMatchObject({ code: Code.Unavailable });
  const [known] = identities;
  if (!known) throw new Error("no node");
  using late = new Holder(server, known);
  await until(() => late.ended !== undefined);
  expect(late.ended).toMatch(/14 UNAVAILABLE: the database/);
  await postgres[how]();
  const before = accepted.length;
  await until(() => accepted.length > before + 20);
  isOver = true;
  await Promise.all(writing);
  for (const answer of refused) expect(answer).toMatchObject(away);
  // Nothing that was answered is lost; the server is the same process, and its streams never ended.
  const { body } = await plane.scim("GET", "/Users?count=1000");
  const there = new Set((body["Resources"] as { userName: string }[]).map(({ userName }) => userName));
  expect(accepted.filter((userName) => !there.has(userName))).toEqual([]);
  const { brokenSeq } = await (await plane.client(AuditService)).verifyAudit({});
  expect(brokenSeq).toBe(0n);
  const ids = (body["Resources"] as { id: string }[]).map(({ id }) => ({ value: id }));
  await plane.scim("POST", "/Groups", { displayName: "slurm-sudo", members: ids.slice(0, 3) });
  await until(async () => (await plane.acked()) === 2 && holders.every(({ heard }) => heard.includes("delta")));
  expect(holders.map(({ ended }) => ended)).toEqual([undefined, undefined]);
  for (const holder of holders) holder[Symbol.dispose]();
});

test("two programs that open an empty database at once migrate it once; a newer one's is refused", async () => {
  const database = await createDatabase();
  const stores = await Promise.all([1, 2, 3].map(() => openStore(database, Date.now)));
  for (const store of stores) await store[Symbol.asyncDispose]();
  const client = new pg.Client({ connectionString: database });
  await client.connect();
  const { rows } = await client.query<{ step: number }>("select step from migrations order by step");
  expect(rows.map(({ step }) => step)).toEqual(migrations.map((_, n) => n + 1));
  await client.query("insert into migrations values ($1, 0)", [migrations.length + 1]);
  await client.end();
  await expect(openStore(database, Date.now)).rejects.toThrow(/use a newer one/);
});

test("the audit cannot be altered by a statement", async () => {
  await using plane = await ControlPlane.start();
  const client = new pg.Client({ connectionString: plane.database });
  await client.connect();
  for (const statement of ["update audit set actor = 'x'", "delete from audit", "truncate audit"]) {
    await expect(client.query(statement)).rejects.toThrow(/append-only/);
  }
  await client.end();
});

async function migrate(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const migrating = startBin("rollcall-server", ["migrate", ...args]);
  await once(migrating.process, "close");
  return { code: migrating.process.exitCode, stdout: migrating.stdout, stderr: migrating.stderr };
}

test("an embedded database moves into PostgreSQL and back; nodes go on by delta", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-migrate-"));
  const file = join(folder.path, "rollcall.db");
  await using plane = await ControlPlane.start(folder.path, ["--database", file]);
  const { server, identities } = await enrolled(plane, 1);
  const [identity] = identities;
  if (!identity) throw new Error("no node");
  const ada = await plane.scim("POST", "/Users", { userName: "ada", active: true });
  await plane.scim("POST", "/Groups", { displayName: "slurm-users", members: [{ value: ada.body["id"] }] });
  const first = new Holder(server, identity);
  await until(async () => (await plane.acked()) === 1);
  first[Symbol.dispose]();
  await plane.down();

  const database = await createDatabase();
  const moved = await migrate("--from", file, "--to", database, "-o", "json");
  expect([moved.code, moved.stderr]).toEqual([0, ""]);
  expect(JSON.parse(moved.stdout)).toMatchObject({ tables: { users: 1, clusters: 1, nodes: 1 } });
  const again = await migrate("--from", file, "--to", database);
  expect([again.code, again.stderr]).toEqual([7, expect.stringContaining("has rows in it already")]);

  await plane.up(["--database", database]);
  const bob = await plane.scim("POST", "/Users", { userName: "bob", active: true });
  expect(bob.status).toBe(201);
  await plane.scim("POST", "/Groups", { displayName: "slurm-sudo", members: [{ value: bob.body["id"] }] });
  using second = new Holder(server, identity, first.at);
  await until(async () => (await plane.acked()) === 1);
  expect(second.heard).toEqual(["welcome", "delta"]);
  await plane.down();

  const back = await migrate("--from", database, "--to", join(folder.path, "back.db"), "-o", "json");
  expect([back.code, JSON.parse(back.stdout)]).toMatchObject([0, { tables: { users: 2 } }]);
});

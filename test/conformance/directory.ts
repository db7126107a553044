/** A directory on a real SQLite file, with a clock that the test moves, for tests that need no server around it. */

import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { print, type Resource } from "../../identity/resource.ts";
import { getCluster, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { createGroup, updateGroup } from "../../server/directory/groups.ts";
import { createUser, updateUser } from "../../server/directory/users.ts";
import { openStore } from "../../server/store/engine.ts";
import { newDatabase } from "../processes/postgres.ts";

export const scim = { kind: "scim", connection: "okta" } as const;
export const admin = { kind: "admin" } as const;

export interface TestDirectory extends AsyncDisposable {
  readonly ctx: Context;
  readonly org: string;
  readonly cluster: string;
  /** Where it is kept, as `openStore` takes it. */
  readonly database: string;
  /** Moves the clock, by milliseconds. */
  pass(ms: number): void;
  /** Makes people by userName, in the order of their names; gives their ids. */
  people(...userNames: string[]): Promise<string[]>;
  group(displayName: string, members: readonly string[]): Promise<string>;
  deactivate(id: string, active?: boolean): Promise<void>;
  leave(group: string, ...members: string[]): Promise<void>;
  join(group: string, ...members: string[]): Promise<void>;
  /** What the nodes are sent, of some kinds if they are named, in the order of canonical lines: people by uid. */
  nodes(...kinds: Resource["kind"][]): Promise<Resource[]>;
  /** POSIX names that the nodes know, in order. */
  names(): Promise<string[]>;
}

export async function openDirectory(): Promise<TestDirectory> {
  const folder = await mkdtempDisposable(join(tmpdir(), "rollcall-directory-"));
  let time = 1_700_000_000_000;
  const now = () => time++;
  const database = await newDatabase(folder.path);
  const store = await openStore(database, now);
  const ctx: Context = { store, now, newId: randomUUID, newSecret: () => randomBytes(32).toString("base64url") };
  await seed(ctx);
  const { cluster } = await getCluster(ctx, "default");
  const { org, id } = cluster;
  const nodes = async (...kinds: Resource["kind"][]): Promise<Resource[]> => {
    const found = await Promise.all(
      (["login", "controller"] as const).map((role) => store.read((tx) => tx.log.snapshot(id, role))),
    );
    const lines = new Map(found.flat().map((resource) => [print(resource), resource]));
    const sorted = [...lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, resource]) => resource);
    return sorted.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
  };
  return {
    ctx,
    org,
    cluster: id,
    database,
    pass: (ms) => {
      time += ms;
    },
    people: (...userNames) =>
      Promise.all(userNames.map(async (userName) => (await createUser(ctx, scim, org, person(userName))).id)),
    group: async (displayName, members) =>
      (await createGroup(ctx, scim, org, { displayName, externalId: undefined, members })).id,
    deactivate: async (id, active = false) => {
      await updateUser(ctx, scim, org, id, (user) => ({ ...user, active }));
    },
    leave: async (group, ...members) => {
      await updateGroup(ctx, scim, org, group, [{ kind: "remove-members", members }]);
    },
    join: async (group, ...members) => {
      await updateGroup(ctx, scim, org, group, [{ kind: "add-members", members }]);
    },
    nodes,
    names: async () => (await nodes("user")).flatMap((user) => (user.kind === "user" ? [user.name] : [])).sort(),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export function person(userName: string) {
  return { userName, externalId: undefined, active: true, fullName: userName, attributes: {} };
}

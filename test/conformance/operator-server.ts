/**
 * The operator API as operators reach it, for conformance tests: the real routes over TLS, a real SQLite store, our own
 * certificate authority. Only the fleet is not that of a server: a small one in memory, written for tests, in which a test
 * says how each node stands.
 */

import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import { fastifyConnectPlugin } from "@connectrpc/connect-fastify";
import Fastify from "fastify";
import { type Logger, pino } from "pino";
import type { Position } from "../../identity/position.ts";
import { refuse } from "../../identity/refusal.ts";
import type { Role } from "../../identity/scope.ts";
import { operatorRoutes } from "../../server/api/routes.ts";
import { openAuthority } from "../../server/authority/authority.ts";
import type { Actor } from "../../server/directory/actor.ts";
import { getCluster, orgId, seed } from "../../server/directory/clusters.ts";
import type { Context } from "../../server/directory/context.ts";
import { createGroup, listGroups, updateGroup } from "../../server/directory/groups.ts";
import { createAdminToken } from "../../server/directory/tokens.ts";
import { createUser, everything } from "../../server/directory/users.ts";
import type { Fleet, NodeState, NodeStatus } from "../../server/rollout/fleet.ts";
import { openStore } from "../../server/store/engine.ts";
import { unseen } from "../../server/store/nodes.ts";
import { newDatabase } from "../processes/postgres.ts";

/** What a test says of a node; everything else is as of one that was never heard. */
export interface Said {
  readonly state: NodeState;
  readonly role?: Role;
  readonly acked?: Position;
  readonly refused?: { revision: bigint; sink: string; reason: string; retrying?: boolean };
  readonly isolated?: { sink: string; key: string; reason: string };
  /** Milliseconds before now. */
  readonly heard?: number;
}

export class TestFleet implements Fleet {
  readonly resynced: string[] = [];
  /** How many calls listen for changes now. */
  readonly listeners = new Set<(cluster: string) => void>();
  readonly #nodes = new Map<string, NodeStatus>();
  readonly #now: () => number;
  readonly #enrolledAt: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#enrolledAt = now();
  }

  say(cluster: string, name: string, said: Said): void {
    const { state, role = "login", acked, refused, isolated, heard } = said;
    const now = this.#now();
    this.#nodes.set(`${cluster}/${name}`, {
      node: {
        id: name,
        cluster,
        role,
        name,
        enrolledAt: this.#enrolledAt,
        serial: "01",
        serialBefore: undefined,
        expiresAt: this.#enrolledAt + 86_400_000,
        banned: state === "banned",
        authority: undefined,
        trusts: [],
      },
      state,
      progress: {
        ...unseen,
        software: "rollcall-agent 0.1.0",
        seenAt: heard === undefined ? undefined : now - heard,
        acked,
        ackedAt: acked && now,
        degraded: isolated ? [{ sink: isolated.sink, isolated: [isolated] }] : [],
        refused: refused && { retrying: false, ...refused, at: now },
      },
      latency: acked ? 25 : undefined,
      deliveredBy: acked ? "delta" : undefined,
    });
    for (const listener of this.listeners) listener(cluster);
  }

  each(cluster: string): readonly NodeStatus[] {
    return [...this.#nodes.values()].filter(({ node }) => node.cluster === cluster);
  }

  list(cluster: string): readonly NodeStatus[] {
    return this.each(cluster).toSorted((a, b) => (a.node.name < b.node.name ? -1 : 1));
  }

  find(cluster: string, name: string): NodeStatus | undefined {
    return this.#nodes.get(`${cluster}/${name}`);
  }

  async resync(_actor: Actor, _cluster: string, name: string): Promise<void> {
    this.resynced.push(name);
  }

  async ban(_actor: Actor, cluster: string, name: string): Promise<void> {
    if (!this.find(cluster, name)) refuse("not-found", `no node ${name}`);
    this.say(cluster, name, { state: "banned" });
  }

  onChange(listener: (cluster: string) => void): Disposable {
    this.listeners.add(listener);
    return { [Symbol.dispose]: () => this.listeners.delete(listener) };
  }
}

export interface OperatorServer extends AsyncDisposable {
  readonly ctx: Context;
  readonly fleet: TestFleet;
  readonly url: string;
  readonly token: string;
  readonly caPath: string;
  /** A folder for the test's own files. */
  readonly folder: string;
  /** Id of the cluster `default`. */
  readonly cluster: string;
  /** What the server logged: one JSON line each. */
  readonly logged: string[];
  /** The newest position of the cluster `default`. */
  head(): Promise<Position>;
  /** Makes a user with access to the cluster `default`. */
  admit(userName: string): Promise<void>;
}

/** With the tests' fleet, or with another one in its place. */
export async function operatorServer(other?: (ctx: Context) => Fleet): Promise<OperatorServer> {
  await using open = new AsyncDisposableStack();
  const folder = open.use(await mkdtempDisposable("/tmp/rollcall-operator-")).path;
  const store = open.use(await openStore(await newDatabase(folder), Date.now));
  const newSecret = () => randomBytes(32).toString("base64url");
  const ctx: Context = { store, now: Date.now, newId: randomUUID, newSecret };
  await seed(ctx);
  const authority = await openAuthority(folder, { now: Date.now });
  const { key, cert } = await authority.issueServer(["localhost", "127.0.0.1"]);
  const fleet = new TestFleet(Date.now);
  const logged: string[] = [];
  const log: Logger = pino({}, { write: (line) => void logged.push(line) });
  const app = Fastify({ http2: true, https: { allowHTTP1: true, key, cert }, forceCloseConnections: true });
  let url = "";
  await app.register(fastifyConnectPlugin, {
    routes: operatorRoutes(ctx, other?.(ctx) ?? fleet, { publicUrl: () => url, trusted: () => authority.trusted, log }),
    // Watches are open for as long as their clients like: without this, closing waits for them.
    shutdownTimeoutMs: 0,
  });
  url = await app.listen({ host: "127.0.0.1", port: 0 });
  open.defer(() => app.close());
  const org = await orgId(ctx, "default");
  const admin = { kind: "admin" } as const;
  const closing = open.move();
  return {
    ctx,
    fleet,
    url,
    token: await createAdminToken(ctx, "test"),
    caPath: join(folder, "ca.pem"),
    folder,
    cluster: (await getCluster(ctx, "default")).cluster.id,
    logged,
    head: async () => (await getCluster(ctx, "default")).cluster.head.login,
    async admit(userName) {
      const person = { userName, externalId: undefined, active: true, fullName: userName, attributes: {} };
      const { id } = await createUser(ctx, admin, org, person);
      const { groups } = await listGroups(
        ctx.store,
        admin,
        org,
        everything,
        { offset: 0, limit: 1 },
        { members: false },
      );
      const group = { displayName: "slurm-users", externalId: undefined, members: [id] };
      if (groups[0]) await updateGroup(ctx, admin, org, groups[0].group.id, [{ kind: "add-members", members: [id] }]);
      else await createGroup(ctx, admin, org, group);
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

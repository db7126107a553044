/**
 * A cluster's log: contiguous revisions, each with what it did to each resource and the digest that every role's nodes
 * hold after it. `append` is the last thing a transaction does: its final statement moves the head row, on which writers
 * of one cluster queue, so revisions are contiguous and become visible in order.
 */

import type { Kysely } from "kysely";
import type { Edit } from "../../identity/copy.ts";
import type { Change } from "../../identity/delta.ts";
import { type Digest, shift } from "../../identity/digest.ts";
import type { Gid } from "../../identity/id.ts";
import type { Position, Revision } from "../../identity/position.ts";
import { kindOf, parse, print, type Resource, type ResourceKey } from "../../identity/resource.ts";
import { carries, type Role, roles } from "../../identity/scope.ts";
import { clusterById, heads } from "./clusters.ts";
import { compiled } from "./compiled.ts";
import { membersOf } from "./holds.ts";
import { insertRows, putRows } from "./insert.ts";
import type { Schema } from "./schema.ts";
import { type Page, slices } from "./users.ts";

/** One committed change of a cluster. */
export interface RevisionRecord {
  readonly revision: Revision;
  readonly committedAt: number;
  readonly cause: string;
  readonly puts: number;
  readonly removals: number;
  readonly heads: Readonly<Record<Role, Position>>;
}

/** An edit of the projection, with the directory subject (user or group) that owns the resource. */
export interface OwnedEdit extends Edit {
  readonly owner: string;
}

const resourcesOf = compiled((db, { cluster, some }: { cluster: string; some: readonly string[] }) =>
  db.selectFrom("resources").select(["owner", "line"]).where("cluster", "=", cluster).where("owner", "in", some),
);

interface Move {
  readonly cluster: string;
  readonly before: number;
  readonly revision: number;
  readonly people: number;
  readonly digest_login: string;
  readonly digest_compute: string;
  readonly digest_controller: string;
}

const moveHead = compiled((db, { cluster, before, ...set }: Move) =>
  db.updateTable("clusters").set(set).where("id", "=", cluster).where("revision", "=", before),
);

const removalAfter = compiled((db, { cluster, revision }: { cluster: string; revision: number }) =>
  db
    .selectFrom("revisions")
    .select("revision")
    .where("cluster", "=", cluster)
    .where("revision", ">", revision)
    .where("removals", ">", 0)
    .limit(1),
);

const revisionOf = compiled((db, { cluster, revision }: { cluster: string; revision: number }) =>
  revisionsOf(db, cluster).where("revisions.revision", "=", revision),
);

function revisionsOf(db: Kysely<Schema>, cluster: string) {
  return db
    .selectFrom("revisions")
    .innerJoin("clusters", "clusters.id", "revisions.cluster")
    .selectAll("revisions")
    .select(["clusters.epoch_seq", "clusters.epoch_id"])
    .where("revisions.cluster", "=", cluster);
}

export class Log {
  readonly #db: Kysely<Schema>;
  readonly #appended: Set<string>;

  constructor(db: Kysely<Schema>, appended: Set<string>) {
    this.#db = db;
    this.#appended = appended;
  }

  /** What the projection now holds of some subjects. */
  async resourcesOf(cluster: string, owners: readonly string[]): Promise<Map<string, Resource[]>> {
    const found = new Map<string, Resource[]>(owners.map((owner) => [owner, []]));
    for (const some of slices(owners)) {
      const { rows } = await resourcesOf(this.#db, { cluster, some });
      for (const { owner, line } of rows) found.get(owner)?.push(parse(line));
    }
    return found;
  }

  /** Everything that the projection holds for a role. */
  async snapshot(cluster: string, role: Role): Promise<Resource[]> {
    const rows = await this.#db.selectFrom("resources").select("line").where("cluster", "=", cluster).execute();
    return rows.map(({ line }) => parse(line)).filter(({ kind }) => carries(role, kind));
  }

  /** The next resources of the projection after a key, in the order of keys, whatever their role. */
  async resourcesAfter(cluster: string, key: string, limit: number): Promise<[ResourceKey, string][]> {
    const rows = await this.#db
      .selectFrom("resources")
      .select(["key", "line"])
      .where("cluster", "=", cluster)
      .where("key", ">", key)
      .orderBy("key")
      .limit(limit)
      .execute();
    return rows.map(({ key, line }) => [key as ResourceKey, line]);
  }

  /** What the resources that changed after a revision were at it; undefined: there was none. */
  async before(cluster: string, revision: Revision): Promise<Map<ResourceKey, string | undefined>> {
    const changed = await this.#db
      .selectFrom("log")
      .select("key")
      .distinct()
      .where("cluster", "=", cluster)
      .where("revision", ">", Number(revision))
      .execute();
    const keys = changed.map(({ key }) => key as ResourceKey);
    const found = new Map(keys.map((key) => [key, undefined as string | undefined]));
    for (let i = 0; i < keys.length; i += 500) {
      const rows = await this.#db
        .selectFrom("log")
        .select(["revision", "key", "line"])
        .where("cluster", "=", cluster)
        .where("key", "in", keys.slice(i, i + 500))
        .where("revision", "<=", Number(revision))
        .execute();
      // Ordered here: asked for the order, SQLite reads the whole log for it instead of the few keys.
      for (const { key, line } of rows.sort((a, b) => Number(a.revision) - Number(b.revision))) {
        found.set(key as ResourceKey, line ?? undefined);
      }
    }
    return found;
  }

  async has(cluster: string, key: ResourceKey): Promise<boolean> {
    const row = await this.#db
      .selectFrom("resources")
      .select("key")
      .where("cluster", "=", cluster)
      .where("key", "=", key)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** How many members the nodes know of a group; counts no further than `most`. */
  async countMembers(cluster: string, gid: Gid, most: number): Promise<number> {
    const { from, to } = membersOf(gid);
    const rows = await this.#db
      .selectFrom("resources")
      .select("key")
      .where("cluster", "=", cluster)
      .where("key", ">=", from)
      .where("key", "<", to)
      .limit(most)
      .execute();
    return rows.length;
  }

  /** How many times a member left a group after a time. */
  async membersLost(cluster: string, gid: Gid, since: number): Promise<number> {
    const { from, to } = membersOf(gid);
    const row = await this.#db
      .selectFrom("log")
      .innerJoin("revisions", (join) =>
        join.onRef("revisions.cluster", "=", "log.cluster").onRef("revisions.revision", "=", "log.revision"),
      )
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where("log.cluster", "=", cluster)
      .where("log.key", ">=", from)
      .where("log.key", "<", to)
      .where("log.line", "is", null)
      .where("revisions.committed_at", ">", since)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  /** Some resources as the nodes are sent them; those that are not there are left out. */
  async some(cluster: string, keys: readonly ResourceKey[]): Promise<Map<ResourceKey, Resource>> {
    const found = new Map<ResourceKey, Resource>();
    for (let i = 0; i < keys.length; i += 500) {
      const rows = await this.#db
        .selectFrom("resources")
        .select(["key", "line"])
        .where("cluster", "=", cluster)
        .where("key", "in", keys.slice(i, i + 500))
        .execute();
      for (const { key, line } of rows) found.set(key as ResourceKey, parse(line));
    }
    return found;
  }

  /** The newest revision that changed each of some resources; those that were never there are left out. */
  async newestOf(cluster: string, keys: readonly ResourceKey[]): Promise<Map<ResourceKey, Revision>> {
    const found = new Map<ResourceKey, Revision>();
    for (let i = 0; i < keys.length; i += 500) {
      const rows = await this.#db
        .selectFrom("log")
        .select((eb) => ["key", eb.fn.max("revision").as("last")])
        .where("cluster", "=", cluster)
        .where("key", "in", keys.slice(i, i + 500))
        .groupBy("key")
        .execute();
      for (const { key, last } of rows) found.set(key as ResourceKey, BigInt(last));
    }
    return found;
  }

  /** Appends one revision, and gives it. Its edits are checked against nothing: they come from the projection. */
  async append(cluster: string, edits: readonly OwnedEdit[], cause: string, now: number): Promise<Revision> {
    const row = await clusterById(this.#db, cluster);
    if (!row) throw new Error(`no cluster ${cluster}`);
    const head = heads(row);
    const before = Number(row.revision);
    const revision = before + 1;
    const digests = {
      digest_login: digestAfter(head.login.digest, "login", edits),
      digest_compute: digestAfter(head.compute.digest, "compute", edits),
      digest_controller: digestAfter(head.controller.digest, "controller", edits),
    };
    await this.#writeResources(cluster, edits);
    const changes = edits.map(({ key, after }) => ({ cluster, revision, key, line: after ? print(after) : null }));
    for (const some of slices(changes)) await insertRows(this.#db, "log", some);
    const puts = edits.filter(({ after }) => after).length;
    const removals = edits.length - puts;
    await insertRows(this.#db, "revisions", [
      { cluster, revision, committed_at: now, cause, puts, removals, ...digests },
    ]);
    const people = Number(row.people) + peopleMore(edits);
    const moved = await moveHead(this.#db, { cluster, before, revision, people, ...digests });
    if (moved.numAffectedRows !== 1n) throw new Error(`cluster ${cluster}: the head moved from ${before} meanwhile`);
    this.#appended.add(cluster);
    return BigInt(revision);
  }

  async #writeResources(cluster: string, edits: readonly OwnedEdit[]): Promise<void> {
    const gone = edits.filter(({ after }) => !after).map(({ key }) => key);
    for (let i = 0; i < gone.length; i += 500) {
      await this.#db
        .deleteFrom("resources")
        .where("cluster", "=", cluster)
        .where("key", "in", gone.slice(i, i + 500))
        .execute();
    }
    const kept = edits.flatMap(({ key, owner, after }) => (after ? [{ cluster, key, owner, line: print(after) }] : []));
    for (const some of slices(kept)) await putRows(this.#db, "resources", ["cluster", "key"], some);
  }

  /** What a role's nodes were told after `since`, up to and with `until`. */
  async changes(cluster: string, role: Role, since: Revision, until: Revision): Promise<Change[]> {
    const rows = await this.#db
      .selectFrom("log")
      .select(["revision", "key", "line"])
      .where("cluster", "=", cluster)
      .where("revision", ">", Number(since))
      .where("revision", "<=", Number(until))
      .execute();
    return rows
      .map(({ revision, key, line }) => ({
        revision: BigInt(revision),
        key: key as ResourceKey,
        put: line === null ? undefined : parse(line),
      }))
      .filter(({ key }) => carries(role, kindOf(key)));
  }

  /** Whether anything was taken away after a revision. */
  async removesAfter(cluster: string, revision: Revision): Promise<boolean> {
    const { rows } = await removalAfter(this.#db, { cluster, revision: Number(revision) });
    return rows.length > 0;
  }

  /** The newest revision that was committed before a time. */
  async newestBefore(cluster: string, time: number): Promise<Revision | undefined> {
    const row = await this.#db
      .selectFrom("revisions")
      .select("revision")
      .where("cluster", "=", cluster)
      .where("committed_at", "<", time)
      .orderBy("committed_at", "desc")
      .orderBy("revision", "desc")
      .limit(1)
      .executeTakeFirst();
    return row && BigInt(row.revision);
  }

  /**
   * Forgets, of the resources that some next revisions up to a horizon changed, what they changed earlier. Gives how many
   * changes went, and whether there are more revisions to look at.
   */
  async compact(cluster: string, horizon: Revision, most: bigint): Promise<{ gone: number; isMore: boolean }> {
    const { compacted } = await this.#db
      .selectFrom("clusters")
      .select("compacted")
      .where("id", "=", cluster)
      .executeTakeFirstOrThrow();
    const from = Number(compacted);
    const to = Math.min(Number(horizon), from + Number(most));
    if (to <= from) return { gone: 0, isMore: false };
    const changed = await this.#db
      .selectFrom("log")
      .select((eb) => ["key", eb.fn.max("revision").as("last")])
      .where("cluster", "=", cluster)
      .where("revision", ">", from)
      .where("revision", "<=", to)
      .groupBy("key")
      .execute();
    let gone = 0;
    for (const { key, last } of changed) {
      const overtaken = this.#db.deleteFrom("log").where("cluster", "=", cluster).where("key", "=", key);
      const { numDeletedRows } = await overtaken.where("revision", "<", Number(last)).executeTakeFirstOrThrow();
      gone += Number(numDeletedRows);
    }
    await this.#db.updateTable("clusters").set({ compacted: to }).where("id", "=", cluster).execute();
    return { gone, isMore: to < Number(horizon) };
  }

  async revision(cluster: string, revision: Revision): Promise<RevisionRecord | undefined> {
    const { rows } = await revisionOf(this.#db, { cluster, revision: Number(revision) });
    const [row] = rows;
    return row && fromRow(row);
  }

  /** Newest first. */
  async revisions(cluster: string, { offset, limit }: Page): Promise<RevisionRecord[]> {
    const rows = await revisionsOf(this.#db, cluster)
      .orderBy("revisions.revision", "desc")
      .limit(limit)
      .offset(offset)
      .execute();
    return rows.map(fromRow);
  }
}

/** How many people more some edits let in; less than none, if people go. Who is on the way out has gone. */
function peopleMore(edits: readonly OwnedEdit[]): number {
  const isIn = (resource: Resource | undefined): boolean => resource?.kind === "user" && !resource.locked;
  return edits.filter(({ after }) => isIn(after)).length - edits.filter(({ before }) => isIn(before)).length;
}

function digestAfter(from: Digest, role: Role, edits: readonly Edit[]): Digest {
  const carried = edits.filter(({ key }) => carries(role, kindOf(key)));
  return shift(
    from,
    carried.flatMap(({ after }) => after ?? []),
    carried.flatMap(({ before }) => before ?? []),
  );
}

function fromRow(row: Schema["revisions"] & { epoch_seq: number; epoch_id: string }): RevisionRecord {
  return {
    revision: BigInt(row.revision),
    committedAt: Number(row.committed_at),
    cause: row.cause,
    puts: row.puts,
    removals: row.removals,
    heads: heads(row),
  };
}

/** The digests of a cluster that holds nothing. */
export function emptyHeads(epoch: Position["epoch"], digest: Digest, revision: Revision): Record<Role, Position> {
  const entries = roles.map((role) => [role, { epoch, revision, digest }] as const);
  return Object.fromEntries(entries) as Record<Role, Position>;
}

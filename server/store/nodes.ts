/** Nodes: who enrolled, with which certificate, and how far each is known to be. */

import type { Kysely, Selectable } from "kysely";
import type { Digest } from "../../identity/digest.ts";
import type { Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import { compiledOnce, filled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import type { Page } from "./users.ts";

/** A refusal, as the node gave it. */
export interface Refused {
  readonly revision: bigint;
  readonly sink: string;
  readonly reason: string;
  readonly at: number;
  readonly retrying: boolean;
}

/** Resources that a sink holds and cannot serve. */
export interface Degraded {
  readonly sink: string;
  readonly isolated: readonly { readonly key: string; readonly reason: string }[];
}

/** What is known of a node's progress; written behind, in batches. */
export interface Progress {
  readonly software: string | undefined;
  readonly seenAt: number | undefined;
  readonly acked: Position | undefined;
  readonly ackedAt: number | undefined;
  readonly degraded: readonly Degraded[];
  readonly refused: Refused | undefined;
  /** The highest numbers that it was ever told of; 0: none. */
  readonly highestUid: number;
  readonly highestGid: number;
  /** Whether it held more than this database knew, at its last Hello. */
  readonly ahead: boolean;
}

/** Who a node is. */
export interface Enrolment {
  readonly id: string;
  readonly cluster: string;
  readonly role: Role;
  readonly name: string;
  readonly enrolledAt: number;
  readonly serial: string;
  readonly serialBefore: string | undefined;
  readonly expiresAt: number;
  readonly banned: boolean;
}

export interface Node extends Enrolment {
  readonly progress: Progress;
  /** An operator asked for a snapshot, which the node has not acked yet. */
  readonly resync: boolean;
}

export class Nodes {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async get(id: string): Promise<Node | undefined> {
    const row = await this.#db.selectFrom("nodes").selectAll().where("id", "=", id).executeTakeFirst();
    return row && fromRow(row);
  }

  async byName(cluster: string, name: string): Promise<Node | undefined> {
    const row = await this.#db
      .selectFrom("nodes")
      .selectAll()
      .where("cluster", "=", cluster)
      .where("name", "=", name)
      .executeTakeFirst();
    return row && fromRow(row);
  }

  async list(cluster: string, { offset, limit }: Page): Promise<Node[]> {
    const rows = await this.#db
      .selectFrom("nodes")
      .selectAll()
      .where("cluster", "=", cluster)
      .orderBy("name")
      .limit(limit)
      .offset(offset)
      .execute();
    return rows.map(fromRow);
  }

  /** Every node of every cluster, for the server's start. */
  async all(): Promise<Node[]> {
    const rows = await this.#db.selectFrom("nodes").selectAll().execute();
    return rows.map(fromRow);
  }

  async count(cluster: string): Promise<number> {
    const row = await this.#db
      .selectFrom("nodes")
      .select((eb) => eb.fn.countAll<number>().as("total"))
      .where("cluster", "=", cluster)
      .where("banned", "=", 0)
      .executeTakeFirstOrThrow();
    return Number(row.total);
  }

  /** A new enrolment: what was known of an earlier node of that name is forgotten. */
  async enrol(node: Enrolment): Promise<void> {
    await this.#db.deleteFrom("nodes").where("cluster", "=", node.cluster).where("name", "=", node.name).execute();
    await this.#db
      .insertInto("nodes")
      .values({
        id: node.id,
        cluster: node.cluster,
        role: node.role,
        name: node.name,
        enrolled_at: node.enrolledAt,
        serial: node.serial,
        serial_before: node.serialBefore ?? null,
        expires_at: node.expiresAt,
        banned: node.banned ? 1 : 0,
        resync: 0,
        ...progressRow(unseen),
      })
      .execute();
  }

  async renew(id: string, serial: string, expiresAt: number, serialBefore: string): Promise<void> {
    await this.#db
      .updateTable("nodes")
      .set({ serial, serial_before: serialBefore, expires_at: expiresAt })
      .where("id", "=", id)
      .execute();
  }

  async ban(id: string): Promise<void> {
    await this.#db.updateTable("nodes").set({ banned: 1 }).where("id", "=", id).execute();
  }

  async setResync(id: string, wanted: boolean): Promise<void> {
    await this.#db
      .updateTable("nodes")
      .set({ resync: wanted ? 1 : 0 })
      .where("id", "=", id)
      .execute();
  }

  async putProgress(id: string, progress: Progress): Promise<void> {
    const statement = compiledOnce(this.#db, "put progress", () =>
      this.#db.updateTable("nodes").set(progressPlaces).where("id", "=", "$id").compile(),
    );
    const values = Object.entries(progressRow(progress)).map(([column, value]) => [`$${column}`, value]);
    await this.#db.executeQuery(filled(statement, { ...Object.fromEntries(values), $id: id }));
  }
}

/** What is known of a node that was never heard. */
export const unseen: Progress = {
  software: undefined,
  seenAt: undefined,
  acked: undefined,
  ackedAt: undefined,
  degraded: [],
  refused: undefined,
  highestUid: 0,
  highestGid: 0,
  ahead: false,
};

// Places of a statement that is made once; it is never run as it stands.
const progressPlaces = Object.fromEntries(
  Object.keys(progressRow(unseen)).map((column) => [column, `$${column}`]),
) as unknown as ReturnType<typeof progressRow>;

function progressRow({ software, seenAt, acked, ackedAt, degraded, refused, ...claims }: Progress) {
  return {
    highest_uid: claims.highestUid,
    highest_gid: claims.highestGid,
    ahead: Number(claims.ahead),
    software: software ?? null,
    seen_at: seenAt ?? null,
    acked_epoch_seq: acked ? Number(acked.epoch.seq) : null,
    acked_epoch_id: acked?.epoch.id ?? null,
    acked_revision: acked ? Number(acked.revision) : null,
    acked_digest: acked?.digest ?? null,
    acked_at: ackedAt ?? null,
    degraded: degraded.length > 0 ? JSON.stringify(degraded) : null,
    refused_revision: refused ? Number(refused.revision) : null,
    refused_sink: refused?.sink ?? null,
    refused_reason: refused?.reason ?? null,
    refused_at: refused?.at ?? null,
    refused_retrying: refused ? Number(refused.retrying) : null,
  };
}

function fromRow(row: Selectable<Schema["nodes"]>): Node {
  return {
    id: row.id,
    cluster: row.cluster,
    role: row.role as Role,
    name: row.name,
    enrolledAt: Number(row.enrolled_at),
    serial: row.serial,
    serialBefore: row.serial_before ?? undefined,
    expiresAt: Number(row.expires_at),
    banned: row.banned === 1,
    resync: row.resync === 1,
    progress: {
      highestUid: Number(row.highest_uid),
      highestGid: Number(row.highest_gid),
      ahead: row.ahead === 1,
      software: row.software ?? undefined,
      seenAt: row.seen_at === null ? undefined : Number(row.seen_at),
      acked:
        row.acked_revision === null
          ? undefined
          : {
              epoch: { seq: BigInt(row.acked_epoch_seq ?? 0), id: row.acked_epoch_id ?? "" },
              revision: BigInt(row.acked_revision),
              digest: row.acked_digest as Digest,
            },
      ackedAt: row.acked_at === null ? undefined : Number(row.acked_at),
      degraded: row.degraded === null ? [] : (JSON.parse(row.degraded) as Degraded[]),
      refused:
        row.refused_revision === null
          ? undefined
          : {
              revision: BigInt(row.refused_revision),
              sink: row.refused_sink ?? "",
              reason: row.refused_reason ?? "",
              at: Number(row.refused_at),
              retrying: row.refused_retrying === 1,
            },
    },
  };
}

/** Nodes: who enrolled, with which certificate, and how far each is known to be. */

import type { Kysely, Selectable } from "kysely";
import type { Digest } from "../../identity/digest.ts";
import type { Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import { compiled } from "./compiled.ts";
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

/** How far a sink is that follows what the node holds, and does not keep it waiting. */
export interface SinkHealth {
  readonly sink: string;
  /** The newest revision of which it made everything true; 0: none yet. */
  readonly revision: bigint;
  /** Why it is behind; empty: nothing is wrong. */
  readonly reason: string;
  /** Since when it gives this reason; undefined: it gives none. */
  readonly since: number | undefined;
  /** Uids of people whose jobs are left to finish: of them, `revision` says nothing. */
  readonly lingering: readonly number[];
}

/** What an agent saw on its node. Times are milliseconds since 1970; every text is printable and short. */
export interface NodeReport {
  readonly drift: {
    readonly count: number;
    readonly lastAt: number | undefined;
    readonly files: readonly string[];
    readonly strays: readonly string[];
  };
  readonly faults: readonly string[];
  readonly comparison: Comparison | undefined;
}

/** What a comparing agent found. */
export interface Comparison {
  readonly at: number | undefined;
  readonly revision: string;
  readonly users: number;
  readonly usersDiffering: number;
  readonly groups: number;
  readonly groupsDiffering: number;
  readonly keys: number;
  readonly keysDiffering: number;
  readonly differences: readonly Readonly<Record<"kind" | "name" | "field" | "here" | "there", string>>[];
  readonly fault: string;
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
  /** The epoch of what it said to hold in its last Hello; 0n: nothing. */
  readonly epoch: bigint;
  /** The run of the agent that said Hello last, and the one before it. */
  readonly instances: readonly [string, string];
  /** Whether it held more than this database knew, at its last Hello. */
  readonly ahead: boolean;
  /** It only compares, and serves nothing: nothing that it holds is served anywhere. */
  readonly comparing: boolean;
  readonly report: NodeReport | undefined;
  /** Which run of the agent refused what, so that a reconnect of the same one is not sent it again. */
  readonly refusal: { readonly instance: string; readonly position: Position } | undefined;
  /** Sinks that follow by themselves; undefined: the node has not said yet which it has. */
  readonly sinks: readonly SinkHealth[] | undefined;
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
  /** The authority that its newest certificate is of; undefined until it was seen to use it. */
  readonly authority: string | undefined;
  /** The authorities that it was given to trust with that certificate; none: by a program that told of none. */
  readonly trusts: readonly string[];
}

export interface Node extends Enrolment {
  readonly progress: Progress;
  /** An operator asked for a snapshot, which the node has not acked yet. */
  readonly resync: boolean;
  /** The server that holds its stream, of several that share the database. */
  readonly claimedBy: string | undefined;
  /** Grows with every change of any node. */
  readonly touch: number;
}

/** Whether a node is one that Slurm follows: a controller, unless it said that it has no such sink. */
export function keepsSlurm({ role, banned, progress }: Enrolment & { readonly progress: Progress }): boolean {
  if (role !== "controller" || banned) return false;
  return progress.sinks === undefined || progress.sinks.some(({ sink }) => sink === slurm);
}

/** What a controller's sink is called that mirrors accounts and associations. */
export const slurm = "slurm";

interface Writing {
  readonly id: string;
  readonly server: string;
  readonly claimed_by: string | null;
  readonly touch: number;
}

const putProgress = compiled((db, { id, server, ...set }: Writing & ReturnType<typeof progressRow>) =>
  db
    .updateTable("nodes")
    .set(set)
    .where("id", "=", id)
    .where((eb) => eb.or([eb("claimed_by", "is", null), eb("claimed_by", "=", server)])),
);

const newestTouch = compiled((db) => db.selectFrom("nodes").select("touch").orderBy("touch", "desc").limit(1));

export class Nodes {
  /** Whether this transaction changed what other servers must know of at once. */
  changed = false;
  readonly #db: Kysely<Schema>;
  #touch: number | undefined;

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

  /** Nodes that changed after a touch, as they are now, in the order of their changes. */
  async touchedAfter(touch: number): Promise<Node[]> {
    const rows = await this.#db.selectFrom("nodes").selectAll().where("touch", ">", touch).orderBy("touch").execute();
    return rows.map(fromRow);
  }

  /** Whether anything keeps Slurm in step with what the cluster should hold. */
  async someKeepsSlurm(cluster: string): Promise<boolean> {
    const rows = await this.#db
      .selectFrom("nodes")
      .selectAll()
      .where("cluster", "=", cluster)
      .where("role", "=", "controller")
      .execute();
    return rows.map(fromRow).some(keepsSlurm);
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
        authority: node.authority ?? null,
        trusts: node.trusts.join() || null,
        resync: 0,
        touch: await this.#change(),
        ...progressRow(unseen),
      })
      .execute();
  }

  /** Notes a fresh certificate, which the node has not been seen to use yet. */
  async renew({ id, serial, serialBefore, expiresAt, trusts }: Enrolment): Promise<void> {
    const certificate = { serial, serial_before: serialBefore ?? null, expires_at: expiresAt };
    await this.#db
      .updateTable("nodes")
      .set({ ...certificate, authority: null, trusts: trusts.join() || null, touch: await this.#change() })
      .where("id", "=", id)
      .execute();
  }

  /** Notes that a node was seen to use its newest certificate, which is of this authority. */
  async used(id: string, serial: string, authority: string): Promise<void> {
    const touch = await this.#change();
    const ofIt = this.#db.updateTable("nodes").set({ authority, touch }).where("id", "=", id);
    await ofIt.where("serial", "=", serial).execute();
  }

  async ban(id: string): Promise<void> {
    const touch = await this.#change();
    await this.#db.updateTable("nodes").set({ banned: 1, touch }).where("id", "=", id).execute();
  }

  async setResync(id: string, wanted: boolean): Promise<void> {
    await this.#db
      .updateTable("nodes")
      .set({ resync: wanted ? 1 : 0, touch: await this.#change() })
      .where("id", "=", id)
      .execute();
  }

  /** Makes a server the one that holds a node's stream; gives the node as it is now. */
  async claim(cluster: string, name: string, server: string): Promise<Node | undefined> {
    const row = await this.#db
      .updateTable("nodes")
      .set({ claimed_by: server, touch: await this.#change() })
      .where("cluster", "=", cluster)
      .where("name", "=", name)
      .returningAll()
      .executeTakeFirst();
    return row && fromRow(row);
  }

  /**
   * Writes what is known of a node, and whether its stream is still there. Of several servers (`server` is the one that
   * writes) only the one that holds the stream, or held it last, has anything to say.
   */
  async putProgress(id: string, progress: Progress, server: string, isOpen: boolean): Promise<void> {
    const claim = { claimed_by: isOpen && server !== "" ? server : null, touch: await this.#nextTouch() };
    await putProgress(this.#db, { id, server, ...claim, ...progressRow(progress) });
  }

  async #change(): Promise<number> {
    this.changed = true;
    return this.#nextTouch();
  }

  // Writers are one at a time: what is counted here becomes visible in order.
  async #nextTouch(): Promise<number> {
    if (this.#touch === undefined) {
      const { rows } = await newestTouch(this.#db, {});
      this.#touch = Number(rows[0]?.touch ?? 0) + 1;
    }
    return this.#touch;
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
  epoch: 0n,
  instances: ["", ""],
  ahead: false,
  refusal: undefined,
  sinks: undefined,
  comparing: false,
  report: undefined,
};

function progressRow({ software, seenAt, acked, ackedAt, degraded, refused, ...claims }: Progress) {
  return {
    highest_uid: claims.highestUid,
    highest_gid: claims.highestGid,
    // A node may say any; what no number holds exactly is nobody's.
    highest_epoch: claims.epoch > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(claims.epoch),
    instances: JSON.stringify(claims.instances),
    ahead: Number(claims.ahead),
    refusal: claims.refusal ? printRefusal(claims.refusal) : null,
    sinks: claims.sinks ? printSinks(claims.sinks) : null,
    comparing: Number(claims.comparing),
    report: claims.report ? JSON.stringify(claims.report) : null,
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
    authority: row.authority ?? undefined,
    trusts: row.trusts?.split(",") ?? [],
    resync: row.resync === 1,
    claimedBy: row.claimed_by ?? undefined,
    touch: Number(row.touch),
    progress: {
      refusal: row.refusal === null ? undefined : parseRefusal(row.refusal),
      sinks: row.sinks === null ? undefined : parseSinks(row.sinks),
      highestUid: Number(row.highest_uid),
      highestGid: Number(row.highest_gid),
      epoch: BigInt(row.highest_epoch),
      instances: row.instances === null ? ["", ""] : (JSON.parse(row.instances) as [string, string]),
      ahead: row.ahead === 1,
      comparing: row.comparing === 1,
      report: row.report === null ? undefined : (JSON.parse(row.report) as NodeReport),
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

function printRefusal({ instance, position }: NonNullable<Progress["refusal"]>): string {
  const { epoch, revision, digest } = position;
  return JSON.stringify({ instance, seq: String(epoch.seq), id: epoch.id, revision: String(revision), digest });
}

function parseRefusal(text: string): Progress["refusal"] {
  const kept = JSON.parse(text) as Record<"instance" | "seq" | "id" | "revision" | "digest", string>;
  const epoch = { seq: BigInt(kept.seq), id: kept.id };
  return {
    instance: kept.instance,
    position: { epoch, revision: BigInt(kept.revision), digest: kept.digest as Digest },
  };
}

function printSinks(sinks: readonly SinkHealth[]): string {
  return JSON.stringify(sinks.map(({ revision, ...sink }) => ({ ...sink, revision: String(revision) })));
}

function parseSinks(text: string): SinkHealth[] {
  const kept = JSON.parse(text) as (Omit<SinkHealth, "revision"> & { readonly revision: string })[];
  return kept.map(({ sink, revision, reason, since, lingering }) => {
    return { sink, revision: BigInt(revision), reason, since, lingering };
  });
}

/** Orgs, clusters and their access rules. */

import type { Kysely, Selectable } from "kysely";
import type { Digest } from "../../identity/digest.ts";
import { fold } from "../../identity/fold.ts";
import { type Grant, parseGrant, type Rule } from "../../identity/grant.ts";
import type { Epoch, Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import { compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import { type ClusterSettings, clusterSettings, type OrgSettings, orgSettings } from "./settings.ts";
import type { Page } from "./users.ts";

export interface Org {
  readonly id: string;
  readonly name: string;
}

/** An org, by which rules its people become accounts, and when it was made. */
export interface RuledOrg extends Org {
  readonly settings: OrgSettings;
  readonly createdAt: number;
}

export interface Cluster {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly createdAt: number;
  /** Where the nodes of each role should be: the head of the log. */
  readonly head: Readonly<Record<Role, Position>>;
  readonly settings: ClusterSettings;
  /** How many people its nodes know. */
  readonly people: number;
  /** Since when nothing is streamed or allocated, since its nodes hold more than it knows; undefined: it is not so. */
  readonly fencedAt: number | undefined;
}

const orgById = compiled((db, { id }: { id: string }) =>
  db.selectFrom("orgs").select(["name", "settings"]).where("id", "=", id),
);

const byId = compiled((db, { id }: { id: string }) => db.selectFrom("clusters").selectAll().where("id", "=", id));

/** A cluster's row; undefined: there is none. */
export async function clusterById(db: Kysely<Schema>, id: string): Promise<Selectable<Schema["clusters"]> | undefined> {
  return (await byId(db, { id })).rows[0];
}

const clustersOfOrg = compiled((db, { org }: { org: string }) =>
  db.selectFrom("clusters").selectAll().where("org", "=", org).orderBy("name"),
);

const fencedClusters = compiled((db, { org }: { org: string }) =>
  db.selectFrom("clusters").select("name").where("org", "=", org).where("fenced_at", "is not", null),
);

const rulesOf = compiled((db, { cluster }: { cluster: string }) =>
  db
    .selectFrom("access_rules")
    .selectAll()
    .where("cluster", "=", cluster)
    .orderBy("group_folded")
    .orderBy("kind")
    .orderBy("target"),
);

export class Clusters {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async org(name: string): Promise<Org | undefined> {
    return this.#db.selectFrom("orgs").select(["id", "name"]).where("name", "=", name).executeTakeFirst();
  }

  async addOrg(org: Org, now: number): Promise<void> {
    await this.#db
      .insertInto("orgs")
      .values({ ...org, created_at: now })
      .execute();
  }

  /** Orgs by name. */
  async orgs({ offset, limit }: Page): Promise<RuledOrg[]> {
    const rows = await this.#db.selectFrom("orgs").selectAll().orderBy("name").limit(limit).offset(offset).execute();
    return rows.map(({ id, name, settings, created_at }) => {
      return { id, name, settings: orgSettings(settings), createdAt: Number(created_at) };
    });
  }

  async ruledOrg(name: string): Promise<RuledOrg | undefined> {
    const row = await this.#db.selectFrom("orgs").selectAll().where("name", "=", name).executeTakeFirst();
    return row && { id: row.id, name, settings: orgSettings(row.settings), createdAt: Number(row.created_at) };
  }

  async orgName(id: string): Promise<string> {
    const row = await this.#db.selectFrom("orgs").select("name").where("id", "=", id).executeTakeFirstOrThrow();
    return row.name;
  }

  /** What people call an org, and what operators set of it. */
  async orgOf(id: string): Promise<{ name: string; settings: OrgSettings }> {
    const { rows } = await orgById(this.#db, { id });
    const [row] = rows;
    if (!row) throw new Error(`no org ${id}`);
    return { name: row.name, settings: orgSettings(row.settings) };
  }

  async orgSettings(id: string): Promise<OrgSettings> {
    return (await this.orgOf(id)).settings;
  }

  /** Sets some settings of an org; the others stay as they were set, or at their defaults. */
  async putOrgSettings(id: string, set: Partial<OrgSettings>): Promise<void> {
    const row = await this.#db.selectFrom("orgs").select("settings").where("id", "=", id).executeTakeFirstOrThrow();
    const settings = JSON.stringify({ ...(JSON.parse(row.settings) as object), ...set });
    await this.#db.updateTable("orgs").set({ settings }).where("id", "=", id).execute();
  }

  /** As {@link putOrgSettings}, for a cluster. */
  async putSettings(id: string, set: Partial<ClusterSettings>): Promise<void> {
    const row = await this.#db.selectFrom("clusters").select("settings").where("id", "=", id).executeTakeFirstOrThrow();
    const settings = JSON.stringify({ ...(JSON.parse(row.settings) as object), ...set });
    await this.#db.updateTable("clusters").set({ settings }).where("id", "=", id).execute();
  }

  async byName(name: string): Promise<Cluster | undefined> {
    const row = await this.#db.selectFrom("clusters").selectAll().where("name", "=", name).executeTakeFirst();
    return row && fromRow(row);
  }

  async get(id: string): Promise<Cluster | undefined> {
    const row = await clusterById(this.#db, id);
    return row && fromRow(row);
  }

  async ofOrg(org: string): Promise<Cluster[]> {
    const { rows } = await clustersOfOrg(this.#db, { org });
    return rows.map(fromRow);
  }

  async list({ offset, limit }: Page): Promise<Cluster[]> {
    const rows = await this.#db
      .selectFrom("clusters")
      .selectAll()
      .orderBy("name")
      .limit(limit)
      .offset(offset)
      .execute();
    return rows.map(fromRow);
  }

  async add(cluster: Omit<Cluster, "settings" | "people" | "fencedAt">): Promise<void> {
    const { id, org, name, createdAt, head } = cluster;
    const { epoch, revision } = head.login;
    await this.#db
      .insertInto("clusters")
      .values({
        id,
        org,
        name,
        epoch_seq: Number(epoch.seq),
        epoch_id: epoch.id,
        revision: Number(revision),
        digest_login: head.login.digest,
        digest_compute: head.compute.digest,
        digest_controller: head.controller.digest,
        created_at: createdAt,
      })
      .execute();
  }

  /** Streams and allocates nothing any more, until an epoch is opened. */
  async fence(id: string, now: number): Promise<void> {
    await this.#db.updateTable("clusters").set({ fenced_at: now }).where("id", "=", id).execute();
  }

  /** Names of the clusters of an org that are fenced. */
  async fencedOf(org: string): Promise<string[]> {
    const { rows } = await fencedClusters(this.#db, { org });
    return rows.map(({ name }) => name);
  }

  /** Begins another life of a cluster's log, which every node reads from a snapshot on. */
  async openEpoch(id: string, { seq, id: epochId }: Epoch): Promise<void> {
    await this.#db
      .updateTable("clusters")
      .set({ epoch_seq: Number(seq), epoch_id: epochId, fenced_at: null })
      .where("id", "=", id)
      .execute();
  }

  /** A cluster's rules by group, then by what they grant. */
  async rules(cluster: string): Promise<Rule[]> {
    const { rows } = await rulesOf(this.#db, { cluster });
    return rows.map(({ group_name, details }) => ({ group: group_name, grant: parseGrant(JSON.parse(details)) }));
  }

  /** Adds a rule, or replaces the one that grants the same group the same. */
  async putRule(cluster: string, { group, grant }: Rule): Promise<void> {
    const details = JSON.stringify(grant);
    await this.#db
      .insertInto("access_rules")
      .values({ cluster, group_name: group, details, ...placeOf(group, grant) })
      .onConflict((oc) =>
        oc.columns(["cluster", "group_folded", "kind", "target"]).doUpdateSet({ group_name: group, details }),
      )
      .execute();
  }

  /** Says whether there was such a rule. */
  async removeRule(cluster: string, { group, grant }: Rule): Promise<boolean> {
    const { group_folded, kind, target } = placeOf(group, grant);
    const result = await this.#db
      .deleteFrom("access_rules")
      .where("cluster", "=", cluster)
      .where("group_folded", "=", group_folded)
      .where("kind", "=", kind)
      .where("target", "=", target)
      .executeTakeFirst();
    return result.numDeletedRows === 1n;
  }
}

/** What makes a rule the same rule: a group grants each thing once, and each account once. */
function placeOf(group: string, grant: Grant) {
  return { group_folded: fold(group), kind: grant.kind, target: grant.kind === "account" ? grant.account : "" };
}

/** The head positions of each role, of a row that has the columns of one. */
export function heads(
  row: Pick<
    Selectable<Schema["clusters"]>,
    "epoch_seq" | "epoch_id" | "revision" | "digest_login" | "digest_compute" | "digest_controller"
  >,
): Record<Role, Position> {
  const epoch = { seq: BigInt(row.epoch_seq), id: row.epoch_id };
  const revision = BigInt(row.revision);
  return {
    login: { epoch, revision, digest: row.digest_login as Digest },
    compute: { epoch, revision, digest: row.digest_compute as Digest },
    controller: { epoch, revision, digest: row.digest_controller as Digest },
  };
}

function fromRow(row: Selectable<Schema["clusters"]>): Cluster {
  return {
    id: row.id,
    org: row.org,
    name: row.name,
    createdAt: Number(row.created_at),
    head: heads(row),
    settings: clusterSettings(row.settings),
    people: Number(row.people),
    fencedAt: row.fenced_at === null ? undefined : Number(row.fenced_at),
  };
}

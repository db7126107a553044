/** Orgs, clusters and their access rules. */

import type { Kysely, Selectable } from "kysely";
import type { Digest } from "../../identity/digest.ts";
import { fold } from "../../identity/fold.ts";
import type { Position } from "../../identity/position.ts";
import type { Role } from "../../identity/scope.ts";
import type { Schema } from "./schema.ts";
import type { Page } from "./users.ts";

export interface Org {
  readonly id: string;
  readonly name: string;
}

export interface Cluster {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly createdAt: number;
  /** Where the nodes of each role should be: the head of the log. */
  readonly head: Readonly<Record<Role, Position>>;
}

/** What a group grants in a cluster; the group is known by its display name, and need not exist yet. */
export interface Rule {
  readonly group: string;
  readonly grant: "login";
}

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

  async orgName(id: string): Promise<string> {
    const row = await this.#db.selectFrom("orgs").select("name").where("id", "=", id).executeTakeFirstOrThrow();
    return row.name;
  }

  async byName(name: string): Promise<Cluster | undefined> {
    const row = await this.#db.selectFrom("clusters").selectAll().where("name", "=", name).executeTakeFirst();
    return row && fromRow(row);
  }

  async get(id: string): Promise<Cluster | undefined> {
    const row = await this.#db.selectFrom("clusters").selectAll().where("id", "=", id).executeTakeFirst();
    return row && fromRow(row);
  }

  async ofOrg(org: string): Promise<Cluster[]> {
    const rows = await this.#db.selectFrom("clusters").selectAll().where("org", "=", org).orderBy("name").execute();
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

  async add(cluster: Cluster): Promise<void> {
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

  async rules(cluster: string): Promise<Rule[]> {
    const rows = await this.#db
      .selectFrom("rules")
      .selectAll()
      .where("cluster", "=", cluster)
      .orderBy("group_folded")
      .execute();
    return rows.map(({ group_name, grants }) => ({ group: group_name, grant: grants as Rule["grant"] }));
  }

  async addRule(cluster: string, { group, grant }: Rule): Promise<void> {
    await this.#db
      .insertInto("rules")
      .values({ cluster, group_folded: fold(group), group_name: group, grants: grant })
      .execute();
  }
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
  return { id: row.id, org: row.org, name: row.name, createdAt: Number(row.created_at), head: heads(row) };
}

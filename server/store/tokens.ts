/** Tokens, as hashes: of operators (`admin`), of SCIM connections (`scim`), and the single-use ones that nodes join with. */

import type { Kysely, Selectable } from "kysely";
import type { Role } from "../../identity/scope.ts";
import { compiled } from "./compiled.ts";
import type { Schema } from "./schema.ts";
import type { Page } from "./users.ts";

export interface Token {
  readonly id: string;
  readonly hash: string;
  /** `scim` writes an org's directory, `read` reads one cluster, `client` only gets itself short-lived `scim` tokens. */
  readonly kind: "admin" | "scim" | "read" | "client";
  /** The org that it is for; undefined for an admin token, which may do everything. */
  readonly org: string | undefined;
  readonly name: string;
  /** Of a `read` token: the id of the cluster that it reads. */
  readonly cluster: string | undefined;
  /** Of a `scim` token that was issued to a `client`: the client's id. */
  readonly client: string | undefined;
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly lastUsedAt: number | undefined;
  readonly revokedAt: number | undefined;
}

/** A token with what people call its org. */
export interface NamedToken extends Token {
  readonly orgName: string | undefined;
}

export interface JoinToken {
  readonly hash: string;
  readonly cluster: string;
  readonly role: Role;
  readonly createdAt: number;
  readonly expiresAt: number;
}

const byHash = compiled((db, { hash }: { hash: string }) =>
  db
    .selectFrom("tokens")
    .leftJoin("orgs", "orgs.id", "tokens.org")
    .selectAll("tokens")
    .select("orgs.name as org_name")
    .where("hash", "=", hash),
);

export class Tokens {
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  async byHash(hash: string): Promise<NamedToken | undefined> {
    const { rows } = await byHash(this.#db, { hash });
    const [row] = rows;
    return row && { ...fromRow(row), orgName: row.org_name ?? undefined };
  }

  async get(id: string): Promise<Token | undefined> {
    const row = await this.#db.selectFrom("tokens").selectAll().where("id", "=", id).executeTakeFirst();
    return row && fromRow(row);
  }

  /** Tokens of an org's connections, by name, then as they were made; access tokens are left out. */
  async list(org: string, { offset, limit }: Page): Promise<Token[]> {
    const rows = await this.#db
      .selectFrom("tokens")
      .selectAll()
      .where("org", "=", org)
      .where("client", "is", null)
      .orderBy("name")
      .orderBy("created_at")
      .orderBy("id")
      .limit(limit)
      .offset(offset)
      .execute();
    return rows.map(fromRow);
  }

  /** Tokens of one connection and kind that work at a moment; access tokens are left out. */
  async live(of: Pick<Token, "kind" | "org" | "name" | "cluster">, now: number): Promise<Token[]> {
    const rows = await this.#db
      .selectFrom("tokens")
      .selectAll()
      .where("kind", "=", of.kind)
      .where("org", "is not distinct from", of.org ?? null)
      .where("name", "=", of.name)
      .where("cluster", "is not distinct from", of.cluster ?? null)
      .where("client", "is", null)
      .where("revoked_at", "is", null)
      .where((eb) => eb.or([eb("expires_at", "is", null), eb("expires_at", ">", now)]))
      .orderBy("created_at")
      .orderBy("id")
      .execute();
    return rows.map(fromRow);
  }

  async add(token: Token): Promise<void> {
    await this.#db
      .insertInto("tokens")
      .values({
        id: token.id,
        hash: token.hash,
        kind: token.kind,
        org: token.org ?? null,
        name: token.name,
        cluster: token.cluster ?? null,
        client: token.client ?? null,
        created_at: token.createdAt,
        expires_at: token.expiresAt ?? null,
        last_used_at: null,
        revoked_at: null,
      })
      .execute();
  }

  async revoke(id: string, now: number): Promise<void> {
    await this.#db
      .updateTable("tokens")
      .set({ revoked_at: now })
      .where("id", "=", id)
      .where("revoked_at", "is", null)
      .execute();
  }

  async expire(id: string, at: number): Promise<void> {
    await this.#db.updateTable("tokens").set({ expires_at: at }).where("id", "=", id).execute();
  }

  /** Forgets access tokens of a client: those that have expired, and the oldest beyond `keep`. */
  async dropIssued(client: string, now: number, keep: number): Promise<void> {
    await this.#db.deleteFrom("tokens").where("client", "=", client).where("expires_at", "<=", now).execute();
    const kept = this.#db
      .selectFrom("tokens")
      .select("id")
      .where("client", "=", client)
      .orderBy("created_at", "desc")
      .orderBy("id")
      .limit(keep);
    await this.#db.deleteFrom("tokens").where("client", "=", client).where("id", "not in", kept).execute();
  }

  async used(id: string, now: number): Promise<void> {
    await this.#db.updateTable("tokens").set({ last_used_at: now }).where("id", "=", id).execute();
  }

  async addJoin(token: JoinToken): Promise<void> {
    const { hash, cluster, role, createdAt, expiresAt } = token;
    await this.#db
      .insertInto("join_tokens")
      .values({ hash, cluster, role, created_at: createdAt, expires_at: expiresAt, used_at: null, used_by: null })
      .execute();
  }

  /** Spends a join token: one atomic statement, so that it works once however many ask at the same time. */
  async spendJoin(hash: string, node: string, now: number): Promise<JoinToken | undefined> {
    const row = await this.#db
      .updateTable("join_tokens")
      .set({ used_at: now, used_by: node })
      .where("hash", "=", hash)
      .where("used_at", "is", null)
      .where("expires_at", ">", now)
      .returningAll()
      .executeTakeFirst();
    return (
      row && {
        hash: row.hash,
        cluster: row.cluster,
        role: row.role as Role,
        createdAt: Number(row.created_at),
        expiresAt: Number(row.expires_at),
      }
    );
  }
}

function fromRow(row: Selectable<Schema["tokens"]>): Token {
  return {
    id: row.id,
    hash: row.hash,
    kind: row.kind as Token["kind"],
    org: row.org ?? undefined,
    name: row.name,
    cluster: row.cluster ?? undefined,
    client: row.client ?? undefined,
    createdAt: Number(row.created_at),
    expiresAt: row.expires_at === null ? undefined : Number(row.expires_at),
    lastUsedAt: row.last_used_at === null ? undefined : Number(row.last_used_at),
    revokedAt: row.revoked_at === null ? undefined : Number(row.revoked_at),
  };
}

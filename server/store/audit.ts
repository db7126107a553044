/**
 * The audit: what commands note of what they did, and what was noted. Noting only collects: the engine writes all that a
 * group of commands noted right before their common commit, so that a record costs a command next to nothing, and is there
 * exactly if the command's change is.
 */

import { type Kysely, type Selectable, sql } from "kysely";
import { type ChainHead, type Deed, type Entry, empty, next } from "../audit/chain.ts";
import { compiled } from "./compiled.ts";
import { insertRows } from "./insert.ts";
import type { Schema } from "./schema.ts";
import { escaped } from "./search.ts";

/** Which entries; what is absent is not asked. */
export interface AuditFilter {
  /** `admin:first`, or `admin` for all of them. */
  readonly actor?: string | undefined;
  /** How the action begins: `user.`. */
  readonly action?: string | undefined;
  /** What the subject contains. */
  readonly subject?: string | undefined;
  /** Milliseconds since 1970: from then on; before then. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

/** A stretch of a chain, both ends included, and how many entries of it at most. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly limit: number;
  readonly newestFirst?: boolean;
}

export class Audit {
  /** What was noted in this transaction so far. */
  readonly noted: Deed[] = [];
  readonly #db: Kysely<Schema>;

  constructor(db: Kysely<Schema>) {
    this.#db = db;
  }

  note(deed: Deed): void {
    this.noted.push(deed);
  }

  async head(org: string): Promise<ChainHead> {
    return headOf(this.#db, org);
  }

  async entries(org: string, { from, to, limit, newestFirst }: Stretch, filter: AuditFilter = {}): Promise<Entry[]> {
    const { actor, action, subject, since, until } = filter;
    let query = this.#db
      .selectFrom("audit")
      .selectAll()
      .where("org", "=", org)
      .where("seq", ">=", from)
      .where("seq", "<=", to)
      .orderBy("seq", newestFirst ? "desc" : "asc")
      .limit(limit);
    if (actor !== undefined) {
      query = query.where((eb) => eb.or([eb("actor", "=", actor), like("actor", `${escaped(actor)}:%`)]));
    }
    if (action !== undefined) query = query.where(like("action", `${escaped(action)}%`));
    if (subject !== undefined) query = query.where(like("subject", `%${escaped(subject)}%`));
    if (since !== undefined) query = query.where("at", ">=", since);
    if (until !== undefined) query = query.where("at", "<", until);
    return (await query.execute()).map(fromRow);
  }
}

/**
 * Appends deeds to the chains of their orgs, in order. Whoever calls is the only writer until the commit: SQLite has but
 * one; an engine with more must lock the org's chain before its head is read.
 */
export async function appendDeeds(db: Kysely<Schema>, deeds: readonly Deed[], at: number): Promise<void> {
  const heads = new Map<string, ChainHead>();
  const entries: Entry[] = [];
  for (const deed of deeds) {
    const entry = next(heads.get(deed.org) ?? (await headOf(db, deed.org)), deed, at);
    heads.set(deed.org, entry);
    entries.push(entry);
  }
  for (let i = 0; i < entries.length; i += 64) await insertRows(db, "audit", entries.slice(i, i + 64));
}

const newestOf = compiled((db, { org }: { org: string }) =>
  db.selectFrom("audit").select(["seq", "hash"]).where("org", "=", org).orderBy("seq", "desc").limit(1),
);

async function headOf(db: Kysely<Schema>, org: string): Promise<ChainHead> {
  const { rows } = await newestOf(db, { org });
  const [row] = rows;
  return row ? { seq: Number(row.seq), hash: row.hash } : empty;
}

function like(column: "actor" | "action" | "subject", pattern: string) {
  return sql<boolean>`${sql.ref(column)} like ${pattern} escape '\\'`;
}

function fromRow(row: Selectable<Schema["audit"]>): Entry {
  return { ...row, seq: Number(row.seq), at: Number(row.at) };
}

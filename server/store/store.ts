/**
 * The one way to what is kept. A write is one transaction: all of it is durable when the promise resolves, none of it if
 * it rejects. Reads see only what is committed. Directory commands get a `Tx`, with one object per table family; SQL
 * stays in this folder.
 */

import type { Kysely } from "kysely";
import { Audit } from "./audit.ts";
import { Clusters } from "./clusters.ts";
import { Estate } from "./estate.ts";
import { Groups } from "./groups.ts";
import { Holds } from "./holds.ts";
import { Keys } from "./keys.ts";
import { Locks } from "./locks.ts";
import { Log, type OwnedEdit } from "./log.ts";
import { Nodes } from "./nodes.ts";
import { Passages } from "./passages.ts";
import type { Schema } from "./schema.ts";
import { Tables } from "./tables.ts";
import { Tokens } from "./tokens.ts";
import { Users } from "./users.ts";

/** What a command does to a cluster, by its name: what goes to its nodes, and what waits for an operator or for its turn. */
export interface Effect {
  readonly cluster: string;
  readonly edits: readonly OwnedEdit[];
  readonly held: readonly OwnedEdit[];
  /** Associations that follow once nodes know their people. */
  readonly waiting: readonly OwnedEdit[];
}

/** What a command sees inside one transaction (or a read inside one state). */
export class Tx {
  readonly users: Users;
  readonly groups: Groups;
  readonly keys: Keys;
  readonly locks: Locks;
  readonly clusters: Clusters;
  readonly log: Log;
  readonly holds: Holds;
  readonly passages: Passages;
  readonly estate: Estate;
  readonly nodes: Nodes;
  readonly tokens: Tokens;
  readonly audit: Audit;
  readonly tables: Tables;
  /** Clusters whose log grew: their followers are told after the commit. */
  readonly appended = new Set<string>();
  /** What was done to each cluster, in order. */
  readonly effects: Effect[] = [];

  constructor(db: Kysely<Schema>) {
    this.users = new Users(db);
    this.groups = new Groups(db);
    this.keys = new Keys(db);
    this.locks = new Locks(db);
    this.clusters = new Clusters(db);
    this.log = new Log(db, this.appended);
    this.holds = new Holds(db);
    this.passages = new Passages(db, this.appended);
    this.estate = new Estate(db);
    this.nodes = new Nodes(db);
    this.tokens = new Tokens(db);
    this.audit = new Audit(db);
    this.tables = new Tables(db);
  }
}

export interface Reader {
  read<T>(query: (tx: Tx) => Promise<T>): Promise<T>;
}

/** One state, as it was when the snapshot was taken, however often it is read. Open ones keep old states from being tidied away. */
export interface Snapshot extends Reader, AsyncDisposable {}

/** What only reads a database. */
export interface ReadStore extends Reader, AsyncDisposable {
  snapshot(): Promise<Snapshot>;
}

export interface Store extends ReadStore {
  /** Whether other servers may be writing to the same database. */
  readonly isShared: boolean;
  write<T>(command: (tx: Tx) => Promise<T>): Promise<T>;
  /** Runs a command and takes back all that it wrote: what it gives says what it would have done. */
  rehearse<T>(command: (tx: Tx) => Promise<T>): Promise<T>;
  /** A doorbell: called after a commit that grew a cluster's log. May be lost or doubled; the log is the truth. */
  onAppend(listener: (cluster: string) => void): Disposable;
  /** As {@link onAppend}: called after a commit that enrolled, banned or claimed nodes, or asked for something of them. */
  onNodes(listener: () => void): Disposable;
}

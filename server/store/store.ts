/**
 * The one way to what is kept. A write is one transaction: all of it is durable when the promise resolves, none of it if
 * it rejects. Reads see only what is committed. Directory commands get a `Tx`, with one object per table family; SQL
 * stays in this folder.
 */

import type { Kysely } from "kysely";
import { Audit } from "./audit.ts";
import { Clusters } from "./clusters.ts";
import { Groups } from "./groups.ts";
import { Keys } from "./keys.ts";
import { Locks } from "./locks.ts";
import { Log } from "./log.ts";
import { Nodes } from "./nodes.ts";
import type { Schema } from "./schema.ts";
import { Tokens } from "./tokens.ts";
import { Users } from "./users.ts";

/** What a command sees inside one transaction (or a read inside one state). */
export class Tx {
  readonly users: Users;
  readonly groups: Groups;
  readonly keys: Keys;
  readonly locks: Locks;
  readonly clusters: Clusters;
  readonly log: Log;
  readonly nodes: Nodes;
  readonly tokens: Tokens;
  readonly audit: Audit;
  /** Clusters whose log grew: their followers are told after the commit. */
  readonly appended = new Set<string>();

  constructor(db: Kysely<Schema>) {
    this.users = new Users(db);
    this.groups = new Groups(db);
    this.keys = new Keys(db);
    this.locks = new Locks(db);
    this.clusters = new Clusters(db);
    this.log = new Log(db, this.appended);
    this.nodes = new Nodes(db);
    this.tokens = new Tokens(db);
    this.audit = new Audit(db);
  }
}

export interface Reader {
  read<T>(query: (tx: Tx) => Promise<T>): Promise<T>;
}

/** One state, as it was when the snapshot was taken, however often it is read. Open ones keep old states from being tidied away. */
export interface Snapshot extends Reader, AsyncDisposable {}

export interface Store extends Reader, AsyncDisposable {
  snapshot(): Promise<Snapshot>;
  write<T>(command: (tx: Tx) => Promise<T>): Promise<T>;
  /** A doorbell: called after a commit that grew a cluster's log. May be lost or doubled; the log is the truth. */
  onAppend(listener: (cluster: string) => void): Disposable;
}

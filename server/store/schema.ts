/**
 * The tables, and the statements that make them. Times are milliseconds since 1970; booleans are 0 and 1; ids are text.
 * Both engines read this file, so nothing in it is particular to one.
 */

import type { Generated } from "kysely";

export interface Schema {
  orgs: {
    id: string;
    name: string;
    created_at: number;
    /** JSON: what an operator set of `OrgSettings`. */
    settings: Generated<string>;
  };
  /** One row per id number that was ever given out: a tombstone for ever. */
  ids: {
    org: string;
    number: number;
    /** Whose it is: the id of a user or a group; of an adopted estate's other accounts, `estate:` and their name. */
    subject: string;
    /** Whether it was adopted from an estate or stated by a provider, not taken as the next of a range. */
    adopted: Generated<number>;
  };
  /** One row per POSIX name that was ever given out. */
  names: { org: string; name: string; subject: string };
  users: {
    id: string;
    org: string;
    /** Who made it and may change it: `admin`, or `scim:` and the connection's name. */
    origin: string;
    user_name: string;
    user_name_folded: string;
    external_id: string | null;
    active: number;
    full_name: string;
    /** What else the identity provider said, JSON, to be said back to it. */
    attributes: string;
    name: string;
    uid: number;
    /** Primary group; null: the private one, whose number is the uid. */
    gid: number | null;
    /** Home directory and login shell of their own; null: by the templates of cluster and org. */
    home: string | null;
    shell: string | null;
    created_at: number;
    modified_at: number;
  };
  groups: {
    id: string;
    org: string;
    origin: string;
    display_name: string;
    display_name_folded: string;
    external_id: string | null;
    name: string;
    gid: number;
    created_at: number;
    modified_at: number;
  };
  /** One row per value of an attribute that users can be searched and sorted by, folded where its schema ignores case. */
  user_values: {
    user_id: string;
    /** `title`, `name.givenName`, `emails`: names of different schemas never meet. */
    attribute: string;
    /** 0 for the primary value or the first one, which is what is sorted by. */
    place: number;
    value: string | null;
    display: string | null;
    type: string | null;
    is_primary: number | null;
    formatted: string | null;
    street_address: string | null;
    locality: string | null;
    region: string | null;
    postal_code: string | null;
    country: string | null;
  };
  memberships: { group_id: string; user_id: string };
  /** Groups that are members of groups. */
  nestings: { group_id: string; member_id: string };
  /** An admin's locks. Each holds on by every handle of the person, so that no re-creation or rename undoes it. */
  locks: {
    id: string;
    org: string;
    user_id: string;
    user_name: string;
    user_name_folded: string;
    origin: string;
    external_id: string | null;
    reason: string;
    created_at: number;
  };
  ssh_keys: {
    org: string;
    user_id: string;
    type: string;
    base64: string;
    comment: string;
    sha256: string;
    created_at: number;
    /** From when on the key opens nothing; null: never. */
    expires_at: number | null;
  };
  clusters: {
    id: string;
    org: string;
    name: string;
    epoch_seq: number;
    epoch_id: string;
    revision: number;
    digest_login: string;
    digest_compute: string;
    digest_controller: string;
    created_at: number;
    /** JSON: what an operator set of `ClusterSettings`. */
    settings: Generated<string>;
    /** How many people its resources hold. */
    people: Generated<number>;
    /** Since when nothing is streamed or allocated: its nodes hold more than it knows. */
    fenced_at: number | null;
    /** The revision up to which the log has forgotten what was overtaken. */
    compacted: Generated<number>;
  };
  /** What groups grant: one row per cluster, group, kind of grant and, of an `account`, the account's name. */
  access_rules: {
    cluster: string;
    group_folded: string;
    group_name: string;
    kind: string;
    /** The account's name; empty for every other kind. */
    target: string;
    /** JSON: the grant. */
    details: string;
  };
  /** One row per person whose access the guard let go, to be counted: pruned when it is older than any window. */
  departures: { cluster: string; at: number; owner: string };
  /** Removals that wait for an operator, as one decision. */
  holds: {
    id: string;
    cluster: string;
    /** `pending`, `rejected`, or `done`: nothing is left in it. */
    state: string;
    reason: string;
    created_at: number;
    decided_at: number | null;
  };
  /** Resources that a hold keeps on the nodes, though the directory no longer grants them. */
  held: { cluster: string; key: string; owner: string; hold: string; cause: string; at: number };
  /** Associations whose turn has not come (`in`), and those that went and that Slurm has not let go of yet (`out`). */
  passages: {
    cluster: string;
    key: string;
    way: string;
    owner: string;
    /** The association as it shall be, or as it was. */
    line: string;
    /** The revision that brought its person, or that took it away. */
    revision: number;
    cause: string;
    at: number;
  };
  /** Append-only; each row's hash covers the one before it. */
  audit: {
    org: string;
    seq: number;
    at: number;
    actor: string;
    cause: string;
    action: string;
    subject: string;
    /** JSON; null: there was nothing. */
    before: string | null;
    after: string | null;
    hash: string;
  };
  /** What every node of a cluster together should hold now: the projection, as it was last appended to the log. */
  resources: { cluster: string; key: string; owner: string; line: string };
  revisions: {
    cluster: string;
    revision: number;
    committed_at: number;
    cause: string;
    puts: number;
    removals: number;
    digest_login: string;
    digest_compute: string;
    digest_controller: string;
  };
  /** What each revision did to each resource; no line: removed. */
  log: { cluster: string; revision: number; key: string; line: string | null };
  nodes: {
    id: string;
    cluster: string;
    role: string;
    name: string;
    enrolled_at: number;
    /** Serial number of the newest certificate, hex. */
    serial: string;
    /** The one before it: still valid until it expires, since the answer that carried the newest may have been lost. */
    serial_before: string | null;
    expires_at: number;
    banned: number;
    resync: number;
    software: string | null;
    seen_at: number | null;
    acked_epoch_seq: number | null;
    acked_epoch_id: string | null;
    acked_revision: number | null;
    acked_digest: string | null;
    acked_at: number | null;
    /** Isolated resources by sink, JSON; null if none. */
    degraded: string | null;
    refused_revision: number | null;
    refused_sink: string | null;
    refused_reason: string | null;
    refused_at: number | null;
    refused_retrying: number | null;
    /** The highest numbers that the node was ever told of, as it said in its last Hello. */
    highest_uid: Generated<number>;
    highest_gid: Generated<number>;
    /** Of which epoch its position was, as it said in its last Hello. */
    highest_epoch: Generated<number>;
    /** The run of the agent that said Hello last, and the one before it; JSON. */
    instances: string | null;
    /** Whether it holds more than this database knew at its last Hello. */
    ahead: Generated<number>;
    /** JSON: which run of the agent refused which position. */
    refusal: string | null;
    /** JSON: how far sinks are that follow by themselves; null: the node has not said. */
    sinks: string | null;
    /** Whether it only compares, as it said in its last Hello. */
    comparing: Generated<number>;
    /** JSON: what its agent saw on the node; null: it never said. */
    report: string | null;
    /** The server that holds its stream, of several; null: none, or there is but one. */
    claimed_by: string | null;
    /** Counts changes of any node: whoever read up to one reads on from there. */
    touch: Generated<number>;
    /** The authority that the newest certificate is of, once the node was seen to use it. */
    authority: string | null;
    /** The authorities that it was given to trust with it, with commas between; null: not told. */
    trusts: string | null;
  };
  /** Only hashes of tokens are here. */
  join_tokens: {
    hash: string;
    cluster: string;
    role: string;
    created_at: number;
    expires_at: number;
    used_at: number | null;
    used_by: string | null;
  };
  tokens: {
    id: string;
    hash: string;
    kind: string;
    org: string | null;
    name: string;
    /** Of a `read` token: the cluster that it reads. */
    cluster: string | null;
    /** Of an access token: the `client` that it was issued to; it dies with it. */
    client: string | null;
    created_at: number;
    expires_at: number | null;
    last_used_at: number | null;
    revoked_at: number | null;
  };
  migrations: { step: Generated<number>; applied_at: number };
}

/** Each element is one migration, in order; never edit one that was released. */
export const migrations: readonly (readonly string[])[] = [
  [
    `create table orgs (id text primary key, name text not null unique, created_at bigint not null)`,
    `create table ids (org text not null, number bigint not null, subject text not null, primary key (org, number))`,
    `create table names (org text not null, name text not null, subject text not null, primary key (org, name))`,
    `create table users (
      id text primary key, org text not null references orgs (id), origin text not null,
      user_name text not null, user_name_folded text not null, external_id text, active integer not null,
      full_name text not null, attributes text not null, name text not null, uid bigint not null,
      created_at bigint not null, modified_at bigint not null)`,
    `create unique index users_by_user_name on users (org, user_name_folded)`,
    `create unique index users_by_name on users (org, name)`,
    `create unique index users_by_uid on users (org, uid)`,
    `create index users_by_external_id on users (org, external_id)`,
    `create table groups (
      id text primary key, org text not null references orgs (id), origin text not null,
      display_name text not null, display_name_folded text not null, external_id text, name text not null,
      gid bigint not null, created_at bigint not null, modified_at bigint not null)`,
    `create unique index groups_by_display_name on groups (org, display_name_folded)`,
    `create unique index groups_by_name on groups (org, name)`,
    `create unique index groups_by_gid on groups (org, gid)`,
    `create index groups_by_external_id on groups (org, external_id)`,
    `create table memberships (
      group_id text not null references groups (id), user_id text not null references users (id),
      primary key (group_id, user_id))`,
    `create index memberships_by_user on memberships (user_id, group_id)`,
    `create table ssh_keys (
      org text not null, user_id text not null references users (id), type text not null, base64 text not null,
      comment text not null, sha256 text not null, created_at bigint not null, primary key (org, sha256))`,
    `create index ssh_keys_by_user on ssh_keys (user_id)`,
    `create table clusters (
      id text primary key, org text not null references orgs (id), name text not null unique,
      epoch_seq bigint not null, epoch_id text not null, revision bigint not null,
      digest_login text not null, digest_compute text not null, digest_controller text not null,
      created_at bigint not null)`,
    `create table rules (
      cluster text not null references clusters (id), group_folded text not null, group_name text not null,
      grants text not null, primary key (cluster, group_folded, grants))`,
    `create table resources (
      cluster text not null references clusters (id), key text not null, owner text not null, line text not null,
      primary key (cluster, key))`,
    `create index resources_by_owner on resources (cluster, owner)`,
    `create table revisions (
      cluster text not null references clusters (id), revision bigint not null, committed_at bigint not null,
      cause text not null, puts integer not null, removals integer not null,
      digest_login text not null, digest_compute text not null, digest_controller text not null,
      primary key (cluster, revision))`,
    `create table log (
      cluster text not null references clusters (id), revision bigint not null, key text not null, line text,
      primary key (cluster, revision, key))`,
    `create table nodes (
      id text primary key, cluster text not null references clusters (id), role text not null, name text not null,
      enrolled_at bigint not null, serial text not null, serial_before text, expires_at bigint not null,
      banned integer not null, resync integer not null, software text, seen_at bigint,
      acked_epoch_seq bigint, acked_epoch_id text, acked_revision bigint, acked_digest text, acked_at bigint,
      degraded text, refused_revision bigint, refused_sink text, refused_reason text, refused_at bigint,
      refused_retrying integer)`,
    `create unique index nodes_by_name on nodes (cluster, name)`,
    `create table join_tokens (
      hash text primary key, cluster text not null references clusters (id), role text not null,
      created_at bigint not null, expires_at bigint not null, used_at bigint, used_by text)`,
    `create table tokens (
      id text primary key, hash text not null unique, kind text not null, org text, name text not null,
      created_at bigint not null, last_used_at bigint, revoked_at bigint)`,
  ],
  [
    `create table user_values (
      user_id text not null references users (id), attribute text not null, place integer not null,
      value text, display text, type text, is_primary integer, formatted text, street_address text, locality text,
      region text, postal_code text, country text, primary key (user_id, attribute, place))`,
    `create index user_values_by_value on user_values (attribute, value, user_id)`,
    `create index users_by_origin on users (org, origin, user_name_folded)`,
    `create index groups_by_origin on groups (org, origin, display_name_folded)`,
    `create table nestings (
      group_id text not null references groups (id), member_id text not null references groups (id),
      primary key (group_id, member_id))`,
    `create index nestings_by_member on nestings (member_id, group_id)`,
    `create table locks (
      id text primary key, org text not null references orgs (id), user_id text not null, user_name text not null,
      user_name_folded text not null, origin text not null, external_id text, reason text not null,
      created_at bigint not null)`,
    `create index locks_by_org on locks (org, user_name_folded)`,
    `alter table tokens add column cluster text references clusters (id)`,
    `alter table tokens add column client text references tokens (id)`,
    `alter table tokens add column expires_at bigint`,
  ],
  // What a resource was at a revision: asked of the keys that changed since, when a walk outlives the process it began in.
  [`create index log_by_key on log (cluster, key, revision)`],
  [
    `alter table orgs add column settings text not null default '{}'`,
    `alter table ids add column adopted integer not null default 0`,
    `create index ids_given on ids (org, adopted, number)`,
    `alter table users add column gid bigint`,
    `alter table users add column home text`,
    `alter table users add column shell text`,
    `alter table ssh_keys add column expires_at bigint`,
    `create index ssh_keys_by_expiry on ssh_keys (expires_at)`,
    `alter table clusters add column settings text not null default '{}'`,
    `alter table clusters add column people bigint not null default 0`,
    `update clusters set people = (
      select count(*) from resources where resources.cluster = clusters.id and resources.key like 'user/%')`,
    `create table access_rules (
      cluster text not null references clusters (id), group_folded text not null, group_name text not null,
      kind text not null, target text not null, details text not null,
      primary key (cluster, group_folded, kind, target))`,
    `insert into access_rules select cluster, group_folded, group_name, grants, '', '{"kind":"login"}' from rules`,
    `drop table rules`,
    `create table departures (
      cluster text not null references clusters (id), at bigint not null, owner text not null,
      primary key (cluster, at, owner))`,
    `create table holds (
      id text primary key, cluster text not null references clusters (id), state text not null, reason text not null,
      created_at bigint not null, decided_at bigint)`,
    `create index holds_by_cluster on holds (cluster, state)`,
    `create table held (
      cluster text not null references clusters (id), key text not null, owner text not null,
      hold text not null references holds (id), cause text not null, at bigint not null, primary key (cluster, key))`,
    `create index held_by_hold on held (hold, owner)`,
    `create index held_by_owner on held (cluster, owner)`,
    `create table audit (
      org text not null, seq bigint not null, at bigint not null, actor text not null, cause text not null,
      action text not null, subject text not null, before text, after text, hash text not null,
      primary key (org, seq))`,
  ],
  // What tells that the database was restored from a backup: nodes that hold more than it knows.
  [
    `alter table clusters add column fenced_at bigint`,
    `alter table nodes add column highest_uid bigint not null default 0`,
    `alter table nodes add column highest_gid bigint not null default 0`,
    `alter table nodes add column ahead integer not null default 0`,
  ],
  // Several servers on one database: which of them has a node's stream, and what the others have not seen yet.
  [
    `alter table nodes add column refusal text`,
    `alter table nodes add column claimed_by text`,
    `alter table nodes add column touch bigint not null default 0`,
    `create index nodes_by_touch on nodes (touch)`,
  ],
  // Up to where the log has forgotten what was overtaken, and when revisions were committed.
  [
    `alter table clusters add column compacted bigint not null default 0`,
    `create index revisions_by_time on revisions (cluster, committed_at)`,
  ],
  // How far sinks are that follow by themselves.
  [`alter table nodes add column sinks text`],
  // Identity before Slurm on the way in, Slurm before identity on the way out.
  [
    `create table passages (
      cluster text not null references clusters (id), key text not null, way text not null, owner text not null,
      line text not null, revision bigint not null, cause text not null, at bigint not null,
      primary key (cluster, key, way))`,
    `create index passages_by_owner on passages (cluster, owner)`,
  ],
  // Which authority a node's certificate is of, and which ones it knows: what a rotation waits for.
  [`alter table nodes add column authority text`, `alter table nodes add column trusts text`],
  // Of which epochs nodes have heard: a backup that is put back twice must not open the same one again.
  [`alter table nodes add column highest_epoch bigint not null default 0`],
  // Which runs of an agent said Hello, to whichever server.
  [`alter table nodes add column instances text`],
  // What agents see on their nodes.
  [`alter table nodes add column comparing integer not null default 0`, `alter table nodes add column report text`],
];

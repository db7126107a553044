/** Commands on nodes: joining with a single-use token, and renewing a certificate. */

import { quote, refuse } from "../../identity/refusal.ts";
import type { Role } from "../../identity/scope.ts";
import type { Enrolment } from "../store/nodes.ts";
import type { Tx } from "../store/store.ts";
import type { Actor } from "./actor.ts";
import { isLabel } from "./clusters.ts";
import type { Context } from "./context.ts";
import { record, tellNode, time } from "./record.ts";
import { hashToken } from "./tokens.ts";

/** A certificate that was just issued. */
export interface Issued {
  readonly chainPem: string;
  /** Serial number, hex. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /** The authorities that the node is to trust from now on: their certificates, PEM, and their ids. */
  readonly trustPem: string;
  readonly trusted: readonly string[];
}

/** Issues a certificate for a node, or refuses its request. */
export type Issue = (identity: { cluster: string; role: Role; node: string }) => Promise<Issued>;

/** What Kubernetes says of whoever asks. */
export interface Vouched {
  /** The cluster's name, not its id. */
  readonly cluster: string;
  readonly role: Role;
  /** For the audit. */
  readonly serviceAccount: string;
  readonly pod: string;
}

/** What lets a node in: a join token's secret, or the word of its Kubernetes cluster. */
export type Proof = string | Vouched;

/**
 * Enrols a node, in one transaction: a request that is refused spends no join token.
 * @throws Refusal `forbidden` if the token is unknown, spent or expired, or the node is banned and comes with no join token;
 * `invalid` (the node's name, the request); `conflict` if a node of that name is connected and comes with a join token.
 */
export async function enrol(
  ctx: Context,
  proof: Proof,
  name: string,
  isConnected: (cluster: string, name: string) => boolean,
  issue: Issue,
): Promise<{ node: Enrolment; issued: Issued }> {
  if (!isLabel(name)) refuse("invalid", `the node name ${quote(name)} is not a DNS label ([a-z0-9-], at most 63)`);
  return ctx.store.write(async (tx) => {
    const now = ctx.now();
    const { cluster, role, cause, told: by } = await admit(tx, proof, name, now);
    const before = await tx.nodes.byName(cluster.id, name);
    if (typeof proof === "string" && isConnected(cluster.id, name)) {
      refuse("conflict", `a node ${quote(name)} is connected; ban it first if this one shall take its place`);
    }
    // Kubernetes says that it is this node, whatever it held before; that it may be one at all, an operator took back.
    if (typeof proof !== "string" && before?.banned) {
      refuse("forbidden", `the node ${quote(name)} is banned; only a join token lets it in again`);
    }
    const issued = await issue({ cluster: cluster.name, role, node: name });
    const node: Enrolment = {
      id: ctx.newId(),
      cluster: cluster.id,
      role,
      name,
      enrolledAt: now,
      serial: issued.serial,
      serialBefore: undefined,
      expiresAt: issued.notAfter,
      banned: false,
      authority: undefined,
      trusts: issued.trusted,
    };
    await tx.nodes.enrol(node);
    const after = { ...tellNode(node), ...by };
    const told = { subject: `${cluster.name}/${name}`, before: before && tellNode(before), after };
    record(tx, { kind: "node", name, cause }, { org: cluster.org, action: "node.enrol", ...told });
    return { node, issued };
  });
}

async function admit(tx: Tx, proof: Proof, name: string, now: number) {
  if (typeof proof === "string") {
    const token = await tx.tokens.spendJoin(hashToken(proof), name, now);
    if (!token) return refuse("forbidden", "the join token is not valid");
    const cluster = (await tx.clusters.get(token.cluster)) ?? refuse("forbidden", "the join token is not valid");
    // The token has no name of its own: when it was made is how its making is found.
    return { cluster, role: token.role, cause: "join token", told: { joinTokenMade: time(token.createdAt) } };
  }
  const { role, serviceAccount, pod } = proof;
  const cluster =
    (await tx.clusters.byName(proof.cluster)) ?? refuse("forbidden", `no cluster ${quote(proof.cluster)}`);
  return { cluster, role, cause: "kubernetes", told: { serviceAccount, pod } };
}

/** Gives a node a fresh certificate; the one that it asked with stays good until it expires. */
export async function renew(
  ctx: Context,
  node: Enrolment,
  askedWith: string,
  issue: Issue,
): Promise<{ node: Enrolment; issued: Issued }> {
  return ctx.store.write(async (tx) => {
    const cluster = (await tx.clusters.get(node.cluster)) ?? refuse("not-found", `no cluster ${quote(node.cluster)}`);
    const issued = await issue({ cluster: cluster.name, role: node.role, node: node.name });
    const { serial, notAfter: expiresAt, trusted: trusts } = issued;
    const renewed = { ...node, serial, serialBefore: askedWith, expiresAt, authority: undefined, trusts };
    await tx.nodes.renew(renewed);
    return { node: renewed, issued };
  });
}

/** Refuses a node's certificate from now on. */
export async function banNode(ctx: Context, actor: Actor, { id }: Enrolment): Promise<void> {
  await changeNode(ctx, actor, id, "node.ban", { banned: true }, (tx) => tx.nodes.ban(id));
}

/** Wants a node to be sent everything anew. */
export async function resyncNode(ctx: Context, actor: Actor, { id }: Enrolment): Promise<void> {
  await changeNode(ctx, actor, id, "node.resync", { resync: true }, (tx) => tx.nodes.setResync(id, true));
}

/** Records that the server trusts other authorities now, or that another one signs: the first of the ids. */
export async function recordAuthorities(
  ctx: Context,
  before: readonly string[],
  after: readonly string[],
): Promise<void> {
  const tell = (trusted: readonly string[]) => ({ signs: trusted[0], trusted: trusted.toSorted() });
  await ctx.store.write(async (tx) => {
    const told = { subject: `authority ${after[0]}`, before: tell(before), after: tell(after) };
    record(tx, { kind: "server", cause: "authority" }, { org: "", action: "authority.change", ...told });
  });
}

async function changeNode(
  ctx: Context,
  actor: Actor,
  id: string,
  action: string,
  to: { readonly banned: true } | { readonly resync: true },
  write: (tx: Tx) => Promise<void>,
): Promise<void> {
  await ctx.store.write(async (tx) => {
    const node = (await tx.nodes.get(id)) ?? refuse("not-found", "the node enrolled anew meanwhile");
    const cluster = (await tx.clusters.get(node.cluster)) ?? refuse("not-found", `no cluster ${quote(node.cluster)}`);
    await write(tx);
    const { banned, resync } = node;
    const told = { before: { banned, resync }, after: { banned, resync, ...to } };
    record(tx, actor, { org: cluster.org, action, subject: `${cluster.name}/${node.name}`, ...told });
  });
}

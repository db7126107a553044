/**
 * The gate between what a cluster should hold and what its nodes are sent. What the guard holds back stays in the
 * cluster's resources, so it is in every delta, snapshot and digest, as if the change had not been made; it goes when an
 * operator approves it, or is forgotten when the directory grants it again. What then waits for Slurm, or Slurm for it, is
 * kept as passages, in no delta, snapshot or digest.
 */

import type { Gid } from "../../identity/id.ts";
import type { Revision } from "../../identity/position.ts";
import { type Association, keyOf, kindOf, print, type ResourceKey } from "../../identity/resource.ts";
import type { Cluster } from "../store/clusters.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Passage } from "../store/passages.ts";
import type { Tx } from "../store/store.ts";
import { decide } from "./guard.ts";
import { arrange } from "./order.ts";

/** Why and when, and what the guard has no say in. */
export interface Release {
  readonly cause: string;
  readonly now: number;
  /** All of it passes, also what was held of the same subjects before. */
  readonly urgent: boolean;
  /** These removals pass: each was asked for by itself. */
  readonly sure: ReadonlySet<ResourceKey>;
}

/** Appends to a cluster's log what may go to its nodes now, and holds the rest. `owners`: the subjects that were looked at. */
export async function release(
  tx: Tx,
  cluster: Cluster,
  owners: readonly string[],
  edits: readonly OwnedEdit[],
  { cause, now, urgent, sure }: Release,
): Promise<void> {
  const waiting = await tx.holds.heldOf(cluster.id, owners);
  const passages = await tx.passages.of(cluster.id, owners);
  if (edits.length === 0 && waiting.size === 0 && passages.length === 0) return;
  if (urgent || edits.every(({ after }) => after)) {
    await tx.holds.withdraw(cluster.id, [...waiting]);
    await append(tx, cluster, { edits, held: [], passages }, { cause, now });
    return;
  }
  const since = now - cluster.settings.guard.windowSeconds * 1000;
  // Who is on the way out was let go, and counted, when that began.
  const certain = edits.filter(({ key, before, after }) => !after && (sure.has(key) || isLocked(before)));
  const asked = edits.filter((edit) => !certain.includes(edit));
  const { pass, hold, reason, withdrawn, departing } = decide(asked, {
    guard: cluster.settings.guard,
    people: cluster.people,
    departed: await tx.holds.departed(cluster.id, since),
    held: waiting,
    emptied: await emptied(tx, cluster.id, asked, waiting, since),
    kept: await tx.holds.groupsWithHeldMembers(cluster.id, goingGroups(asked)),
  });
  await tx.holds.withdraw(cluster.id, withdrawn);
  await tx.holds.depart(cluster.id, departing, now, since);
  if (hold.length > 0) await tx.holds.add(cluster.id, hold, { reason, cause, now });
  await append(tx, cluster, { edits: [...certain, ...pass], held: hold, passages }, { cause, now });
}

/** Lets go what a hold keeps of some subjects. */
export async function letGo(
  tx: Tx,
  cluster: Cluster,
  owners: readonly string[],
  { cause, now }: Pick<Release, "cause" | "now">,
): Promise<void> {
  const keys = await tx.holds.heldOf(cluster.id, owners);
  const held = await tx.log.resourcesOf(cluster.id, owners);
  const edits = [...held].flatMap(([owner, resources]) =>
    resources
      .map((before) => ({ owner, key: keyOf(before), before, after: undefined }))
      .filter(({ key }) => keys.has(key)),
  );
  await tx.holds.withdraw(cluster.id, [...keys]);
  const passages = await tx.passages.of(cluster.id, owners);
  await append(tx, cluster, { edits, held: [], passages }, { cause, now });
}

interface Passing {
  readonly edits: readonly OwnedEdit[];
  readonly held: readonly OwnedEdit[];
  /** Of everybody whom the edits could be of. */
  readonly passages: readonly Passage[];
}

/** Appends what goes now, and keeps in mind what Slurm waits for, and what waits for Slurm. */
async function append(
  tx: Tx,
  cluster: Cluster,
  { edits, held, passages }: Passing,
  { cause, now }: Pick<Release, "cause" | "now">,
): Promise<void> {
  const { id, name } = cluster;
  const isOfSlurm = passages.length > 0 || edits.some(({ key }) => kindOf(key) === "association");
  const isOrdered = isOfSlurm && (await tx.nodes.someKeepsSlurm(id));
  const { go, wait, out, withdrawn } = arrange(edits, passages, isOrdered);
  const known = new Map(passages.filter(({ way }) => way === "in").map((passage) => [passage.key, passage]));
  // What waited before, as it is, is not of this change.
  const waiting = wait.filter(({ key, after }) => {
    const before = known.get(key);
    return !before || !after || print(before.association) !== print(after);
  });
  if (go.length + held.length + waiting.length > 0) tx.effects.push({ cluster: name, edits: go, held, waiting });
  const revision = go.length > 0 ? await tx.log.append(id, go, cause, now) : 0n;
  await tx.passages.remove(id, "in", withdrawn);
  const brought = await broughtBy(tx, id, go, wait, revision);
  const entering = wait.flatMap(({ key, owner, after }): Passage[] => {
    if (after?.kind !== "association") return [];
    const passage = { key, way: "in", owner, association: after, revision: brought(after), cause, at: now } as const;
    const before = known.get(key);
    const isSame = before?.revision === passage.revision && print(before.association) === print(after);
    return isSame ? [] : [passage];
  });
  const leaving = out.flatMap(({ key, owner, before }): Passage[] =>
    before?.kind === "association" ? [{ key, way: "out", owner, association: before, revision, cause, at: now }] : [],
  );
  await tx.passages.put(id, [...entering, ...leaving]);
}

/** Which revision told the nodes last of each person whose association waits. */
async function broughtBy(
  tx: Tx,
  cluster: string,
  go: readonly OwnedEdit[],
  wait: readonly OwnedEdit[],
  revision: Revision,
): Promise<(association: Association) => Revision> {
  const now = new Set(go.map(({ key }) => key));
  const person = (uid: number): ResourceKey => `user/${uid}` as ResourceKey;
  const people = wait.flatMap(({ after }) => (after?.kind === "association" ? [person(after.uid)] : []));
  const earlier = await tx.log.newestOf(
    cluster,
    [...new Set(people)].filter((key) => !now.has(key)),
  );
  return ({ uid }) => earlier.get(person(uid)) ?? revision;
}

function isLocked(resource: OwnedEdit["before"]): boolean {
  return resource?.kind === "user" && resource.locked;
}

/** Groups with sudo that these edits would leave without a member, and that more than one left within the window. */
async function emptied(
  tx: Tx,
  cluster: string,
  edits: readonly OwnedEdit[],
  waiting: ReadonlySet<ResourceKey>,
  since: number,
): Promise<Set<Gid>> {
  const changes = new Map<Gid, { lost: number; won: number }>();
  for (const { key, before, after } of edits) {
    if (waiting.has(key)) continue;
    const member = after ?? before;
    if (member?.kind !== "member" || (before && after)) continue;
    const change = changes.get(member.gid) ?? { lost: 0, won: 0 };
    changes.set(member.gid, after ? { ...change, won: change.won + 1 } : { ...change, lost: change.lost + 1 });
  }
  const losing = [...changes].filter(([, { lost, won }]) => lost > 0 && won === 0);
  const found = new Set<Gid>();
  for (const [gid, { lost }] of losing) {
    if (!(await tx.log.has(cluster, `sudo/${gid}` as ResourceKey))) continue;
    if ((await tx.log.countMembers(cluster, gid, lost + 1)) > lost) continue;
    if (lost > 1 || (await tx.log.membersLost(cluster, gid, since)) > 0) found.add(gid);
  }
  return found;
}

function goingGroups(edits: readonly OwnedEdit[]): Gid[] {
  const gids = edits.flatMap(({ before, after }) =>
    !after && (before?.kind === "group" || before?.kind === "sudo") ? [before.gid] : [],
  );
  return [...new Set(gids)];
}

/**
 * What a change would have the controller do in Slurm, for an operator who asks before it is made: the calls of the agent's own
 * planner, for a Slurm in which all is true that the nodes are sent now. Only whom the change touches is looked at.
 */

import { keyOf, kindOf, type Resource, type ResourceKey } from "../../identity/resource.ts";
import type { Call } from "../../identity/slurm-call.ts";
import { settled, wantedOf } from "../../identity/slurm-state.ts";
import { planWork } from "../../identity/slurm-work.ts";
import type { Effect, Tx } from "../store/store.ts";
import { clusterByName } from "./clusters.ts";

/** The calls that an effect leads to, in their order; none where nothing keeps Slurm. To be asked after the change, in its transaction. */
export async function slurmWork(tx: Tx, { cluster: name, edits, waiting }: Effect): Promise<readonly Call[]> {
  const all = [...edits, ...waiting];
  if (!all.some(({ key }) => ["user", "account", "association"].includes(kindOf(key)))) return [];
  const { id } = await clusterByName(tx, name);
  if (!(await tx.nodes.someKeepsSlurm(id))) return [];
  const owners = [...new Set([id, ...all.map(({ owner }) => owner)])];
  const sent = [...(await tx.log.resourcesOf(id, owners)).values()].flat();
  const before = new Map(sent.map((resource) => [keyOf(resource), resource]));
  const after = new Map(before);
  for (const edit of edits) put(before, edit.key, edit.before);
  for (const edit of waiting) put(after, edit.key, edit.after);
  const [state, owned] = settled(name, wantedOf(before.values()));
  const wanted = wantedOf(after.values());
  return planWork({ state, owned, wanted, isKnown: () => true, adopts: false }).calls;
}

function put(into: Map<ResourceKey, Resource>, key: ResourceKey, resource: Resource | undefined): void {
  if (resource) into.set(key, resource);
  else into.delete(key);
}

/**
 * `rollcall-server authority`: replaces the authority of a data folder, while its server runs and its nodes stay connected.
 * `prepare` makes another one that is trusted, `activate` has it sign, `retire` ends the trust in the one before. The server takes
 * each step in by itself; a step that would lock nodes out is refused with their names.
 */

import { quote, refuse } from "../identity/refusal.ts";
import { newRoot } from "./authority/authority.ts";
import { activateRoot, prepareRoot, type Roots, readRoots, retireRoot } from "./authority/roots.ts";
import type { AuthorityCommand } from "./options.ts";
import { rotationOf, whyNot } from "./rollout/rotation.ts";
import type { Node } from "./store/nodes.ts";
import type { ReadStore } from "./store/store.ts";

/** How the authorities of a folder stand. */
export interface Standing {
  readonly authorities: readonly {
    readonly id: string;
    /** `signs`, or `trusted` beside it. */
    readonly state: "signs" | "trusted";
    readonly until: string;
    /** Nodes whose newest certificate, which they use, is of it. */
    readonly nodes: number;
  }[];
  /** Nodes that are not where the authorities are, by cluster and name; those whose certificate has ended are not counted. */
  readonly behind: readonly {
    readonly cluster: string;
    readonly node: string;
    readonly authority: string | undefined;
  }[];
}

/** Nodes named in a refusal, at most. */
const named = 5;

/** Takes a step, and tells how the authorities stand then. @throws Refusal `conflict`. */
export async function changeAuthority(
  { data, step, force }: AuthorityCommand,
  store: ReadStore,
  now: () => number,
): Promise<Standing> {
  const { nodes, clusters } = await store.read(async (tx) => ({
    nodes: await tx.nodes.all(),
    clusters: new Map((await tx.clusters.list({ offset: 0, limit: 100_000 })).map(({ id, name }) => [id, name])),
  }));
  const label = ({ cluster, name }: Node): string => `${clusters.get(cluster) ?? cluster}/${name}`;
  if ((step === "activate" || step === "retire") && !force) {
    const trusted = idsOf(await readRoots(data));
    const late = nodes.flatMap((node) => {
      const why = trusted.length > 1 ? whyNot(step, node, trusted, now()) : undefined;
      return why === undefined ? [] : [`${quote(label(node))} ${why}`];
    });
    if (late.length > 0) {
      const all = late.slice(0, named).join(", ") + (late.length > named ? `, and ${late.length - named} more` : "");
      refuse("conflict", `${late.length} nodes would be locked out: ${all}. Wait for them, or ban them, or --force`);
    }
  }
  const { signer, other } = await take(data, step, now);
  const trusted = [signer, ...(other ? [other] : [])];
  const live = nodes.filter(({ banned, expiresAt }) => !banned && expiresAt > now());
  const ids = trusted.map(({ id }) => id);
  return {
    authorities: trusted.map(({ id, to }, n) => ({
      id,
      state: n === 0 ? "signs" : "trusted",
      until: new Date(to).toISOString(),
      nodes: live.filter(({ authority }) => authority === id).length,
    })),
    behind: live
      .filter((node) => rotationOf(node, ids) !== "done")
      .map(({ cluster, name, authority }) => ({ cluster: clusters.get(cluster) ?? cluster, node: name, authority })),
  };
}

async function take(data: string, step: AuthorityCommand["step"], now: () => number): Promise<Roots> {
  switch (step) {
    case "list":
      return readRoots(data);
    case "prepare":
      return prepareRoot(data, () => newRoot(now));
    case "activate":
      return activateRoot(data);
    case "retire":
      return retireRoot(data);
  }
}

function idsOf({ signer, other }: Roots): string[] {
  return [signer.id, ...(other ? [other.id] : [])];
}

/** For people. */
export function showStanding({ authorities, behind }: Standing): string {
  const lines = authorities.map(
    ({ id, state, until, nodes }) => `${id}  ${state.padEnd(7)}  until ${until}  ${nodes} nodes\n`,
  );
  const late = behind.map(
    ({ cluster, node, authority }) => `not there yet: ${cluster}/${node} (${authority ?? "unseen"})\n`,
  );
  return [...lines, ...late].join("");
}

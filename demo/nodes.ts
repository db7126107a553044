/** The nodes of the story: each runs a real agent, which enrolled with a join token of its own. */

import type { Started } from "../test/processes/started.ts";
import { acked, type ControlPlane } from "./control-plane.ts";
import { expect } from "./expect.ts";
import type { Place, Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

export const roles = {
  "login-1": "login",
  "compute-1": "compute",
  "compute-2": "compute",
  "controller-1": "controller",
} as const;

export type NodeName = keyof typeof roles;

export const nodeNames = Object.keys(roles) as readonly NodeName[];

export interface Node {
  readonly place: Place;
  readonly agent: Started;
}

export type Nodes = Readonly<Record<NodeName, Node>>;

export async function enrolNodes(stage: Stage, plane: ControlPlane, terminal: Terminal): Promise<Nodes> {
  const places = await Promise.all(nodeNames.map((name) => stage.place(name)));
  const { stdout: ca } = await plane.place.run(`cat ${plane.data}/ca.pem`);
  const nodes: [string, Node][] = [];
  for (const place of places) {
    const role = roles[place.name as NodeName];
    nodes.push([place.name, { place, agent: await startAgent(place, role, plane, ca, terminal) }]);
  }
  await Promise.all(nodes.map(([, { agent }]) => agent.says(/"msg":"connected"/, 60_000)));
  await acked(plane, 1, nodeNames);
  await terminal.type(plane.place, "rollcall node list");
  return Object.fromEntries(nodes) as Record<NodeName, Node>;
}

async function startAgent(place: Place, role: string, plane: ControlPlane, ca: string, terminal: Terminal) {
  const token = await terminal.type(
    plane.place,
    `rollcall join-token create --cluster default --role ${role} -o json`,
    { shown: (output) => withoutSecret(output, "expires_at") },
  );
  const [caFile, tokenFile] = [place.path("/etc/rollcall/ca.pem"), place.path("/etc/rollcall/join-token")];
  await place.write(caFile, ca, 0o644);
  await place.write(tokenFile, field(token, "token"), 0o600);
  const server = await place.reach(plane.urls.nodes);
  const line = `rollcall-agent --server ${server} --ca ${caFile} \\\n  --join-token-file ${tokenFile}`;
  const elsewhere = ` --node ${place.name} \\\n  --state $PWD/var/lib/rollcall --etc etc`;
  return terminal.start(place, place.path("/") === "/" ? line : line + elsewhere);
}

/** A field of a JSON object that the CLI printed. */
export function field(json: string, name: string): string {
  const found = (JSON.parse(json) as Record<string, unknown>)[name];
  expect(typeof found === "string", `a field ${name}`, json);
  return found;
}

/** A new token as the reader sees it: how it begins, and one field beside it. Others may see the screen. */
export function withoutSecret(json: string, beside: string): string {
  return JSON.stringify({ token: `${field(json, "token").slice(0, 4)}...`, [beside]: field(json, beside) });
}

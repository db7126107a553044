/** The control plane of the story, and its operator: who asks it by the CLI. */

import { expect, until } from "./expect.ts";
import type { Place, Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

export interface ControlPlane {
  /** Where the operator sits. */
  readonly place: Place;
  /** The data folder, as commands at its place write it. */
  readonly data: string;
  readonly urls: Urls;
}

export interface Urls {
  readonly public: string;
  readonly scim: string;
  /** `host:port`. */
  readonly nodes: string;
}

/** What the operator is told of a node, in JSON as the CLI prints it. */
export interface NodeFacts {
  readonly name: string;
  readonly state: string;
  readonly acked?: { readonly revision: string };
  /** Seconds, as `0.034s`. */
  readonly latency?: string;
  /** Seconds, as `9.120s`. */
  readonly age?: string;
  readonly delivered_by: string;
  readonly sinks?: readonly { readonly revision?: string }[];
}

export async function startControlPlane(stage: Stage, terminal: Terminal): Promise<ControlPlane> {
  const place = await stage.place("control");
  const data = place.path("/tmp/rollcall");
  const listen = `${place.address}:${place.port(8443)}`;
  const nodeListen = `${place.address}:${place.port(8444)}`;
  await place.run(`mkdir -p ${place.path("/tmp")}`);
  const server = terminal.start(
    place,
    `rollcall-server --data ${data} --listen ${listen} --node-listen ${nodeListen} --name ${place.name}`,
  );
  await server.says(/^ready$/m, 60_000);
  terminal.show(server.stdout);
  const said = (name: string) => new RegExp(`^${name} +(\\S+)$`, "m").exec(server.stdout)?.[1] ?? "";
  const urls = { public: said("public"), scim: said("scim"), nodes: said("nodes") };

  const { stdout: token } = await place.run(`cat ${data}/admin-token`);
  place.export({ ROLLCALL_SERVER: urls.public, ROLLCALL_CA: `${data}/ca.pem`, ROLLCALL_TOKEN: token.trim() });
  await terminal.type(place, `rollcall cluster list`);
  return { place, data, urls };
}

/** Every node as it stands. */
export async function askNodes({ place }: ControlPlane): Promise<readonly NodeFacts[]> {
  const line = "rollcall node list -o json";
  const { code, stdout, stderr } = await place.run(line);
  expect(code === 0, `\`${line}\` to be answered`, stderr);
  return (JSON.parse(stdout) as { nodes: NodeFacts[] }).nodes;
}

/** Waits until all of these nodes proved that they hold a revision, and returns them. */
export async function acked(
  plane: ControlPlane,
  revision: number,
  names: readonly string[],
): Promise<readonly NodeFacts[]> {
  return until(
    `r${revision} to be acknowledged by ${names.join(", ")}`,
    async () => (await askNodes(plane)).filter(({ name }) => names.includes(name)),
    (nodes) => nodes.length === names.length && nodes.every((node) => holds(node, revision)),
  );
}

/** Whether a node proved that it holds a revision, and the server has noted how it got there, and that Slurm follows: just after. */
function holds({ acked, delivered_by, sinks = [] }: NodeFacts, revision: number): boolean {
  const follow = sinks.every((sink) => sink.revision === `${revision}`);
  return acked?.revision === `${revision}` && delivered_by !== "" && follow;
}

/** Milliseconds of a duration as JSON writes it. */
export function millis(duration: string | undefined): number {
  return Math.round(Number.parseFloat(duration ?? "NaN") * 1000);
}

/** How rollcall-agent is started. */

import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { quote, refuse } from "../identity/refusal.ts";

export interface Options {
  /** `host:port` of the control plane's node port. */
  readonly server: string;
  /** PEM file of the control plane's authority. */
  readonly ca: string;
  /** File that holds a join token; read only while the node has no certificate. */
  readonly joinTokenFile: string | undefined;
  /** File that holds a projected service-account token; the other way in. */
  readonly kubernetesTokenFile: string | undefined;
  /** The agent's own folder. */
  readonly state: string;
  /** Where the links that readers use are placed. */
  readonly etc: string;
  /** What the node is called. */
  readonly node: string;
}

export const usage = `usage: rollcall-agent --server HOST:PORT --ca FILE [--join-token-file FILE |
         --kubernetes-token-file FILE] [--state DIR] [--etc DIR] [--node NAME]
       rollcall-agent links [--state DIR] [--etc DIR]

  --server HOST:PORT      node port of the control plane
  --ca FILE               its certificate authority, PEM (ca.pem of the control plane)
  --join-token-file FILE  a join token; needed until the node has enrolled
  --kubernetes-token-file FILE
                          in a pod: its projected service-account token, instead of a join token
  --state DIR             the agent's own folder (default /var/lib/rollcall)
  --etc DIR               where the links that readers use are placed (default /etc)
  --node NAME             the node's name in its cluster (default: this host's name)

  links                   places the links, and ends: for who may write to /etc, so that the agent need not
`;

const flags = {
  server: { type: "string" },
  ca: { type: "string" },
  "join-token-file": { type: "string" },
  "kubernetes-token-file": { type: "string" },
  state: { type: "string", default: "/var/lib/rollcall" },
  etc: { type: "string", default: "/etc" },
  node: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** What `rollcall-agent links` needs to know. */
export type LinkOptions = Pick<Options, "state" | "etc">;

/** Reads what is behind `links` on the command line. @throws Refusal `invalid`, with the flag and the rule. */
export function readLinkOptions(argv: readonly string[]): LinkOptions {
  const { state, etc, help, ...others } = parse(argv);
  const [strange] = [...Object.keys(others), ...(help ? ["help"] : [])];
  if (strange !== undefined) refuse("invalid", `links takes --state and --etc, not --${strange}`);
  return { state, etc };
}

/** Reads the command line; "help" if that is what was asked. @throws Refusal `invalid`, with the flag and the rule. */
export function readOptions(argv: readonly string[]): Options | "help" {
  const values = parse(argv);
  if (values.help) return "help";
  const server = values.server ?? refuse("invalid", "--server HOST:PORT is needed");
  if (!/^(\[[0-9a-fA-F:.]+\]|[^:[\]]+):[0-9]{1,5}$/.test(server)) {
    refuse("invalid", `--server ${quote(server)} is not HOST:PORT`);
  }
  const ca = values.ca ?? refuse("invalid", "--ca FILE is needed");
  const node = values.node ?? hostname().split(".", 1)[0]?.toLowerCase() ?? "";
  const { "join-token-file": joinTokenFile, "kubernetes-token-file": kubernetesTokenFile, state, etc } = values;
  if (joinTokenFile !== undefined && kubernetesTokenFile !== undefined) {
    refuse("invalid", "one of --join-token-file and --kubernetes-token-file, not both");
  }
  return { server, ca, joinTokenFile, kubernetesTokenFile, state, etc, node };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: flags, allowPositionals: false }).values;
  } catch (cause) {
    return refuse("invalid", cause instanceof Error ? cause.message : String(cause));
  }
}

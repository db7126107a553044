/** How rollcall-agent is started. */

import { hostname } from "node:os";
import { type ParseArgsConfig, parseArgs } from "node:util";
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
  /** Only compares, and serves nothing. */
  readonly compare: boolean;
  /** How often the agent looks whether anybody changed its files, milliseconds. */
  readonly lookEvery: number;
}

/** How `rollcall-agent status` is asked. */
export interface StatusOptions {
  readonly state: string;
  readonly json: boolean;
}

export const usage = `usage: rollcall-agent --server HOST:PORT --ca FILE [--join-token-file FILE |
         --kubernetes-token-file FILE] [--state DIR] [--etc DIR] [--node NAME] [--look-every SECONDS]
         [--compare]
       rollcall-agent links [--state DIR] [--etc DIR]
       rollcall-agent status [-o json] [--state DIR]

  --server HOST:PORT      node port of the control plane
  --ca FILE               its certificate authority, PEM (ca.pem of the control plane)
  --join-token-file FILE  a join token; needed until the node has enrolled
  --kubernetes-token-file FILE
                          in a pod: its projected service-account token, instead of a join token
  --state DIR             the agent's own folder (default /var/lib/rollcall)
  --etc DIR               where the links that readers use are placed (default /etc)
  --node NAME             the node's name in its cluster (default: this host's name)
  --look-every SECONDS    how often to look whether anybody changed the agent's files (default 60)
  --compare               follow the control plane, but serve nothing: only compare with what this node answers now, and report

  links                   places the links, and ends: for who may write to /etc, so that the agent need not
  status                  says how the agent of this node stands; ends with 0: fresh, 6: degraded, 5: stale, 8: none is running
`;

const flags = {
  server: { type: "string" },
  ca: { type: "string" },
  "join-token-file": { type: "string" },
  "kubernetes-token-file": { type: "string" },
  state: { type: "string", default: "/var/lib/rollcall" },
  etc: { type: "string", default: "/etc" },
  node: { type: "string" },
  "look-every": { type: "string", default: "60" },
  compare: { type: "boolean", default: false },
  help: { type: "boolean", short: "h" },
} as const;

/** What `rollcall-agent links` needs to know. */
export type LinkOptions = Pick<Options, "state" | "etc">;

/** Reads what is behind `links` on the command line. @throws Refusal `invalid`, with the flag and the rule. */
export function readLinkOptions(argv: readonly string[]): LinkOptions {
  const { state, etc } = parse(argv, { state: flags.state, etc: flags.etc });
  return { state, etc };
}

/** Reads the command line; "help" if that is what was asked. @throws Refusal `invalid`, with the flag and the rule. */
export function readOptions(argv: readonly string[]): Options | "help" {
  const values = parse(argv, flags);
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
  const seconds = values["look-every"];
  if (!/^[1-9][0-9]{0,4}$/.test(seconds)) {
    refuse("invalid", `--look-every ${quote(seconds)} is not a number of seconds from 1 to 99999`);
  }
  return {
    server,
    ca,
    joinTokenFile,
    kubernetesTokenFile,
    state,
    etc,
    node,
    lookEvery: Number(seconds) * 1000,
    compare: values.compare,
  };
}

const statusFlags = {
  state: { type: "string", default: "/var/lib/rollcall" },
  output: { type: "string", short: "o", default: "text" },
} as const;

/** Reads what follows `rollcall-agent status`. @throws Refusal `invalid`. */
export function readStatusOptions(argv: readonly string[]): StatusOptions {
  const { state, output } = parse(argv, statusFlags);
  if (output !== "text" && output !== "json") refuse("invalid", `-o ${quote(output)} is neither text nor json`);
  return { state, json: output === "json" };
}

function parse<T extends NonNullable<ParseArgsConfig["options"]>>(argv: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: false }).values;
  } catch (cause) {
    return refuse("invalid", cause instanceof Error ? cause.message : String(cause));
  }
}

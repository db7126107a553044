/** How rollcall-server is started: flags, and a JSON file with the same names for what is not given as a flag. */

import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { quote, refuse } from "../identity/refusal.ts";
import { isPostgres } from "./store/engine.ts";

const mostThreads = 16;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Options {
  /** Where the authority and the admin token are kept. */
  readonly data: string;
  /** `postgres://...`, or the path of an SQLite file. */
  readonly database: string;
  /** The public port: operators, SCIM. */
  readonly listen: Address;
  /** The port that agents connect to. */
  readonly nodeListen: Address;
  /** Names and addresses that clients use, beside the ones listened on: they stand in the server's certificate. */
  readonly names: readonly string[];
  /** SCIM requests per second that one connection may make; 0: any number. */
  readonly scimRate: number;
  /** File that says which Kubernetes service accounts run agents; undefined: none does. */
  readonly kubernetes: string | undefined;
  /** Threads that hold the agents' streams. */
  readonly streamThreads: number;
}

/** What is to be done to a database that was restored from a backup. */
export interface Restore {
  readonly database: string;
  readonly highestUid: number | undefined;
  readonly highestGid: number | undefined;
  readonly json: boolean;
}

/** What is to be moved from one database into another. */
export interface Migration {
  readonly from: string;
  readonly to: string;
  readonly json: boolean;
}

/** What is to be done to the authority of a data folder. */
export interface AuthorityCommand {
  readonly step: "list" | "prepare" | "activate" | "retire";
  readonly data: string;
  readonly database: string;
  /** Also if nodes are locked out by it. */
  readonly force: boolean;
  readonly json: boolean;
}

export const usage = `usage: rollcall-server authority list|prepare|activate|retire --data DIR [--database DATABASE] [--force] [-o json]
       rollcall-server restore --data DIR | --database DATABASE [--highest-uid N --highest-gid N] [-o json]
       rollcall-server migrate --from DATABASE --to DATABASE [-o json]
       rollcall-server --data DIR [--database DATABASE] [--listen HOST:PORT] [--node-listen HOST:PORT] [--name NAME]...
         [--scim-rate N] [--stream-threads N] [--kubernetes FILE] [--config FILE]

  --data DIR               database, certificate authority and admin token; made at the first start
  --database DATABASE      postgres://USER@HOST/NAME, which several servers may share, or the path of another SQLite file
                           (default: DIR/rollcall.db). A password comes from ~/.pgpass or PGPASSWORD
  --listen HOST:PORT       public port: gRPC for operators, SCIM (default 127.0.0.1:8443; port 0: any free one)
  --node-listen HOST:PORT  port for agents, mutual TLS (default 127.0.0.1:8444)
  --name NAME              a DNS name or address that clients use; stands in the certificate; may be repeated
  --scim-rate N            SCIM requests per second of one connection, over 10 s (default 100; 0: any number)
  --stream-threads N       threads that hold the agents' streams, 1 to 16 (default: half of the processors)
  --kubernetes FILE        which Kubernetes service accounts run agents: nodes then need no join token
  --config FILE            JSON: {"data": ..., "database": ..., "listen": ..., "node_listen": ..., "names": [...], "scim_rate": N,
                           "stream_threads": N, "kubernetes": ...}; flags win

authority: replaces the certificate authority while the server runs. prepare makes another one that is trusted, activate has it
sign, retire ends the trust in the one before; what would lock a node out is refused, unless --force.

restore: after the database was put back from a backup, with the server stopped: opens a new epoch, so that every node reads
everything anew, and gives no number again that any node has seen.

  --highest-uid N          with --highest-gid: what was given last, where no node can say so

migrate: copies everything from one database into another that is empty, with the servers stopped. DATABASE is a postgres URL
or the path of an SQLite file (DIR/rollcall.db). Nodes go on where they are.
`;

const flags = {
  data: { type: "string" },
  database: { type: "string" },
  listen: { type: "string" },
  "node-listen": { type: "string" },
  name: { type: "string", multiple: true },
  "scim-rate": { type: "string" },
  "stream-threads": { type: "string" },
  kubernetes: { type: "string" },
  config: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** Reads what comes after `restore`. @throws Refusal `invalid`. */
export function readRestore(argv: readonly string[]): Restore {
  const options = {
    data: { type: "string" },
    database: { type: "string" },
    "highest-uid": { type: "string" },
    "highest-gid": { type: "string" },
    output: { type: "string", short: "o" },
  } as const;
  const { values } = parsed(() => parseArgs({ args: [...argv], options, allowPositionals: false }));
  const [uid, gid] = [values["highest-uid"], values["highest-gid"]];
  if ((uid === undefined) !== (gid === undefined)) refuse("invalid", "--highest-uid and --highest-gid go together");
  const data = values.data ?? values.database ?? refuse("invalid", "--data DIR or --database URL is needed");
  return {
    database: values.database === undefined ? fileIn(data) : parseDatabase("--database", values.database),
    highestUid: uid === undefined ? undefined : parseNumber("--highest-uid", uid),
    highestGid: gid === undefined ? undefined : parseNumber("--highest-gid", gid),
    json: isJson(values.output),
  };
}

/** Reads what comes after `authority`. @throws Refusal `invalid`. */
export function readAuthorityCommand(argv: readonly string[]): AuthorityCommand {
  const options = {
    data: { type: "string" },
    database: { type: "string" },
    force: { type: "boolean", default: false },
    output: { type: "string", short: "o" },
  } as const;
  const { values, positionals } = parsed(() => parseArgs({ args: [...argv], options, allowPositionals: true }));
  const [word, ...more] = positionals;
  const step = (["list", "prepare", "activate", "retire"] as const).find((each) => each === word);
  if (!step || more.length > 0) refuse("invalid", "authority takes one of list, prepare, activate, retire");
  const data = values.data ?? refuse("invalid", "--data DIR is needed");
  return {
    step,
    data,
    database: values.database === undefined ? fileIn(data) : parseDatabase("--database", values.database),
    force: values.force,
    json: isJson(values.output),
  };
}

/** Reads what comes after `migrate`. @throws Refusal `invalid`. */
export function readMigration(argv: readonly string[]): Migration {
  const options = { from: { type: "string" }, to: { type: "string" }, output: { type: "string", short: "o" } } as const;
  const { values } = parsed(() => parseArgs({ args: [...argv], options, allowPositionals: false }));
  const { from, to, output } = values;
  if (from === undefined || to === undefined) refuse("invalid", "--from DATABASE and --to DATABASE are needed");
  if (from === to) refuse("invalid", "--from and --to are the same database");
  return { from: parseDatabase("--from", from), to: parseDatabase("--to", to), json: isJson(output) };
}

function isJson(output: string | undefined): boolean {
  if (output !== undefined && output !== "json") refuse("invalid", "-o can only be json");
  return output === "json";
}

function fileIn(data: string): string {
  return join(data, "rollcall.db");
}

function parseDatabase(flag: string, text: string): string {
  // It is not repeated: a password may stand in it.
  if (text.includes("://") && !isPostgres(text))
    refuse("invalid", `${flag} is neither postgres://... nor a file's path`);
  return text;
}

/** Reads the command line; "help" if that is what was asked. @throws Refusal `invalid`, with the flag and the rule. */
export function readOptions(argv: readonly string[]): Options | "help" {
  const { values } = parse(argv);
  if (values.help) return "help";
  const file = values.config === undefined ? {} : readConfig(values.config);
  const data = values.data ?? file.data ?? refuse("invalid", "--data DIR is needed");
  const url = values.database ?? file.database;
  return {
    data,
    database: url === undefined ? fileIn(data) : parseDatabase("--database", url),
    listen: parseAddress("--listen", values.listen ?? file.listen ?? "127.0.0.1:8443"),
    nodeListen: parseAddress("--node-listen", values["node-listen"] ?? file.node_listen ?? "127.0.0.1:8444"),
    kubernetes: values.kubernetes ?? file.kubernetes,
    names: values.name ?? file.names ?? [],
    streamThreads: parseThreads(values["stream-threads"] ?? file.stream_threads ?? usualThreads()),
    scimRate: parseRate("--scim-rate", values["scim-rate"] ?? file.scim_rate ?? 100),
  };
}

function parse(argv: readonly string[]) {
  return parsed(() => parseArgs({ args: [...argv], options: flags, allowPositionals: false }));
}

function parsed<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    return refuse("invalid", cause instanceof Error ? cause.message : String(cause));
  }
}

interface Config {
  readonly data?: string;
  readonly database?: string;
  readonly listen?: string;
  readonly node_listen?: string;
  readonly kubernetes?: string;
  readonly names?: readonly string[];
  readonly scim_rate?: number;
  readonly stream_threads?: number;
}

function readConfig(path: string): Config {
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    refuse("invalid", `--config ${path}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    refuse("invalid", `--config ${path}: it must hold a JSON object`);
  }
  for (const [key, value] of Object.entries(config)) {
    const isNames = key === "names" && Array.isArray(value) && value.every((name) => typeof name === "string");
    const isRate = ["scim_rate", "stream_threads"].includes(key) && typeof value === "number";
    if (
      !isNames &&
      !isRate &&
      !(["data", "database", "listen", "node_listen", "kubernetes"].includes(key) && typeof value === "string")
    ) {
      refuse("invalid", `--config ${path}: ${quote(key)} is not an option, or not of the right type`);
    }
  }
  return config as Config;
}

/** `host:port`, `[v6]:port`. */
export function parseAddress(flag: string, text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) refuse("invalid", `${flag} ${quote(text)} is not HOST:PORT`);
  if (match?.[1] !== undefined && isIP(host) !== 6) refuse("invalid", `${flag} ${quote(text)} is not HOST:PORT`);
  return { host, port };
}

function parseRate(flag: string, value: string | number): number {
  if (!/^[0-9]{1,6}$/.test(String(value))) refuse("invalid", `${flag} ${quote(value)} is not a whole number`);
  return Number(value);
}

function parseNumber(flag: string, text: string): number {
  if (!/^[0-9]{1,10}$/.test(text)) refuse("invalid", `${flag} ${quote(text)} is not a whole number`);
  return Number(text);
}

function parseThreads(value: string | number): number {
  const threads = /^[0-9]{1,2}$/.test(String(value)) ? Number(value) : 0;
  if (threads < 1 || threads > mostThreads)
    refuse("invalid", `--stream-threads ${quote(value)} is not 1 to ${mostThreads}`);
  return threads;
}

/** A thread of streams needs a processor; the other half is for the writer, TLS of the public port and the kernel. */
function usualThreads(): number {
  return Math.min(mostThreads, Math.max(1, Math.floor(availableParallelism() / 2)));
}

export function showAddress({ host, port }: Address): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

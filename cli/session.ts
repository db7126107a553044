/** What a command works with: the server's services, and the ways to print. */

import { readFileSync } from "node:fs";
import { type DescMessage, type DescService, type MessageShape, toJson } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import about from "../package.json" with { type: "json" };
import { AuditService } from "../proto/gen/rollcall/v1/audit_pb.ts";
import { ClusterService } from "../proto/gen/rollcall/v1/cluster_pb.ts";
import { DirectoryService } from "../proto/gen/rollcall/v1/directory_pb.ts";
import { EstateService } from "../proto/gen/rollcall/v1/estate_pb.ts";
import { HoldService } from "../proto/gen/rollcall/v1/hold_pb.ts";
import { NodeService } from "../proto/gen/rollcall/v1/node_pb.ts";
import { OrgService } from "../proto/gen/rollcall/v1/org_pb.ts";
import { RolloutService } from "../proto/gen/rollcall/v1/rollout_pb.ts";
import { TokenService } from "../proto/gen/rollcall/v1/token_pb.ts";
import { UsageError } from "./exit.ts";
import { plainJson } from "./plain.ts";

/** What every command line may say, or the environment in its place. */
export interface Settings {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly output: "table" | "json";
}

export interface Session extends Disposable {
  readonly audit: Client<typeof AuditService>;
  readonly clusters: Client<typeof ClusterService>;
  readonly directory: Client<typeof DirectoryService>;
  readonly estate: Client<typeof EstateService>;
  readonly holds: Client<typeof HoldService>;
  readonly nodes: Client<typeof NodeService>;
  readonly orgs: Client<typeof OrgService>;
  readonly rollouts: Client<typeof RolloutService>;
  readonly tokens: Client<typeof TokenService>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Prints a message: as JSON if that was asked for, else what `text` makes of it. */
  readonly show: Show;
  /** As {@link show}, for one of many: JSON on one line. */
  readonly stream: Show;
}

export type Show = <D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  text: (message: MessageShape<D>) => string,
) => void;

/** How long a call may take, in milliseconds. A watch has no limit but the operator's. */
const callTimeout = 30_000;

/** Opens a session. @throws UsageError: no server or token, or a file that cannot be read. */
export function openSession(
  settings: Settings,
  { print, signal, now }: Pick<Session, "signal" | "now"> & { readonly print: (text: string) => void },
): Session {
  const { output } = settings;
  const baseUrl = serverUrl(settings);
  const token = readToken(settings);
  const nodeOptions = settings.ca === undefined ? {} : { ca: readText("--ca", settings.ca) };
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: 15_000, pingTimeoutMs: 5_000 },
    nodeOptions,
  );
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    request.header.set("user-agent", `rollcall-cli/${about.version}`);
    return next({ ...request, signal: AbortSignal.any([request.signal, signal]) });
  };
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    interceptors: [authorize],
    defaultTimeoutMs: callTimeout,
  });
  const client = <S extends DescService>(service: S): Client<S> => createClient(service, transport);
  const as = (indent?: number): Show => {
    return (schema, message, text) => {
      if (output === "table") return print(text(message));
      const json = toJson(schema, message, { useProtoFieldName: true, alwaysEmitImplicit: true });
      print(`${plainJson(json, indent)}\n`);
    };
  };
  return {
    audit: client(AuditService),
    clusters: client(ClusterService),
    directory: client(DirectoryService),
    estate: client(EstateService),
    holds: client(HoldService),
    nodes: client(NodeService),
    orgs: client(OrgService),
    rollouts: client(RolloutService),
    tokens: client(TokenService),
    signal,
    now,
    show: as(2),
    stream: as(),
    [Symbol.dispose]: () => sessionManager.abort(),
  };
}

/** Where the server is: `https://host:port`. @throws UsageError */
export function serverUrl({ server }: Pick<Settings, "server">): string {
  if (server === undefined) throw new UsageError("no server: set ROLLCALL_SERVER or --server to https://HOST:PORT");
  const text = server.includes("://") ? server : `https://${server}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" || url.pathname !== "/" || url.username !== "" || url.search !== "") {
    throw new UsageError(`the server ${JSON.stringify(server)} is not of the form https://HOST:PORT`);
  }
  return url.origin;
}

function readToken({ token, tokenFile }: Settings): string {
  const found = tokenFile === undefined ? token : readText("--token-file", tokenFile).trim();
  if (found === undefined) throw new UsageError("no token: set ROLLCALL_TOKEN, --token-file or --token");
  // It goes into a header, where anything else would be an error of Node's that quotes it.
  if (!/^[\x21-\x7e]{1,256}$/.test(found)) throw new UsageError("the token is not one printable word");
  return found;
}

export function readText(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new UsageError(`${option} ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

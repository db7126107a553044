/** How `rollcall` ends: its exit codes, and the one line that says what was wrong, where, and what to do. */

import { Code, ConnectError } from "@connectrpc/connect";
import { Refusal } from "../identity/refusal.ts";
import { Rollout_State } from "../proto/gen/rollcall/v1/rollout_pb.ts";
import { plain } from "./plain.ts";

/** Scripts depend on these: ARCHITECTURE.md, section 10. */
export const exit = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  progressing: 5,
  degraded: 6,
  precondition: 7,
  unreachable: 8,
} as const;

export type Exit = (typeof exit)[keyof typeof exit];

/** Thrown for a command line that cannot be meant so. */
export class UsageError extends Error {}

/** How a command ended in failure. */
export interface Failure {
  readonly exit: Exit;
  /** One line for people. */
  readonly text: string;
}

/** What to do about it, by how the command ended. */
const advice: Partial<Record<Exit, string>> = {
  [exit.notFound]: "The `list` commands show what there is.",
  [exit.denied]: "Check ROLLCALL_TOKEN or --token-file: the server's first token is in its data folder, admin-token.",
  [exit.unreachable]: "Is the server running, and is ROLLCALL_SERVER or --server right?",
};

const byCode: Partial<Record<Code, Exit>> = {
  [Code.InvalidArgument]: exit.usage,
  [Code.OutOfRange]: exit.usage,
  [Code.NotFound]: exit.notFound,
  [Code.Unauthenticated]: exit.denied,
  [Code.PermissionDenied]: exit.denied,
  [Code.AlreadyExists]: exit.precondition,
  [Code.FailedPrecondition]: exit.precondition,
  [Code.Unavailable]: exit.unreachable,
  // No call waits for a rollout: one that takes this long has met nobody.
  [Code.DeadlineExceeded]: exit.unreachable,
};

/** What an error means for a script and for a person. `server` is the URL that was asked. */
export function failureOf(error: unknown, server: string | undefined): Failure {
  if (error instanceof UsageError || error instanceof Refusal) {
    return { exit: exit.usage, text: plain(error.message) };
  }
  if (!(error instanceof ConnectError)) {
    return { exit: exit.failed, text: plain(error instanceof Error ? error.message : String(error)) };
  }
  if (error.code === Code.Canceled) return { exit: exit.failed, text: "interrupted" };
  const tls = causes(error).find(isUntrusted);
  if (tls) {
    const text = `${server} cannot be trusted: ${tls.message}. Give its ca.pem as ROLLCALL_CA or --ca.`;
    return { exit: exit.unreachable, text: plain(text) };
  }
  const network = causes(error).find((cause) => errnoOf(cause) !== undefined);
  const code = network ? exit.unreachable : (byCode[error.code] ?? exit.failed);
  const what = code === exit.unreachable ? `no answer: ${network?.message ?? error.rawMessage}` : error.rawMessage;
  // Who the caller is was never in doubt: the message says what to do instead.
  const advised = error.code === Code.PermissionDenied ? undefined : advice[code];
  return { exit: code, text: plain([`${server}: ${what}.`, advised].filter(Boolean).join(" ")) };
}

/** How a look at a rollout ends. */
export function exitOf(state: Rollout_State): Exit {
  switch (state) {
    case Rollout_State.COMPLETE:
      return exit.done;
    case Rollout_State.DEGRADED:
      return exit.degraded;
    case Rollout_State.PROGRESSING:
      return exit.progressing;
    default:
      return exit.failed;
  }
}

function causes(error: unknown): (Error & { code?: unknown })[] {
  const chain: Error[] = [];
  for (let at = error; at instanceof Error && !chain.includes(at); at = at.cause) chain.push(at);
  return chain;
}

/** Whether TLS refused the peer: OpenSSL's X509 errors and Node's check of the name. */
function isUntrusted({ code }: Error & { code?: unknown }): boolean {
  return typeof code === "string" && /CERT|SIGNATURE|^ERR_SSL|^ERR_TLS/.test(code);
}

function errnoOf({ code }: Error & { code?: unknown }): string | undefined {
  return typeof code === "string" && /^E[A-Z]+(_[A-Z]+)?$/.test(code) && !code.startsWith("ERR") ? code : undefined;
}

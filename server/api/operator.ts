/**
 * Who may use the operator API: whoever shows a live admin token. Asked before a byte of the request's body is read.
 *
 * Reflection asks for the token as well: `buf curl --reflect-header '*'` sends it along, and a stranger learns nothing, not
 * even which version runs. Only health is for everybody, since probes have no secrets.
 */

import { Code, ConnectError, createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { Actor } from "../directory/actor.ts";
import type { Context } from "../directory/context.ts";
import { authenticate } from "../directory/tokens.ts";
import { toConnectError } from "./refusals.ts";

const operator = createContextKey<Actor>({ kind: "admin" }, { description: "who calls" });

/** Who makes a call that has passed the gate, and by what: the token's name, `cli` or `api`. */
export function actorOf({ values }: Pick<HandlerContext, "values">): Actor {
  return values.get(operator);
}

/** The gate of every service but health. */
export function operatorsOnly(ctx: Context, log: Logger): (call: HandlerContext) => Promise<void> {
  return async (call) => {
    const [, secret] =
      /^Bearer ([A-Za-z0-9._~+/-]{1,256}=*)$/i.exec(call.requestHeader.get("authorization") ?? "") ?? [];
    try {
      const token = secret === undefined ? undefined : await authenticate(ctx, secret, "admin");
      if (token) {
        // Only said, not proved: a word for who reads the audit, not a right.
        const cause = call.requestHeader.get("user-agent")?.startsWith("rollcall-cli/") ? "cli" : "api";
        call.values.set(operator, { kind: "admin", name: token.name, cause });
        return;
      }
    } catch (error) {
      throw toConnectError(error, log, call.method);
    }
    throw new ConnectError(
      "a valid operator token is needed: send the header `authorization: Bearer rca_...`",
      Code.Unauthenticated,
      { "www-authenticate": "Bearer" },
    );
  };
}

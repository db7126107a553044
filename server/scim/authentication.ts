/**
 * Who calls. A token is of one org; in the path of another it finds what it would find in that of an org that does not
 * exist. A request without a live token learns nothing at all, and its body is never read.
 */

import { quote, refuse } from "../../identity/refusal.ts";
import type { Context } from "../directory/context.ts";
import { authenticate } from "../directory/tokens.ts";
import type { Caller } from "./endpoint.ts";

/** The secret of an Authorization header; undefined if it holds none that could be a token. */
export function bearer(header: string | undefined): string | undefined {
  return /^bearer +([A-Za-z0-9._~+/=-]{1,512}) *$/i.exec(header ?? "")?.[1];
}

/** The caller behind an Authorization header; undefined if it holds no live token. @throws Refusal `not-found`. */
export async function identify(
  ctx: Context,
  header: string | undefined,
  orgName: string,
  baseUrl: string,
  requestId: string,
): Promise<Caller | undefined> {
  const secret = bearer(header);
  const token = secret === undefined ? undefined : await authenticate(ctx, secret, "scim");
  if (!token) return undefined;
  const { org, name } = token;
  if (org === undefined || token.orgName !== orgName) refuse("not-found", `no org ${quote(orgName)}`);
  return {
    actor: { kind: "scim", connection: name, cause: `scim ${requestId}` },
    org,
    base: `${baseUrl}/scim/${orgName}/v2`,
  };
}

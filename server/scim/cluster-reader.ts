/**
 * Who reads a cluster. A read token is of one cluster; on any other, in any org, it finds what it would find if that one
 * did not exist. A token of another kind is none at all here.
 */

import { quote, Refusal, refuse } from "../../identity/refusal.ts";
import { orgId } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { type Standing, standingOf } from "../directory/snapshot.ts";
import { authenticate } from "../directory/tokens.ts";
import { bearer } from "./authentication.ts";

/** A cluster that the caller may read, as it stood when the request came. */
export interface Reader {
  readonly cluster: Standing;
  /** The URL that its resources are under: `https://host/scim/default/gpu/v2`. */
  readonly base: string;
}

export interface Place {
  readonly org: string;
  readonly cluster: string;
}

/** The reader behind an Authorization header; undefined if it holds no live token. @throws Refusal `not-found`. */
export async function identifyReader(
  ctx: Context,
  header: string | undefined,
  place: Place,
  baseUrl: string,
): Promise<Reader | undefined> {
  const secret = bearer(header);
  const token = secret === undefined ? undefined : await authenticate(ctx, secret, "read");
  if (!token) return undefined;
  const cluster = await find(ctx, place);
  if (!cluster || cluster.id !== token.cluster || cluster.org !== token.org) {
    refuse("not-found", `no cluster ${quote(place.cluster)} in the org ${quote(place.org)}`);
  }
  return { cluster, base: `${baseUrl}/scim/${place.org}/${place.cluster}/v2` };
}

async function find(ctx: Context, place: Place): Promise<Standing | undefined> {
  try {
    const org = await orgId(ctx, place.org);
    const cluster = await standingOf(ctx, place.cluster, "login");
    return cluster.org === org ? cluster : undefined;
  } catch (error) {
    if (error instanceof Refusal && error.reason === "not-found") return undefined;
    throw error;
  }
}

/** What the routes and the resources behind them agree on: a call, past authentication and parsing, and its answer. */

import type { Actor } from "../directory/actor.ts";
import type { Context } from "../directory/context.ts";
import type { Doc } from "./json.ts";
import type { ResourceType } from "./schema.ts";
import { parseSelection, type Selection } from "./selection.ts";

/** Who calls, and where. */
export interface Caller {
  readonly actor: Actor;
  /** The org's id. */
  readonly org: string;
  /** The URL that this org's resources are under: `https://host/scim/default/v2`. */
  readonly base: string;
}

export interface Call extends Caller {
  readonly ctx: Context;
  readonly query: Readonly<Partial<Record<QueryName, string>>>;
}

export const queryNames = [
  "filter",
  "startIndex",
  "count",
  "attributes",
  "excludedAttributes",
  "sortBy",
  "sortOrder",
] as const;

export type QueryName = (typeof queryNames)[number];

export interface Answer {
  readonly status: number;
  /** Of what was made. */
  readonly location?: string;
  readonly body?: Doc;
}

export interface Endpoint {
  list(call: Call): Promise<Answer>;
  get(call: Call, id: string): Promise<Answer>;
  create(call: Call, body: Doc): Promise<Answer>;
  replace(call: Call, id: string, body: Doc): Promise<Answer>;
  patch(call: Call, id: string, body: Doc): Promise<Answer>;
  remove(call: Call, id: string): Promise<Answer>;
}

/** @throws ScimRefusal `invalidValue`. */
export function selectionOf(type: ResourceType, { query }: Call): Selection {
  return parseSelection(type, query.attributes, query.excludedAttributes);
}

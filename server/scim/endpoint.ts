/** What the routes and the resources behind them agree on: a call, past authentication and parsing, and its answer. */

import type { Actor } from "../directory/actor.ts";
import type { Context, Precondition } from "../directory/context.ts";
import type { Reader } from "../store/store.ts";
import type { Page } from "../store/users.ts";
import type { Doc } from "./json.ts";
import type { Question } from "./question.ts";
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
  /** The state that lists are read from. */
  readonly reader: Reader;
  readonly query: Question;
  /** What `If-Match` asks of the resource that is to be changed. */
  readonly when: Precondition | undefined;
}

export interface Answer {
  readonly status: number;
  /** Of what was made. */
  readonly location?: string;
  /** The ETag of the one resource that this is about. */
  readonly version?: string;
  readonly body?: Doc;
}

/** Some of the resources that were asked for, and how many there are. */
export interface Found {
  readonly total: number;
  readonly resources: readonly Doc[];
}

/** Whatever can be listed. */
export interface Finder {
  find(call: Call, rows: Page): Promise<Found>;
}

export interface Endpoint extends Finder {
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

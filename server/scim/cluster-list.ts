/**
 * `/Users` and `/Groups` of a cluster. A question, a revision, a page: then the answer is written in slices while it is sent.
 * What can be refused is refused before the first byte; if a later one fails, the connection breaks, and no client takes
 * half an answer for a whole one.
 */

import { setImmediate } from "node:timers/promises";
import { quote, refuse } from "../../identity/refusal.ts";
import type { Context } from "../directory/context.ts";
import { supersededAt } from "../directory/snapshot.ts";
import type { Views } from "./cluster-cache.ts";
import { type Cursor, checkLife, parseCursor, printCursor, questionOf } from "./cluster-cursor.ts";
import { Finder, type Listing, type Question } from "./cluster-find.ts";
import { parseWant, type Want } from "./cluster-page.ts";
import type { ClusterQuery } from "./cluster-query.ts";
import type { Reader } from "./cluster-reader.ts";
import { renderAccount, renderTeam, withoutAlias } from "./cluster-resource.ts";
import { clusterGroupType, clusterUserType } from "./cluster-schema.ts";
import type { Account, Team, View } from "./cluster-view.ts";
import { refuseAs } from "./errors.ts";
import { parseFilter } from "./filter.ts";
import type { Doc } from "./json.ts";
import { pieces } from "./json-pieces.ts";
import { resourcePredicate } from "./match.ts";
import { listResponse } from "./page.ts";
import type { ResourceType } from "./schema.ts";
import { parseSelection, select } from "./selection.ts";
import { slices } from "./slices.ts";

/** One kind of resource of a cluster, to be read. */
export interface ClusterEndpoint {
  list(reader: Reader, query: ClusterQuery): Promise<AsyncIterable<string>>;
  get(reader: Reader, query: ClusterQuery, id: string): Promise<Doc>;
}

export function clusterUsers(ctx: Context, views: Views): ClusterEndpoint {
  return endpoint<Account>(ctx, views, {
    type: clusterUserType,
    items: (view) => view.accounts,
    render: renderAccount,
    shown: (doc, { alias }) => (alias === undefined ? withoutAlias(doc) : doc),
    weigh: ({ groups }) => 1 + groups.length / 10,
    concerns(query) {
      const wanted = groupNames(query.groups);
      return ({ groups }) => !wanted || groups.some(({ name }) => wanted.has(name));
    },
  });
}

export function clusterGroups(ctx: Context, views: Views): ClusterEndpoint {
  return endpoint<Team>(ctx, views, {
    type: clusterGroupType,
    items: (view) => view.teams,
    render: renderTeam,
    shown: (doc) => doc,
    weigh: ({ members }) => 1 + members.length / 10,
    concerns: () => () => true,
  });
}

interface Kind<T> {
  readonly type: ResourceType;
  readonly items: (view: View) => ReadonlyMap<string, T>;
  readonly render: (item: T, base: string) => Doc;
  /** What of a rendered resource is told, before the attributes are selected. */
  readonly shown: (doc: Doc, query: ClusterQuery) => Doc;
  readonly weigh: (item: T) => number;
  readonly concerns: (query: ClusterQuery) => (item: T) => boolean;
}

function endpoint<T>(ctx: Context, views: Views, kind: Kind<T>): ClusterEndpoint {
  const listing: Listing<T> = { ...kind, items: (view) => kind.items(view).values() };
  const finder = new Finder(listing);
  return {
    async list(reader, query) {
      const { cluster, base } = reader;
      const show = shower(kind, query);
      const question = ask(kind, reader, query);
      const want = parseWant(query.startIndex, query.count, query.cursor);
      const cursor = await cursorOf(ctx, reader, want, question.id);
      const revision = cursor?.revision ?? cluster.head.revision;
      const view = await views.at(cluster.id, { ...cluster.head, revision });
      const found = await finder.find(view, question, base);
      const page = cut(found.length, want, cursor);
      const items = found.slice(page.offset, page.end);
      const more = want.kind === "walk" && page.end < found.length;
      const next = more ? printCursor({ revision, offset: page.end, question: question.id }) : undefined;
      return write(
        {
          ...listResponse([], found.length, page.offset + 1),
          itemsPerPage: items.length,
          ...(next !== undefined && { nextCursor: next }),
        },
        slices(items, kind.weigh),
        (item) => show(kind.render(item, base)),
      );
    },

    async get({ cluster, base }, query, id) {
      const show = shower(kind, query);
      const view = await views.at(cluster.id, cluster.head);
      const item = kind.items(view).get(id) ?? refuse("not-found", `no ${kind.type.name} ${quote(id)}`);
      return show(kind.render(item, base));
    },
  };
}

function shower<T>({ type, shown }: Kind<T>, query: ClusterQuery): (doc: Doc) => Doc {
  const { alias } = query;
  if (alias !== undefined && alias !== "coreweave") refuseAs("invalidValue", `no alias ${quote(alias)}`);
  const selection = parseSelection(type, query.attributes, query.excludedAttributes);
  return (doc) => select(selection, shown(doc, query));
}

function ask<T>({ type, concerns }: Kind<T>, { cluster, base }: Reader, query: ClusterQuery): Question<T> {
  const { filter, groups, alias, attributes, excludedAttributes } = query;
  return {
    id: questionOf(
      ...[cluster.id, cluster.head.epoch.id, base, type.name],
      ...[filter, groups, alias, attributes, excludedAttributes],
    ),
    concerns: concerns(query),
    matches: filter === undefined ? undefined : resourcePredicate(parseFilter(filter), type),
  };
}

// An empty list of groups is a slip, and would be either nobody or everybody.
function groupNames(list: string | undefined): ReadonlySet<string> | undefined {
  if (list === undefined) return undefined;
  const names = list.split(",").map((name) => name.trim());
  return names.includes("") ? refuseAs("invalidValue", "groups must be names with commas between") : new Set(names);
}

async function cursorOf(ctx: Context, { cluster }: Reader, want: Want, question: string): Promise<Cursor | undefined> {
  if (want.kind !== "walk" || want.cursor === undefined) return undefined;
  const cursor = parseCursor(want.cursor, question, cluster.head.revision);
  checkLife(await supersededAt(ctx, cluster.id, cursor.revision), ctx.now());
  return cursor;
}

/** @throws ScimRefusal `invalidCursor`, `invalidValue`. */
function cut(total: number, want: Want, cursor: Cursor | undefined): { readonly offset: number; readonly end: number } {
  switch (want.kind) {
    case "walk": {
      const offset = cursor?.offset ?? 0;
      if (cursor && offset >= total) refuseAs("invalidCursor", "the cursor is none of this server's");
      return { offset, end: Math.min(total, offset + want.count) };
    }
    case "first":
      return { offset: 0, end: Math.min(total, want.count ?? total) };
    case "further":
      if (want.startIndex <= total) {
        refuseAs(
          "invalidValue",
          "pages by startIndex could be of different revisions: leave count out to get everything at once, or walk by cursor",
        );
      }
      return { offset: want.startIndex - 1, end: want.startIndex - 1 };
  }
}

/** Characters that are made before others have their turn. */
const chunk = 262_144;

async function* write<T>(
  head: Doc,
  items: AsyncIterable<readonly T[]>,
  show: (item: T) => Doc,
): AsyncGenerator<string> {
  // The resources come last, so that everything else can be written before them.
  const { Resources: _, ...totals } = head;
  yield `${JSON.stringify(totals).slice(0, -1)},"Resources":[`;
  let comma = "";
  for await (const slice of items) {
    let text = "";
    for (const doc of slice.map(show)) {
      text += comma;
      comma = ",";
      for (const piece of pieces(doc)) {
        text += piece;
        if (text.length < chunk) continue;
        yield text;
        text = "";
        await setImmediate();
      }
    }
    if (text !== "") yield text;
  }
  yield "]}";
}

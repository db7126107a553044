/** What the files of commands share: how an action gets its session, and how long lists are read. */

import { type Command, Option } from "commander";
import type { Exit } from "./exit.ts";
import type { Session } from "./session.ts";

/** What one command does. Nothing returned means that it is done. */
export type Act<O> = (session: Session, args: readonly string[], options: O) => Promise<Exit | void>;

/** Makes a commander action of an act: opens the session, and keeps how the act ended. */
export type Run = <O extends object>(act: Act<O>) => (this: Command, ...given: unknown[]) => Promise<void>;

export interface InCluster {
  readonly cluster: string;
}

export interface InOrg {
  readonly org: string;
}

export function clusterOption(): Option {
  return new Option("--cluster <name>", "the cluster").default("default");
}

export function orgOption(): Option {
  return new Option("--org <name>", "the org").default("default");
}

/** Reads a list to its end, and returns the last page with the items of all. */
export async function wholeList<K extends string, T, R extends { nextPageToken: string } & Record<K, T[]>>(
  field: K,
  fetch: (page: { pageSize: number; pageToken: string }) => Promise<R>,
): Promise<R> {
  const items: T[] = [];
  for (let pageToken = ""; ; ) {
    const page = await fetch({ pageSize: 1000, pageToken });
    items.push(...page[field]);
    if (page.nextPageToken === "") return { ...page, [field]: items };
    pageToken = page.nextPageToken;
  }
}

/**
 * Writers queue, and those that wait together commit together: one flush to the disk for all of them. Each of several runs behind
 * a savepoint, so that one that is refused takes nothing of its neighbours along; none is answered before the commit.
 */

import { CompiledQuery, type Kysely, type Transaction } from "kysely";
import type { Deed } from "../audit/chain.ts";
import { appendDeeds } from "./audit.ts";
import type { Schema } from "./schema.ts";
import { Tx } from "./store.ts";

/** More commands than this never share a commit: the last one's answer waits for the first one's work. */
const mostTogether = 64;

/** What a group of commands did that others want to know of. */
export interface News {
  /** Clusters whose log grew. */
  readonly appended: Set<string>;
  /** Whether nodes were enrolled, banned, claimed or asked for anything. */
  nodes: boolean;
}

export interface CommitOptions {
  readonly now: () => number;
  /** The first and the last thing in each transaction. */
  readonly begin?: (transaction: Transaction<Schema>) => Promise<void>;
  readonly end?: (transaction: Transaction<Schema>, news: News) => Promise<void>;
  /** Called after the commit, before anybody is answered. */
  readonly ring: (news: News) => void;
}

/** What becomes of what a command wrote. */
type After = "keep" | "take back";

export type Write = <T>(command: (tx: Tx) => Promise<T>, after: After) => Promise<T>;

interface Waiting {
  /** Runs the command; gives back what is to be done once it is durable. */
  readonly run: (tx: Tx) => Promise<() => void>;
  readonly fail: (error: unknown) => void;
  readonly after: After;
}

export function groupCommits(db: Kysely<Schema>, options: CommitOptions): Write {
  let queue: Waiting[] = [];
  let draining = false;

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      // As long as each turn of the event loop brings one more: whoever is at the door comes along.
      for (let known = 0; known < queue.length && known < mostTogether; ) {
        known = queue.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
      const batch = queue.slice(0, mostTogether);
      queue = queue.slice(mostTogether);
      await commit(db, options, batch);
    }
    draining = false;
  }

  return (command, after) =>
    new Promise((resolve, reject) => {
      const run = async (tx: Tx): Promise<() => void> => {
        const result = await command(tx);
        return () => resolve(result);
      };
      queue.push({ run, fail: reject, after });
      if (draining) return;
      draining = true;
      void drain();
    });
}

async function commit(db: Kysely<Schema>, options: CommitOptions, batch: readonly Waiting[]): Promise<void> {
  const { now, begin, end, ring } = options;
  const news: News = { appended: new Set(), nodes: false };
  const deeds: Deed[] = [];
  const settle: (() => void)[] = [];
  try {
    const transaction = await db.startTransaction().execute();
    try {
      await begin?.(transaction);
      for (const waiting of batch) {
        // One alone has the whole transaction to itself: for a savepoint, SQLite would write down all that is changed a second time.
        const run = batch.length === 1 && waiting.after === "keep" ? runAlone : runOne;
        settle.push(await run(transaction, waiting, news, deeds));
      }
      // Once for all of them: their entries cost one statement, and no neighbour's refusal can leave a gap.
      if (deeds.length > 0) await appendDeeds(transaction, deeds, now());
      await end?.(transaction, news);
      await transaction.commit().execute();
    } catch (error) {
      // A full disk ends a transaction by itself, and a dead connection has none: what was wrong is in the first error.
      await transaction
        .rollback()
        .execute()
        .catch(() => undefined);
      throw error;
    }
  } catch (error) {
    for (const { fail } of batch) fail(error);
    return;
  }
  ring(news);
  for (const done of settle) done();
}

const savepoint = {
  begin: CompiledQuery.raw("savepoint command"),
  release: CompiledQuery.raw("release savepoint command"),
  rollback: CompiledQuery.raw("rollback to savepoint command"),
};

async function runAlone(
  transaction: Transaction<Schema>,
  { run }: Waiting,
  news: News,
  deeds: Deed[],
): Promise<() => void> {
  const tx = new Tx(transaction);
  const done = await run(tx);
  keep(tx, news, deeds);
  return done;
}

async function runOne(
  transaction: Transaction<Schema>,
  { run, fail, after }: Waiting,
  news: News,
  deeds: Deed[],
): Promise<() => void> {
  await transaction.executeQuery(savepoint.begin);
  const tx = new Tx(transaction);
  try {
    const done = await run(tx);
    if (after === "take back") await transaction.executeQuery(savepoint.rollback);
    await transaction.executeQuery(savepoint.release);
    if (after === "take back") return done;
    keep(tx, news, deeds);
    return done;
  } catch (error) {
    try {
      await transaction.executeQuery(savepoint.rollback);
      await transaction.executeQuery(savepoint.release);
    } catch {
      // The engine took the whole transaction back: nobody's command is kept.
      throw error;
    }
    return () => fail(error);
  }
}

/** What a command did that is kept. */
function keep(tx: Tx, news: News, deeds: Deed[]): void {
  for (const cluster of tx.appended) news.appended.add(cluster);
  news.nodes ||= tx.nodes.changed;
  for (const deed of tx.audit.noted) deeds.push(deed);
}

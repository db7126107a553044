/**
 * Carries SQLite's write-ahead log over into the database, beside the writer: what the writer would do for itself every few hundred
 * commits keeps it, and all who wait for it, for a tenth of a second. Whatever this does not get done, the writer does.
 */

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import SqliteDatabase from "better-sqlite3";
import type { Logger } from "pino";

/** In milliseconds. */
const every = 1_000;

/** Does so each second, in a thread of its own, until it is disposed of. */
export function checkpoint(path: string, log: Logger): AsyncDisposable {
  const worker = new Worker(new URL(import.meta.url), { workerData: path });
  const exit = new Promise((resolve) => worker.once("exit", resolve));
  worker.on("message", (reason: string) => log.error({ reason }, "carrying the write-ahead log over failed"));
  worker.on("error", (err) => log.error({ err }, "the write-ahead log is carried over by its writer from now on"));
  return {
    async [Symbol.asyncDispose]() {
      worker.postMessage("stop");
      await exit;
    },
  };
}

/** A failure is told once, and tried again until it works. */
function run(path: string): void {
  const database = new SqliteDatabase(path);
  // As the writer does: what is in the database must be on the disk before the log begins anew.
  database.pragma("synchronous = FULL");
  let isTroubled = false;
  const timer = setInterval(() => {
    try {
      database.pragma("wal_checkpoint(PASSIVE)");
      isTroubled = false;
    } catch (err) {
      if (!isTroubled) parentPort?.postMessage(String(err));
      isTroubled = true;
    }
  }, every);
  parentPort?.once("message", () => {
    clearInterval(timer);
    database.close();
  });
}

if (!isMainThread && parentPort) run(workerData as string);

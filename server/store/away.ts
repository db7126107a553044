/**
 * Failures that are the database's and not ours: it is restarting, failing over, out of connections, or its disk is full or
 * broken. Whoever asked may ask again later, and is told so; a write that failed so was not answered, and may have happened.
 */

import { Refusal } from "../../identity/refusal.ts";

/** SQLSTATE: no connection, no resources, an operator's intervention, and a standby that takes no writes. */
const states = /^(08...|53...|57P0[1-5]|58...|25006)$/;

/** How the kernel and SQLite say that it is not there, or cannot write. */
const codes =
  /^(ECONN(REFUSED|RESET|ABORTED)|ENOENT|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|SQLITE_(FULL|IOERR|BUSY|CANTOPEN|READONLY)(_.*)?)$/;

/** How pg says it, which gives these no code. */
const messages =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** An error as whoever asked shall see it: `unavailable` if the database could not do it now, else as it is. */
export function asUnavailable(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof Refusal) return error;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const isAway = states.test(code) || codes.test(code) || messages.test(error.message);
  if (!isAway) return error;
  return new Refusal("unavailable", "the database cannot do this now; try again later", { cause: error });
}

/** Runs a question to the database. @throws Refusal `unavailable`. */
export async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw asUnavailable(error);
  }
}

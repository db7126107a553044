/**
 * Kills all processes of a user in one act of the kernel: a process that is that user's itself sends SIGKILL to all that it
 * may signal. No look at /proc can be as sure: what forks and ends without a pause is never where one looks, and what
 * hides in a user namespace of the user's own has another uid.
 *
 * The one who sends it may be signalled by the others as well, so it may have to be sent again. Its group is nobody's: the others
 * cannot look into it.
 */

import { execFile } from "node:child_process";
import type { Uid } from "../../../identity/id.ts";

/** Whether it was done; `unable` if not: it may not become that user here, or was ended itself. */
export type Sweep = (uid: Uid) => Promise<"done" | "unable">;

const nogroup = 65_534;
const done = 7;

// As root, this would end the machine: it looks at who it is, and does nothing unless it is who it should be. The kernel spares
// the sender. That there was nobody to kill is an error of kill(1), and as good.
const script = `
while read -r field real effective _; do
  [ "$field" = Uid: ] || continue
  [ "$real" = "$1" ] && [ "$effective" = "$1" ] && [ "$1" -ge 1000 ] || exit 1
  kill -KILL -1 2>/dev/null
  exit ${done}
done </proc/self/status
exit 1`;

export const sweep: Sweep = (uid) => {
  const { promise, resolve } = Promise.withResolvers<"done" | "unable">();
  const options = { uid, gid: nogroup, cwd: "/", env: {}, timeout: 2_000, killSignal: "SIGKILL" } as const;
  try {
    execFile("/bin/sh", ["-c", script, "sh", String(uid)], options, (error) => {
      resolve(error?.code === done ? "done" : "unable");
    });
  } catch {
    resolve("unable");
  }
  return promise;
};

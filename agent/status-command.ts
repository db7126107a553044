/** `rollcall-agent status`: what the agent of this node last wrote down, and whether it still counts. */

import { realDisk } from "./disk.ts";
import { machineClock } from "./machine.ts";
import type { StatusOptions } from "./options.ts";
import { ageOf, exitCodes, isAlive, judge, readStatus, showStatus } from "./status.ts";

export async function statusCommand({ state, json }: StatusOptions): Promise<void> {
  const status = await readStatus(realDisk, state);
  const verdict = judge(status, machineClock, isAlive);
  const age = status && Math.round(ageOf(status, machineClock) / 1000);
  const text = json
    ? `${JSON.stringify({ ...verdict, age_seconds: age, status }, null, 2)}\n`
    : showStatus(status, verdict, machineClock);
  process.stdout.write(text);
  process.exitCode = exitCodes[verdict.state];
}

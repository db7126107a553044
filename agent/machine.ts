/** The machine that the agent runs on: its clocks, and ids that only it knows. */

import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { uptime } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "./clock.ts";
import { type MachineClock, unknownBoot } from "./lease.ts";

export const machineClock: Clock & MachineClock = {
  now: Date.now,
  elapsed: () => performance.now(),
  uptime: () => uptime() * 1000,
  boot: bootId(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
  random: Math.random,
};

/** Ids of the groups that own files, by name, from the node's own group(5). */
export async function groupIds(etc: string): Promise<Map<string, number>> {
  // To try it out without root: such an agent can give files to no other group, and serves nobody but itself.
  if (process.geteuid?.() !== 0) return new Map([["shadow", process.getegid?.() ?? 0]]);
  const text = await readFile(join(etc, "group"), "utf8").catch(() => "");
  const lines = text.split("\n").map((line) => line.split(":"));
  return new Map(lines.flatMap(([name, , gid]) => (name === "shadow" && gid ? [[name, Number(gid)]] : [])));
}

/** Which run of the machine this is. A unit that hides most of /proc says it in the environment. */
function bootId(): string {
  try {
    const text = process.env["ROLLCALL_BOOT_ID"] ?? readFileSync("/proc/sys/kernel/random/boot_id", "latin1");
    return text.trim().replaceAll("-", "");
  } catch {
    return unknownBoot;
  }
}

/** Many agents in one process, each as rollcall-agent wires it: its own connection, memory and files. */

import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { start } from "../../../agent/apply.ts";
import type { Clock } from "../../../agent/clock.ts";
import { realDisk } from "../../../agent/disk.ts";
import { follow } from "../../../agent/follow.ts";
import { join } from "../../../agent/membership.ts";
import { Replica } from "../../../agent/replica.ts";
import { nssSink } from "../../../agent/sinks/nss/sink.ts";
import { sshSink } from "../../../agent/sinks/ssh.ts";
import { Trust } from "../../../agent/trust.ts";

const [address = "", caFile = ""] = process.argv.slice(2);
const clock: Clock = {
  now: Date.now,
  elapsed: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
  random: Math.random,
};
const stopping = new AbortController();
const log = pino({ level: "silent" });

process.once("message", (tokens: string[]) => {
  void run(tokens);
});

async function run(tokens: readonly string[]): Promise<void> {
  const folder = await mkdtemp(path(tmpdir(), "rollcall-fleet-"));
  const following = await Promise.all(tokens.map((token, n) => launch(path(folder, String(n)), token, `node-${n}`)));
  process.send?.("ready");
  process.once("SIGTERM", () => {
    stopping.abort();
    void Promise.all(following.map(({ ended }) => ended))
      .then(() => rm(folder, { recursive: true }))
      .then(() => process.exit(0));
  });
}

/** Enrols one agent and lets it follow; resolves (with its end) once it does. */
async function launch(state: string, token: string, name: string): Promise<{ ended: Promise<void> }> {
  const { ground } = await start({
    disk: realDisk,
    state,
    sinks: (disk, served) => [nssSink(disk, served), sshSink(disk, served)],
    gids: new Map(),
  });
  const tokenFile = path(state, "private", "join-token");
  await realDisk.create(tokenFile, Buffer.from(token), { mode: 0o600 });
  const { signal } = stopping;
  const trust = new Trust(realDisk, ground.folders, () => readFile(caFile, "utf8"));
  const tokens = { joinTokenFile: tokenFile, kubernetesTokenFile: undefined };
  const { folders } = ground;
  const shared = { disk: realDisk, folders, address, node: name, tokens, trust, clock, log, signal };
  const membership = await join(shared, true, () => undefined);
  if (!membership) throw new Error("stopped");
  const replica = new Replica(ground);
  return { ended: follow({ replica, membership, clock, log, signal, software: "bench", instance: randomUUID() }) };
}

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

const [address = "", caFile = ""] = process.argv.slice(2);
const clock: Clock = {
  now: Date.now,
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
  const caPem = await readFile(caFile, "utf8");
  const following = await Promise.all(
    tokens.map((token, n) => launch(path(folder, String(n)), caPem, token, `node-${n}`)),
  );
  process.send?.("ready");
  process.once("SIGTERM", () => {
    stopping.abort();
    void Promise.all(following.map(({ ended }) => ended))
      .then(() => rm(folder, { recursive: true }))
      .then(() => process.exit(0));
  });
}

/** Enrols one agent and lets it follow; resolves (with its end) once it does. */
async function launch(state: string, caPem: string, token: string, name: string): Promise<{ ended: Promise<void> }> {
  const { ground } = await start({
    disk: realDisk,
    state,
    sinks: (disk, served) => [nssSink(disk, served), sshSink(disk, served)],
    gids: new Map(),
  });
  const tokenFile = path(state, "private", "join-token");
  await realDisk.create(tokenFile, Buffer.from(token), { mode: 0o600 });
  const { signal } = stopping;
  const shared = { disk: realDisk, folders: ground.folders, server: { address, caPem }, clock, log, signal };
  const membership = await join(shared, name, { joinTokenFile: tokenFile, kubernetesTokenFile: undefined });
  if (!membership) throw new Error("stopped");
  const replica = new Replica(ground);
  const connect = () => membership.connect();
  return { ended: follow({ replica, connect, clock, log, signal, software: "bench", instance: randomUUID() }) };
}

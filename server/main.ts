/** rollcall-server: wires the control plane together, says where it is, and stops cleanly when it is told to. */

import { randomBytes, randomUUIDv7 } from "node:crypto";
import { access, mkdir } from "node:fs/promises";
import { availableParallelism, hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fastifyConnectPlugin } from "@connectrpc/connect-fastify";
import Fastify from "fastify";
import { type Logger, pino } from "pino";
import { Refusal } from "../identity/refusal.ts";
import { operatorRoutes } from "./api/routes.ts";
import { type Authority, openAuthority } from "./authority/authority.ts";
import { readIssuers } from "./authority/kubernetes.ts";
import { changeAuthority, showStanding } from "./authority-command.ts";
import { seed } from "./directory/clusters.ts";
import { compactLogs, keepFor } from "./directory/compaction.ts";
import type { Context } from "./directory/context.ts";
import { openEpochs } from "./directory/epochs.ts";
import { expireKeys } from "./directory/keys.ts";
import { recordAuthorities } from "./directory/nodes.ts";
import { createAdminToken } from "./directory/tokens.ts";
import { writeDurably } from "./durable-file.ts";
import { oauth } from "./oauth/routes.ts";
import {
  type AuthorityCommand,
  type Migration,
  type Options,
  type Restore,
  readAuthorityCommand,
  readMigration,
  readOptions,
  readRestore,
  showAddress,
  usage,
} from "./options.ts";
import { Ledger } from "./rollout/ledger.ts";
import { Usher } from "./rollout/usher.ts";
import { RightOfWay } from "./scim/right-of-way.ts";
import { scim } from "./scim/routes.ts";
import { routing } from "./scim/unroutable.ts";
import { checkpoint } from "./store/checkpoints.ts";
import { copyDatabase } from "./store/copy.ts";
import { isPostgres, openReader, openStore } from "./store/engine.ts";
import type { Store } from "./store/store.ts";
import { Hub } from "./stream/hub.ts";
import { listen } from "./stream/threads.ts";

/** How often progress is written, in milliseconds. */
const saveEvery = 250;

/** How often it is looked what other servers of the same database wrote, in milliseconds. */
const refreshEvery = 1000;

/** How often keys whose time has come are looked for, in milliseconds. */
const expireEvery = 1000;

/** How often the logs forget what was overtaken long ago, in milliseconds. */
const compactEvery = 3_600_000;

/** How often the server's own certificate is looked at, in milliseconds; it is replaced at half its life. */
const renewEvery = 12 * 3_600_000;

/** How often it is looked whether the authorities of the data folder changed, in milliseconds. */
const reloadEvery = 1000;

/** How many token requests of one address may fail per minute: people mistype, strangers guess. */
const tokenFailures = 30;

function newSecret(): string {
  return randomBytes(32).toString("base64url");
}

async function main(options: Options): Promise<void> {
  const log = pino({ base: null }, pino.destination({ fd: 2, sync: true }));
  const now = Date.now;
  // The database and the keys are this user's alone; ca.pem is given its own mode.
  process.umask(0o077);
  await mkdir(options.data, { recursive: true, mode: 0o700 });
  const { database, kubernetes } = options;
  const issuers = kubernetes === undefined ? [] : await readIssuers(kubernetes);
  await using store = await openStore(database, now);
  await using _checkpoints = isPostgres(database) ? undefined : checkpoint(database, log);
  const ctx: Context = { store, now, newId: randomUUIDv7, newSecret };
  await seed(ctx);
  await ensureAdminToken(ctx, join(options.data, "admin-token"));
  const authority = await openAuthority(options.data, { now });
  const certificate = await authority.issueServer(certificateNames(options));

  await using ledger = new Ledger(ctx, log);
  await ledger.load();
  await using usher = new Usher(ctx, ledger, log);
  usher.start();
  const way = new RightOfWay(performance.now.bind(performance), sleep);
  // With a processor for who writes, nobody is in anybody's way.
  const isShort = availableParallelism() <= options.streamThreads;
  using hub = new Hub(store, log, (cluster, head) => {
    if (isShort) way.give(ledger.size, () => ledger.isHeld(cluster, head));
  });
  const nodePort = { ...options.nodeListen, database, threads: options.streamThreads, authority, certificate };
  await using nodes = await listen({ ctx, hub, ledger, log, issuers }, nodePort);

  const app = Fastify({
    http2: true,
    https: { allowHTTP1: true, key: certificate.key, cert: certificate.cert },
    loggerInstance: log.child({}, { level: "warn" }),
    forceCloseConnections: true,
    ...routing,
  });
  let url = "";
  // Open watches end at once when the server stops: their clients come back, and would hold it up for ever.
  const routes = operatorRoutes(ctx, ledger, { publicUrl: () => url, trusted: () => authority.trusted, log });
  await app.register(fastifyConnectPlugin, { routes, shutdownTimeoutMs: 0 });
  await app.register(scim(ctx, { baseUrl: () => url, rate: options.scimRate, way }));
  await app.register(oauth(ctx, { failures: tokenFailures }));
  await app.listen(options.listen);
  const bound = app.server.address();
  const port = typeof bound === "object" && bound ? bound.port : options.listen.port;
  url = `https://${showAddress({ host: options.listen.host, port })}`;

  const saving = setInterval(() => {
    ledger.save().catch((err: unknown) => log.error({ err }, "writing progress failed"));
  }, saveEvery);
  using _others = store.isShared ? followOthers(store, ledger, log) : undefined;
  let troubled = false;
  let expiry = Promise.resolve();
  const expiring = setInterval(() => {
    // One after another; a failure is logged once, and tried again until it works.
    expiry = expiry
      .then(() => expireKeys(ctx))
      .then(() => {
        troubled = false;
      })
      .catch((err: unknown) => {
        if (!troubled) log.error({ err }, "removing expired keys failed");
        troubled = true;
      });
  }, expireEvery);
  const compacting = setInterval(() => {
    compactLogs(ctx, now() - keepFor).catch((err: unknown) => log.error({ err }, "compacting the logs failed"));
  }, compactEvery);
  const renewing = setInterval(() => {
    authority
      .issueServer(certificateNames(options))
      .then(({ key, cert }) => {
        nodes.setCertificate({ key, cert });
        app.server.setSecureContext({ key, cert });
      })
      .catch((err: unknown) => log.error({ err }, "renewing the server certificate failed"));
  }, renewEvery);
  using _authorities = followAuthority(ctx, authority, log, async () => {
    const { key, cert } = await authority.issueServer(certificateNames(options));
    nodes.rotate({ key, cert });
    app.server.setSecureContext({ key, cert });
  });
  process.stdout.write(
    [
      `public  ${url}`,
      `scim    ${url}/scim/default/v2`,
      `nodes   ${showAddress({ host: options.nodeListen.host, port: nodes.port })}`,
      `ca      ${join(options.data, "ca.pem")}`,
      `token   ${join(options.data, "admin-token")}`,
      "ready",
      "",
    ].join("\n"),
  );
  await stopSignal();
  log.info("stopping");
  clearInterval(saving);
  clearInterval(renewing);
  clearInterval(compacting);
  clearInterval(expiring);
  await expiry;
  await nodes.drain();
  await app.close();
}

/** Takes in what an operator does to the authorities of the data folder, and records it. */
function followAuthority(ctx: Context, authority: Authority, log: Logger, changed: () => Promise<void>): Disposable {
  let isTroubled = false;
  let taken = authority.trusted;
  const look = async (): Promise<void> => {
    await authority.reload();
    if (taken.join() === authority.trusted.join()) return;
    await changed();
    await recordAuthorities(ctx, taken, authority.trusted);
    taken = authority.trusted;
    log.info({ signs: authority.trusted[0], trusted: authority.trusted }, "the authorities changed");
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    // One after another; a failure is logged once, and tried again until it works.
    looking = looking.then(look).then(
      () => {
        isTroubled = false;
      },
      (err: unknown) => {
        if (!isTroubled) log.error({ err }, "taking in the authorities failed");
        isTroubled = true;
      },
    );
  }, reloadEvery);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Takes in what other servers write of nodes: when they ring, and each second, since a ring may be lost. */
function followOthers(store: Store, ledger: Ledger, log: Logger): Disposable {
  let isWanted = false;
  let isReading = false;
  const refresh = async (): Promise<void> => {
    isWanted = true;
    if (isReading) return;
    isReading = true;
    while (isWanted) {
      isWanted = false;
      await ledger.refresh().catch((err: unknown) => log.error({ err }, "reading what other servers wrote failed"));
    }
    isReading = false;
  };
  const rings = store.onNodes(() => void refresh());
  const poll = setInterval(() => void refresh(), refreshEvery);
  return {
    [Symbol.dispose]() {
      clearInterval(poll);
      rings[Symbol.dispose]();
    },
  };
}

/** Takes a step of a rotation, and says how the authorities stand. */
async function authorityCommand(command: AuthorityCommand): Promise<void> {
  process.umask(0o077);
  if (!isPostgres(command.database)) await access(command.database);
  await using store = openReader(command.database);
  const standing = await changeAuthority(command, store, Date.now);
  process.stdout.write(command.json ? `${JSON.stringify(standing)}\n` : showStanding(standing));
}

/** Says what it did of a database that was put back from a backup. */
async function restore({ database, json, ...known }: Restore): Promise<void> {
  process.umask(0o077);
  if (!isPostgres(database)) await access(database);
  await using store = await openStore(database, Date.now);
  const ctx: Context = { store, now: Date.now, newId: randomUUIDv7, newSecret };
  const opened = await openEpochs(ctx, { kind: "server", cause: "restore" }, known);
  const clusters = opened.map(({ epoch, ...each }) => ({ ...each, epoch: String(epoch) }));
  if (json) process.stdout.write(`${JSON.stringify({ clusters })}\n`);
  else {
    for (const { cluster, epoch, highestUid, highestGid, nodesAhead } of clusters) {
      const above = `numbers go on above ${highestUid} (uid) and ${highestGid} (gid)`;
      process.stdout.write(`${cluster}: epoch ${epoch}; ${above}; ${nodesAhead} nodes were ahead of the backup.\n`);
    }
  }
}

/** Says what it copied. */
async function migrate({ from, to, json }: Migration): Promise<void> {
  process.umask(0o077);
  if (!isPostgres(from)) await access(from);
  const progress = (table: string, rows: number): boolean => json || process.stderr.write(`${table}: ${rows} rows\n`);
  const copied = await copyDatabase(from, to, Date.now, progress);
  const rows = Object.values(copied).reduce((sum, count) => sum + count, 0);
  process.stdout.write(json ? `${JSON.stringify({ rows, tables: copied })}\n` : `${rows} rows copied and compared.\n`);
}

/** Made once: whoever can read the data folder is the first operator. */
async function ensureAdminToken(ctx: Context, path: string): Promise<void> {
  try {
    await access(path);
  } catch {
    await writeDurably(path, `${await createAdminToken(ctx, "first")}\n`, 0o600);
  }
}

/** What clients may call this server: what it listens on, this host's name, and what the operator adds. */
function certificateNames({ listen: a, nodeListen: b, names }: Options): string[] {
  const listened = [a.host, b.host].flatMap((host) => (isAny(host) ? ownAddresses() : [host]));
  return [...new Set(["localhost", "127.0.0.1", "::1", hostname(), ...listened, ...names])];
}

function isAny(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((found) => (found ?? []).map(({ address }) => address));
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
}

try {
  const [first, ...rest] = process.argv.slice(2);
  if (first === "restore") await restore(readRestore(rest));
  else if (first === "authority") await authorityCommand(readAuthorityCommand(rest));
  else if (first === "migrate") await migrate(readMigration(rest));
  else {
    const options = readOptions(process.argv.slice(2));
    if (options === "help") process.stdout.write(usage);
    else await main(options);
  }
} catch (err) {
  if (err instanceof Refusal) {
    const isUsage = err.reason === "invalid";
    process.stderr.write(`rollcall-server: ${err.message}\n${isUsage ? `\n${usage}` : ""}`);
    process.exitCode = isUsage ? 2 : 7;
  } else {
    process.stderr.write(`rollcall-server: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`);
    process.exitCode = 1;
  }
}

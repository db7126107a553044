/** The node's membership of its cluster: enrolled once with a join token, renewed at half the life of each certificate. */

import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import type { Role } from "../identity/scope.ts";
import { attempts } from "./attempts.ts";
import type { Clock } from "./clock.ts";
import { type Credentials, halfLife, loadCredentials, newRequest, storeChain } from "./credentials.ts";
import type { Disk } from "./disk.ts";
import type { Folders } from "./folders.ts";
import type { Trust } from "./trust.ts";
import { type Grant, type JoiningToken, Uplink } from "./uplink.ts";

export interface MembershipOptions {
  readonly disk: Disk;
  readonly folders: Folders;
  /** `host:port` of the control plane's node port. */
  readonly address: string;
  readonly trust: Trust;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export class Membership {
  readonly #options: MembershipOptions;
  #credentials: Credentials;
  /** When the certificate is renewed, milliseconds since 1970. */
  #due: number;
  #woken = new AbortController();
  #onRenewed: () => void = () => undefined;

  constructor(options: MembershipOptions, credentials: Credentials) {
    this.#options = options;
    this.#credentials = credentials;
    this.#due = halfLife(credentials.life, options.clock.random());
  }

  get role(): Role | undefined {
    return this.#credentials.role;
  }

  /** When the newest certificate ends, milliseconds since 1970. */
  get until(): number {
    return this.#credentials.life.to;
  }

  /** A connection with the newest certificate. */
  async connect(): Promise<Uplink> {
    const { address, trust } = this.#options;
    return new Uplink({ address, caPem: await trust.now() }, this.#credentials);
  }

  /** Has the certificate renewed within a time, in milliseconds, because the control plane asks for it. */
  renewWithin(ms: number): void {
    const { clock } = this.#options;
    const due = clock.now() + Math.min(ms, longestAsked) * clock.random();
    if (due >= this.#due) return;
    this.#due = due;
    this.#woken.abort();
  }

  /** Has somebody told whenever the certificate was renewed. */
  onRenewed(listener: () => void): void {
    this.#onRenewed = listener;
  }

  /** Renews the certificate at about half its life, until the signal; a failure is tried again, later each time. */
  async keep(): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      this.#woken = new AbortController();
      const until = AbortSignal.any([signal, this.#woken.signal]);
      // Timers hold at most 2^31 ms, and the clock may be set meanwhile: look again every hour.
      await clock.sleep(Math.min(3_600_000, Math.max(0, this.#due - clock.now())), until);
      if (!signal.aborted && clock.now() >= this.#due) await this.#renew();
    }
  }

  async #renew(): Promise<void> {
    const { disk, folders, clock, log, signal } = this.#options;
    for await (const _ of attempts(clock, signal)) {
      try {
        using uplink = await this.connect();
        this.#credentials = await keepGrant(this.#options, await uplink.renew(await newRequest(disk, folders)));
        this.#due = Math.max(halfLife(this.#credentials.life, clock.random()), clock.now() + rest);
        log.info({ until: new Date(this.#credentials.life.to).toISOString() }, "certificate renewed");
        this.#onRenewed();
        return;
      } catch (err) {
        log.warn({ err }, "renewing the certificate failed");
      }
    }
  }
}

/** How long a fresh certificate is left alone, in milliseconds: to a clock that is far ahead, every one is due at once. */
const rest = 600_000;

/** A server that asks for renewals in a longer time than this, in milliseconds, need not ask: half a certificate's life is shorter. */
const longestAsked = 24 * 3_600_000;

/** Keeps what a control plane gave: whom to trust first, so that who uses its certificate also has that. */
async function keepGrant(
  { disk, folders, trust }: MembershipOptions,
  { chainPem, trustPem }: Grant,
): Promise<Credentials> {
  if (trustPem !== undefined) await trust.keep(trustPem, chainPem);
  return storeChain(disk, folders, chainPem);
}

/** Where a token is that lets the node in: one of the two. */
export interface TokenFiles {
  readonly joinTokenFile: string | undefined;
  readonly kubernetesTokenFile: string | undefined;
}

/**
 * The node's membership; enrols if there is no certificate that is still good. Without a server it tries until the signal:
 * then there is none.
 * @throws Error if enrolling needs a token and none is given, or the server turns it down.
 */
export async function join(
  options: MembershipOptions,
  node: string,
  files: TokenFiles,
): Promise<Membership | undefined> {
  const { disk, folders, clock, log, signal, address, trust } = options;
  const held = await loadCredentials(disk, folders);
  if (held && held.life.to > clock.now()) return new Membership(options, held);
  if (files.joinTokenFile === undefined && files.kubernetesTokenFile === undefined) {
    const why = held ? "has an expired certificate" : "has not enrolled";
    throw new Error(`this node ${why}: --join-token-file or --kubernetes-token-file is needed`);
  }
  const request = await newRequest(disk, folders);
  for await (const _ of attempts(clock, signal)) {
    try {
      // Read anew each time: Kubernetes rotates its tokens.
      const token = await readToken(files);
      using uplink = new Uplink({ address, caPem: await trust.now() });
      const credentials = await keepGrant(options, await uplink.enroll(token, request, node));
      log.info({ node }, "enrolled");
      return new Membership(options, credentials);
    } catch (err) {
      if (!isUnreachable(err)) throw err;
      log.warn({ err }, "enrolling failed");
    }
  }
  return undefined;
}

async function readToken({ joinTokenFile, kubernetesTokenFile }: TokenFiles): Promise<JoiningToken> {
  if (joinTokenFile !== undefined) return { joinToken: (await readFile(joinTokenFile, "utf8")).trim() };
  return { kubernetesToken: (await readFile(kubernetesTokenFile ?? "", "utf8")).trim() };
}

/** The server could not be asked, or could not find out; anything else is an answer, and would be the same again. */
function isUnreachable(err: unknown): boolean {
  const code = err instanceof Error && err.cause instanceof Error && "code" in err.cause ? err.cause.code : undefined;
  return code === 14 || code === 4 || code === 13;
}

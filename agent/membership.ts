/**
 * The node's membership of its cluster: enrolled once with a token, renewed at half the life of each certificate. A node that missed
 * that (its server was away for a day, or it was off) is let in by another token, which is waited for.
 */

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
  /** What the node is called. */
  readonly node: string;
  readonly tokens: TokenFiles;
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
  readonly #entrance: Entrance;

  constructor(options: MembershipOptions, credentials: Credentials, entrance = new Entrance(options)) {
    this.#options = options;
    this.#entrance = entrance;
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
    const due = clock.now() + ms * clock.random();
    if (due >= this.#due) return;
    this.#due = due;
    this.#woken.abort();
  }

  /** Has somebody told whenever the certificate was renewed. */
  onRenewed(listener: () => void): void {
    this.#onRenewed = listener;
  }

  /**
   * Renews the certificate at about half its life, until the signal; a failure is tried again, later each time.
   * @throws Error if the node was let in again in another role: its agent must start again.
   */
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
    const { clock, log, signal } = this.#options;
    for await (const _ of attempts(clock, signal)) {
      try {
        const { role } = this;
        this.#credentials = await this.#fresh();
        this.#due = Math.max(halfLife(this.#credentials.life, clock.random()), clock.now() + rest);
        log.info({ until: new Date(this.#credentials.life.to).toISOString() }, "certificate renewed");
        if (this.role !== role) throw new OtherRole(`this node is a ${this.role} node now: start its agent again`);
        this.#onRenewed();
        return;
      } catch (err) {
        if (err instanceof OtherRole) throw err;
        log.warn({ err }, "renewing the certificate failed");
      }
    }
  }

  /** For the certificate that is held; once that has ended by this node's clock, and is good for nothing, for a token. */
  async #fresh(): Promise<Credentials> {
    const { clock, disk, folders } = this.#options;
    try {
      using uplink = await this.connect();
      return await keepGrant(this.#options, await uplink.renew(await newRequest(disk, folders)));
    } catch (cause) {
      if (this.until > clock.now()) throw cause;
      return this.#entrance.enrol(`this node's certificate ended ${new Date(this.until).toISOString()}`);
    }
  }
}

/** What runs here goes by the role, and was chosen when the agent started. */
class OtherRole extends Error {}

/** How long a fresh certificate is left alone, in milliseconds: to a clock that is far ahead, every one is due at once. */
const rest = 600_000;

/** Keeps what a control plane gave: whom to trust first, so that who uses its certificate also has that. */
async function keepGrant(
  { disk, folders, trust }: MembershipOptions,
  { chainPem, trustPem }: Grant,
): Promise<Credentials> {
  if (trustPem !== undefined) await trust.keep(trustPem, chainPem);
  return storeChain(disk, folders, chainPem);
}

/**
 * The node's membership: with the certificate that it holds, ended or not, or else after enrolling. Without a server it tries until
 * the signal: then there is none.
 * @param isNew it serves nobody yet. One in service, whose files are watched meanwhile, also waits for what it lacks.
 * @param told why it is not in yet.
 * @throws Error if a new node has no token, or is turned down.
 */
export async function join(
  options: MembershipOptions,
  isNew: boolean,
  told: (because: string) => void,
): Promise<Membership | undefined> {
  const { disk, folders, clock, log, signal } = options;
  const entrance = new Entrance(options);
  for await (const _ of attempts(clock, signal)) {
    try {
      const held = await loadCredentials(disk, folders);
      return new Membership(options, held ?? (await entrance.enrol("this node has not enrolled")), entrance);
    } catch (err) {
      if (isNew && !isUnreachable(err)) throw err;
      log.warn({ err }, "enrolling failed");
      told(err instanceof Error ? err.message : String(err));
    }
  }
  return undefined;
}

/** Where a token is that lets the node in: one of the two, or none. */
export interface TokenFiles {
  readonly joinTokenFile: string | undefined;
  readonly kubernetesTokenFile: string | undefined;
}

/** The way in by a token. Its file is read anew each time: somebody may give the node another one, and Kubernetes does. */
class Entrance {
  readonly #options: MembershipOptions;
  /** A join token that was turned down will be again: it is not sent twice. */
  #spent: string | undefined;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** @param why a token is needed, in words. @throws Error saying what to do. */
  async enrol(why: string): Promise<Credentials> {
    const { disk, folders, address, node, trust, log } = this.#options;
    const token = await this.#token(why);
    try {
      using uplink = new Uplink({ address, caPem: await trust.now() });
      const grant = await uplink.enroll(token, await newRequest(disk, folders), node);
      const credentials = await keepGrant(this.#options, grant);
      log.info({ node }, "enrolled");
      return credentials;
    } catch (err) {
      if (codeOf(err) === unauthenticated && "joinToken" in token) this.#spent = token.joinToken;
      throw err;
    }
  }

  async #token(why: string): Promise<JoiningToken> {
    const { joinTokenFile, kubernetesTokenFile } = this.#options.tokens;
    if (kubernetesTokenFile !== undefined) return { kubernetesToken: await readToken(kubernetesTokenFile) };
    if (joinTokenFile === undefined) {
      throw new Error(`${why}: --join-token-file or --kubernetes-token-file is needed`);
    }
    const joinToken = await readToken(joinTokenFile).catch((cause: unknown) => {
      throw new Error(`${why}: a new join token is needed in ${joinTokenFile}`, { cause });
    });
    if (joinToken === this.#spent) {
      throw new Error(`${why}: the join token in ${joinTokenFile} was turned down, a new one is needed`);
    }
    return { joinToken };
  }
}

async function readToken(path: string): Promise<string> {
  return (await readFile(path, "utf8")).trim();
}

const unauthenticated = 16;

/** The server could not be asked, or could not find out; anything else is an answer, and would be the same again. */
function isUnreachable(err: unknown): boolean {
  return [14, 4, 13].includes(codeOf(err) ?? 0);
}

/** What a gRPC call ended with. */
function codeOf(err: unknown): number | undefined {
  const cause = err instanceof Error ? err.cause : undefined;
  return cause instanceof Error && "code" in cause && typeof cause.code === "number" ? cause.code : undefined;
}

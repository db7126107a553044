/** The node's membership of its cluster: enrolled once with a join token, renewed at half the life of each certificate. */

import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import type { Role } from "../identity/scope.ts";
import { attempts } from "./attempts.ts";
import type { Clock } from "./clock.ts";
import { type Credentials, halfLife, loadCredentials, newRequest, storeChain } from "./credentials.ts";
import type { Disk } from "./disk.ts";
import type { Folders } from "./folders.ts";
import { type JoiningToken, type Server, Uplink } from "./uplink.ts";

export interface MembershipOptions {
  readonly disk: Disk;
  readonly folders: Folders;
  readonly server: Server;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export class Membership {
  readonly #options: MembershipOptions;
  #credentials: Credentials;

  constructor(options: MembershipOptions, credentials: Credentials) {
    this.#options = options;
    this.#credentials = credentials;
  }

  get role(): Role | undefined {
    return this.#credentials.role;
  }

  /** A connection with the newest certificate. */
  connect(): Uplink {
    return new Uplink(this.#options.server, this.#credentials);
  }

  /** Renews the certificate at about half its life, until the signal; a failure is tried again, later each time. */
  async keep(): Promise<void> {
    const { disk, folders, clock, log, signal } = this.#options;
    while (!signal.aborted) {
      const due = halfLife(this.#credentials.life, clock.random());
      // Timers hold at most 2^31 ms, and the clock may be set meanwhile: look again every hour.
      await clock.sleep(Math.min(3_600_000, Math.max(0, due - clock.now())), signal);
      if (signal.aborted || clock.now() < due) continue;
      for await (const _ of attempts(clock, signal)) {
        try {
          using uplink = this.connect();
          this.#credentials = await storeChain(disk, folders, await uplink.renew(await newRequest(disk, folders)));
          log.info({ until: new Date(this.#credentials.life.to).toISOString() }, "certificate renewed");
          break;
        } catch (err) {
          log.warn({ err }, "renewing the certificate failed");
        }
      }
    }
  }
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
  const { disk, folders, clock, log, signal, server } = options;
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
      using uplink = new Uplink(server);
      const credentials = await storeChain(disk, folders, await uplink.enroll(token, request, node));
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

/**
 * Whom the node takes for its control plane: first the authorities of the file that its operator gave it (`--ca`), then those that
 * the control plane itself names as they change, which are kept with the node's credentials and take the first ones' place.
 * A retired authority is so trusted no more, whatever the file says. A file that is not the one that it began with is a new word
 * of the operator, and counts again: the way back for a node that missed a change.
 */

import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "./disk.ts";
import type { Folders } from "./folders.ts";

const longest = 64 * 1024;
const most = 16;

export class Trust {
  readonly #disk: Disk;
  readonly #folders: Folders;
  readonly #first: () => Promise<string>;

  /** `first` reads the operator's file, anew each time. */
  constructor(disk: Disk, folders: Folders, first: () => Promise<string>) {
    this.#disk = disk;
    this.#folders = folders;
    this.#first = first;
  }

  /** The authorities that the control plane's certificate may be of, PEM. @throws Error: nothing is kept, and no file is there. */
  async now(): Promise<string> {
    const kept = await this.#kept();
    try {
      const first = await this.#first();
      return kept?.began === sha256(first) ? kept.pem : first;
    } catch (err) {
      // Without the file, what was kept is all that anybody said.
      return kept?.pem ?? raise(err);
    }
  }

  /**
   * Keeps what the control plane named, over the connection on which it gave a certificate chain; durable before that is.
   * @throws Error if it cannot be used; then nothing has changed.
   */
  async keep(bundlePem: string, chainPem: string): Promise<void> {
    check(bundlePem, new X509Certificate(chainPem));
    const began = await this.#first().then(sha256, async (err: unknown) => (await this.#kept())?.began ?? raise(err));
    await this.#disk.create(`${this.#path}.new`, Buffer.from(`# from sha256:${began}\n${bundlePem}`), { mode: 0o600 });
    await this.#disk.rename(`${this.#path}.new`, this.#path);
    await this.#disk.sync(this.#folders.private);
  }

  /** What was kept, and the hash of the file that it began with; what is not ours to read is nothing. */
  async #kept(): Promise<{ began: string; pem: string } | undefined> {
    const text = (await this.#disk.read(this.#path))?.bytes.toString() ?? "";
    const [, began, pem] = /^# from sha256:([0-9a-f]{64})\n([^]+)$/.exec(text) ?? [];
    return began === undefined || pem === undefined ? undefined : { began, pem };
  }

  get #path(): string {
    return join(this.#folders.private, "trust.pem");
  }
}

function check(bundlePem: string, certificate: X509Certificate): void {
  const refuse = (why: string): never => {
    throw new Error(`the trust bundle that the server gave ${why}`);
  };
  if (bundlePem.length > longest) refuse(`has more than ${longest} characters`);
  const blocks = bundlePem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > most) refuse(`holds ${blocks.length} certificates, not 1 to ${most}`);
  const roots = blocks.map((pem) => new X509Certificate(pem));
  const stranger = roots.find(({ ca }) => !ca);
  if (stranger) refuse(`holds a certificate that is no authority's: ${stranger.subject}`);
  if (!roots.some((root) => certificate.checkIssued(root) && certificate.verify(root.publicKey))) {
    refuse("lacks the authority of the certificate that it gave with it");
  }
}

function raise(err: unknown): never {
  throw err;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

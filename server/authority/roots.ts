/**
 * The authorities of a data folder: the one that signs, and during a rotation another one that is trusted beside it.
 *
 * 1. `ca.pem` is all there is to say: certificates, that of the authority that signs first. It is replaced by one rename, so no
 *    step of a rotation can be half done, and it is what agents and clients trust, as it stands.
 * 2. `ca-key.pem` has their keys, in any order. A key is there before its certificate is and goes after it: one without a
 *    certificate is what a crash left, and is dropped at the next step.
 * 3. The first key is made once. A folder with a certificate but without the key that signs is not repaired: a new authority
 *    would lock every node out.
 */

import { createHash, createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { refuse } from "../../identity/refusal.ts";
import { writeDurably } from "../durable-file.ts";

/** An authority. */
export interface Root {
  /** The first 16 hex digits of its certificate's SHA-256. */
  readonly id: string;
  /** Its certificate, PEM, with a line break at the end. */
  readonly pem: string;
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/** Whoever signs, and who is trusted beside it, if there is one. */
export interface Roots {
  readonly signer: Root;
  /** PKCS#8, PEM. */
  readonly keyPem: string;
  readonly other: Root | undefined;
}

/** Makes an authority: a certificate of its own, and its key, both PEM. */
export type MakeRoot = () => Promise<{ readonly pem: string; readonly keyPem: string }>;

/** Reads the authorities of a folder; the first one is made. @throws Error that says what to do. */
export async function openRoots(dataDir: string, make: MakeRoot): Promise<Roots> {
  const held = await readIfThere(certPath(dataDir));
  if (held !== undefined) return readRoots(dataDir);
  // The key is written first: a key alone is that of an authority nobody has seen, and is replaced.
  const { pem, keyPem } = await make();
  await writeDurably(keyPath(dataDir), keyPem, 0o600);
  await writeDurably(certPath(dataDir), pem, 0o644);
  return readRoots(dataDir);
}

/** Reads the authorities of a folder that has one. @throws Error that says what to do. */
export async function readRoots(dataDir: string): Promise<Roots> {
  const path = certPath(dataDir);
  const [signer, other, ...more] = certificatesIn((await readIfThere(path)) ?? "").map(rootOf);
  if (!signer) throw new Error(`${path} holds no certificate: restore it from a backup`);
  if (more.length > 0)
    throw new Error(`${path} holds ${more.length + 2} certificates: at most two authorities are trusted`);
  const keyText = await readIfThere(keyPath(dataDir));
  if (keyText === undefined) {
    const how = "restore the key from a backup, or enrol every node anew";
    throw new Error(`${path} is there without ${keyPath(dataDir)}: ${how}`);
  }
  const keyPem = keysIn(keyText).find((key) => fits(signer.pem, key));
  if (keyPem === undefined) {
    throw new Error(`${keyPath(dataDir)} is not the key of ${path}: restore both from one backup`);
  }
  return { signer, keyPem, other };
}

/** Makes another authority, which is trusted from now on and signs nothing yet. @throws Refusal `conflict`: there are two. */
export async function prepareRoot(dataDir: string, make: MakeRoot): Promise<Roots> {
  const { signer, keyPem, other } = await readRoots(dataDir);
  if (other) refuse("conflict", `there are two authorities: retire ${other.id} first`);
  const made = await make();
  await writeDurably(keyPath(dataDir), keyPem + made.keyPem, 0o600);
  await writeDurably(certPath(dataDir), signer.pem + made.pem, 0o644);
  return readRoots(dataDir);
}

/** Has the other authority sign from now on. @throws Refusal `conflict`: there is none, or its key is not here. */
export async function activateRoot(dataDir: string): Promise<Roots> {
  const { signer, other } = await readRoots(dataDir);
  if (!other) return refuse("conflict", "there is one authority only: prepare another one first");
  const keys = keysIn((await readIfThere(keyPath(dataDir))) ?? "");
  if (!keys.some((key) => fits(other.pem, key))) {
    refuse("conflict", `${keyPath(dataDir)} lacks the key of ${other.id}: copy it from where it was prepared`);
  }
  await writeDurably(certPath(dataDir), other.pem + signer.pem, 0o644);
  return readRoots(dataDir);
}

/** Trusts the authority that does not sign no more, and forgets its key. @throws Refusal `conflict`: there is none. */
export async function retireRoot(dataDir: string): Promise<Roots> {
  const { signer, keyPem, other } = await readRoots(dataDir);
  if (!other) return refuse("conflict", "there is one authority only: nothing to retire");
  await writeDurably(certPath(dataDir), signer.pem, 0o644);
  await writeDurably(keyPath(dataDir), keyPem, 0o600);
  return readRoots(dataDir);
}

/** Whether a key is a certificate's; bytes that are neither fit nothing. */
export function fits(certPem: string, keyText: string): boolean {
  try {
    return new X509Certificate(certPem).publicKey.equals(createPublicKey(createPrivateKey(keyText)));
  } catch {
    return false;
  }
}

/** The text of a file; undefined if there is none. @throws Error that names it. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new Error(`read ${path}`, { cause });
  }
}

/** Who is trusted by a text of `ca.pem`. */
export class Trust {
  readonly #roots: readonly { readonly id: string; readonly certificate: X509Certificate }[];

  constructor(caPem: string) {
    this.#roots = certificatesIn(caPem).map((pem) => ({ id: rootOf(pem).id, certificate: new X509Certificate(pem) }));
  }

  trusts(id: string): boolean {
    return this.#roots.some((root) => root.id === id);
  }

  /** Which of the authorities issued a certificate whose signature TLS has checked. */
  issuerOf(certificate: X509Certificate): string | undefined {
    return this.#roots.find((root) => certificate.checkIssued(root.certificate))?.id;
  }
}

function rootOf(pem: string): Root {
  const certificate = new X509Certificate(pem);
  if (!certificate.ca) throw new Error(`the certificate of ${certificate.subject} in ca.pem is no authority's`);
  const id = createHash("sha256").update(certificate.raw).digest("hex").slice(0, 16);
  return { id, pem, from: certificate.validFromDate.getTime(), to: certificate.validToDate.getTime() };
}

function certificatesIn(text: string): string[] {
  return blocks(text, "CERTIFICATE");
}

function keysIn(text: string): string[] {
  return blocks(text, "PRIVATE KEY");
}

/** The PEM blocks of a kind, each with a line break at its end; what stands between them is for people. */
function blocks(text: string, kind: string): string[] {
  const block = new RegExp(`-----BEGIN ((?:EC )?${kind})-----[^-]+-----END \\1-----`, "g");
  return [...text.matchAll(block)].map(([found]) => `${found}\n`);
}

function certPath(dataDir: string): string {
  return join(dataDir, "ca.pem");
}

function keyPath(dataDir: string): string {
  return join(dataDir, "ca-key.pem");
}

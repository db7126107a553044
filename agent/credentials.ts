/**
 * How a node proves who it is: a key that is made here and never leaves, and the certificate chain that the control plane
 * gave for it. The key stays the same through renewals, so no crash can leave a certificate without its key; both are
 * durable before they are used, because a join token works only once.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from "node:crypto";
import { join } from "node:path";
import { type Role, roles } from "../identity/scope.ts";
import type { Disk } from "./disk.ts";
import type { Folders } from "./folders.ts";

/** A key and a certificate chain that fit, PEM. */
export interface Credentials {
  readonly keyPem: string;
  /** The node's certificate, then the authority's. */
  readonly chainPem: string;
  readonly life: Life;
  /** The node's role, as the control plane certified it; undefined if it is none that this agent knows. */
  readonly role: Role | undefined;
}

/** When a certificate is good, milliseconds since 1970. */
export interface Life {
  readonly from: number;
  readonly to: number;
}

/**
 * The node's credentials; undefined if it has not enrolled yet, whether they have ended or not.
 * @throws Error if they cannot be used, saying what to do.
 */
export async function loadCredentials(disk: Disk, folders: Folders): Promise<Credentials | undefined> {
  const [key, chain] = [await disk.read(keyPath(folders)), await disk.read(chainPath(folders))];
  if (!chain) return undefined;
  const advice = `remove ${chainPath(folders)} and enrol again with a new join token`;
  if (!key) throw new Error(`${chainPath(folders)} is there without the node's key: ${advice}`);
  try {
    return fit(key.bytes.toString(), chain.bytes.toString());
  } catch (cause) {
    throw new Error(`the node's credentials cannot be used (${String(cause)}): ${advice}`, { cause });
  }
}

/** A certificate request, DER, signed by the node's key, which is made at the first call. */
export async function newRequest(disk: Disk, folders: Folders): Promise<Uint8Array> {
  const held = await disk.read(keyPath(folders));
  if (held) return requestOf(createPrivateKey(held.bytes));
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await replace(disk, folders, keyPath(folders), privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  return requestOf(privateKey);
}

/**
 * Keeps a chain that the control plane gave, and the credentials are the node's from then on.
 * @throws Error if it is not for the node's key: then what was held is kept.
 */
export async function storeChain(disk: Disk, folders: Folders, chainPem: string): Promise<Credentials> {
  const key = await disk.read(keyPath(folders));
  if (!key) throw new Error(`there is no ${keyPath(folders)} that a certificate could be for`);
  const credentials = fit(key.bytes.toString(), chainPem);
  await replace(disk, folders, chainPath(folders), chainPem);
  return credentials;
}

/** When to ask for a fresh certificate: at half its life, up to a tenth of it later, so that a fleet does not ask as one. */
export function halfLife({ from, to }: Life, jitter: number): number {
  return from + (to - from) * (0.5 + jitter / 10);
}

/** @throws Error if either is unreadable, or they are not one pair. */
function fit(keyPem: string, chainPem: string): Credentials {
  const certificate = new X509Certificate(chainPem);
  if (!certificate.publicKey.equals(createPublicKey(createPrivateKey(keyPem)))) {
    throw new Error("the certificate is for another key");
  }
  return {
    keyPem,
    chainPem,
    life: { from: Date.parse(certificate.validFrom), to: Date.parse(certificate.validTo) },
    role: roleIn(certificate.subjectAltName ?? ""),
  };
}

/** Of the one name that a node's certificate has: `URI:spiffe://DOMAIN/cluster/C/role/R/node/N`. */
function roleIn(names: string): Role | undefined {
  const [, found] = /^URI:spiffe:\/\/[^/,"]+\/cluster\/[^/,"]+\/role\/([a-z]+)\/node\/[^/,"]+$/.exec(names) ?? [];
  return roles.find((role) => role === found);
}

async function replace(disk: Disk, folders: Folders, path: string, text: string): Promise<void> {
  await disk.create(`${path}.new`, Buffer.from(text), { mode: 0o600 });
  await disk.rename(`${path}.new`, path);
  await disk.sync(folders.private);
}

function keyPath(folders: Folders): string {
  return join(folders.private, "key.pem");
}

function chainPath(folders: Folders): string {
  return join(folders.private, "cert.pem");
}

/**
 * PKCS#10 (RFC 2986) of the one kind that an agent makes: no subject, no attributes, ECDSA with SHA-256. By hand, since
 * these lines spare every node a certificate library in memory.
 */
function requestOf(key: KeyObject): Uint8Array {
  const version = der(0x02, Buffer.from([0]));
  const nobody = der(0x30);
  const attributes = der(0xa0);
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  const said = der(0x30, version, nobody, publicKey, attributes);
  const ecdsaWithSha256 = der(0x30, Buffer.from("06082a8648ce3d040302", "hex"));
  const signature = der(0x03, Buffer.from([0]), sign("sha256", said, key));
  return der(0x30, said, ecdsaWithSha256, signature);
}

/** A DER value of less than 256 bytes. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length < 128 ? [content.length] : [0x81, content.length];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

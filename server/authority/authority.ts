/**
 * The control plane's own certificate authority: one P-256 key in the data folder, which signs the server's certificate
 * and, for a day at a time, those of nodes. During a rotation there are two, of which one signs and both are trusted (roots.ts);
 * what an operator does to the folder is taken in while the server runs.
 *
 * 1. What a certificate says comes from the caller, never from the request; a node's says who it is and that it is a
 *    client, nothing else.
 * 2. No certificate outlives the authority's. All begin five minutes ago, for clocks that are behind.
 */

import "reflect-metadata";
import { createPrivateKey, X509Certificate as ReadCertificate, randomBytes, type webcrypto } from "node:crypto";
import { isIP } from "node:net";
import { join } from "node:path";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { quote, refuse } from "../../identity/refusal.ts";
import { writeDurably } from "../durable-file.ts";
import { identityIn, type NodeIdentity, type NodeSubject, spiffeId } from "./identity.ts";
import { provenKey } from "./request.ts";
import { fits, openRoots, type Root, type Roots, readIfThere, readRoots } from "./roots.ts";

export type { NodeIdentity, NodeSubject } from "./identity.ts";

export interface ServerCertificate {
  /** PEM. */
  readonly key: string;
  /** PEM. */
  readonly cert: string;
  /** Milliseconds since 1970; {@link Authority.issueServer} makes another one from half its life on. */
  readonly notAfter: number;
}

export interface NodeCertificate {
  /** PEM: the node's certificate, then the authority's. */
  readonly chainPem: string;
  /** Serial number, lower-case hex. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /** What the node is to trust from now on: the authorities' certificates, PEM, and their ids; the signer's is the first. */
  readonly trustPem: string;
  readonly trusted: Trusted;
}

/** Ids of the authorities that are trusted; the first one signs. */
export type Trusted = readonly [string, ...string[]];

export interface Authority {
  /** The authorities' certificates, PEM, the signer's first: what agents and clients trust. */
  readonly caPem: string;
  readonly trusted: Trusted;
  /** The host part of SPIFFE ids. */
  readonly trustDomain: string;
  /** The server's certificate for DNS names and IP addresses; the one on disk while it fits. @throws Refusal `invalid`. */
  issueServer(names: readonly string[]): Promise<ServerCertificate>;
  /** A node's certificate, a day long if nothing else is said. @throws Refusal `invalid`: the request, or the subject. */
  issueNode(subject: NodeSubject, requestDer: Uint8Array, lifetimeMs?: number): Promise<NodeCertificate>;
  /** Takes in what the folder says now. @throws Error: its authorities cannot be used, and those before stay. */
  reload(): Promise<void>;
  /** Who a peer's certificate says it is; undefined if it is not a node's. TLS has checked the chain and the dates. */
  identityOf(certificateDer: Uint8Array): NodeIdentity | undefined;
}

export interface AuthorityOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The host part of SPIFFE ids. The authority is ours alone, so the default need not be unique in the world. */
  readonly trustDomain?: string;
}

const day = 24 * 3_600_000;
const skew = 5 * 60_000;
const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** Opens the authority of a data folder, and makes it at the first start. */
export async function openAuthority(
  dataDir: string,
  { now, trustDomain = "rollcall" }: AuthorityOptions,
): Promise<Authority> {
  if (!/^[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?$/.test(trustDomain)) {
    refuse("invalid", `the trust domain ${quote(trustDomain)} is not a lower-case DNS name`);
  }
  let held = await load(await openRoots(dataDir, () => newRoot(now)));
  const sign = ({ root, signingKey }: Signer, wanted: Wanted) => issue({ root, signingKey, now }, wanted);
  return {
    get caPem() {
      return held.trustPem;
    },
    get trusted() {
      return held.trusted;
    },
    trustDomain,
    issueServer: (names) => issueServer(dataDir, held.signer.pem, names, now, (wanted) => sign(held, wanted)),
    async issueNode(subject, requestDer, lifetimeMs = day) {
      // One state for all that is said: the folder may change meanwhile.
      const as = held;
      const { signer, trustPem, trusted } = as;
      const uri = spiffeId(trustDomain, subject);
      const publicKey = await provenKey(requestDer);
      const certificate = await sign(as, {
        publicKey,
        lifetimeMs,
        extensions: [
          new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
          new SubjectAlternativeNameExtension([{ type: "url", value: uri }], true),
        ],
      });
      // The same strict reader judges what was written: a subject that would not come back is never signed away.
      const identity = identityIn(trustDomain, new Uint8Array(certificate.rawData));
      if (!identity) refuse("invalid", `${quote(uri)} does not name a node`);
      const { serial, notAfter } = identity;
      return { chainPem: `${certificate.toString("pem")}\n${signer.pem}`, serial, notAfter, trustPem, trusted };
    },
    async reload() {
      const found = await readRoots(dataDir);
      if (found.signer.pem + (found.other?.pem ?? "") !== held.trustPem) held = await load(found);
    },
    identityOf: (der) => identityIn(trustDomain, der),
  };
}

interface Signer {
  readonly signer: Root;
  readonly root: X509Certificate;
  readonly signingKey: webcrypto.CryptoKey;
  readonly trustPem: string;
  readonly trusted: Trusted;
}

async function load({ signer, keyPem, other }: Roots): Promise<Signer> {
  return {
    signer,
    root: new X509Certificate(signer.pem),
    signingKey: await importKey(keyPem),
    trustPem: signer.pem + (other?.pem ?? ""),
    trusted: [signer.id, ...(other ? [other.id] : [])],
  };
}

/** A new authority: its certificate and its key, PEM. */
export async function newRoot(now: () => number): Promise<{ pem: string; keyPem: string }> {
  const keys = await crypto.subtle.generateKey(ecdsa, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    // Named apart, so that a client that trusts two authorities finds the right one.
    name: `CN=Rollcall CA ${randomBytes(4).toString("hex")}`,
    notBefore: new Date(now() - skew),
    notAfter: new Date(now() + 3652 * day),
    keys,
    signingAlgorithm: ecdsa,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { pem: `${certificate.toString("pem")}\n`, keyPem: await keyPem(keys.privateKey) };
}

/** What a certificate shall say, beside what every one does. */
interface Wanted {
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly lifetimeMs: number;
  readonly extensions: readonly Extension[];
}

async function issue(
  { root, signingKey, now }: { root: X509Certificate; signingKey: webcrypto.CryptoKey; now: () => number },
  { publicKey, lifetimeMs, extensions }: Wanted,
): Promise<X509Certificate> {
  const ends = Math.min(now() + lifetimeMs, root.notAfter.getTime());
  return X509CertificateGenerator.create({
    serialNumber: newSerial(),
    issuer: root.subjectName.toJSON(),
    notBefore: new Date(now() - skew),
    notAfter: new Date(ends),
    publicKey,
    signingKey,
    signingAlgorithm: ecdsa,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      await AuthorityKeyIdentifierExtension.create(root.publicKey),
      ...extensions,
    ],
  });
}

async function issueServer(
  dataDir: string,
  caPem: string,
  names: readonly string[],
  now: () => number,
  sign: (wanted: Wanted) => Promise<X509Certificate>,
): Promise<ServerCertificate> {
  const wanted = [...new Set(names.map(parseHost))].sort();
  const certPath = join(dataDir, "server.pem");
  const keyPath = join(dataDir, "server-key.pem");
  const held = { cert: await readIfThere(certPath), key: await readIfThere(keyPath) };
  if (held.cert !== undefined && held.key !== undefined) {
    const { cert, key } = held;
    if (serves(cert, key, caPem, wanted, now())) return { cert, key, notAfter: Date.parse(read(cert).validTo) };
  }
  const keys = await crypto.subtle.generateKey(ecdsa, true, ["sign", "verify"]);
  const certificate = await sign({
    publicKey: new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey)),
    lifetimeMs: 90 * day,
    extensions: [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        wanted.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value })),
        true,
      ),
    ],
  });
  const key = await keyPem(keys.privateKey);
  const cert = `${certificate.toString("pem")}\n`;
  // A crash between the two leaves a key that does not fit the certificate: both are made again.
  await writeDurably(keyPath, key, 0o600);
  await writeDurably(certPath, cert, 0o644);
  return { key, cert, notAfter: certificate.notAfter.getTime() };
}

/** Whether the server's certificate on disk is still the one to serve. */
function serves(cert: string, key: string, caPem: string, names: readonly string[], now: number): boolean {
  if (!fits(cert, key)) return false;
  const certificate = read(cert);
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  const held = new X509Certificate(cert).getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  return (
    certificate.verify(read(caPem).publicKey) &&
    now >= from &&
    now < (from + to) / 2 &&
    held
      .map(({ value }) => value)
      .sort()
      .join() === names.join()
  );
}

function parseHost(name: string): string {
  const isName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/i.test(name);
  if (isIP(name) === 4 || (isName && isIP(name) === 0)) return name.toLowerCase();
  // An address has many spellings; URL knows the canonical one, in which a certificate gives it back.
  if (isIP(name) === 6) return new URL(`http://[${name}]`).hostname.slice(1, -1);
  return refuse("invalid", `${quote(name)} is neither a DNS name nor an IP address`);
}

/** 128 random bits behind a one, so that every serial has the same length and one spelling. */
function newSerial(): string {
  return `01${randomBytes(16).toString("hex")}`;
}

function read(pem: string): ReadCertificate {
  return new ReadCertificate(pem);
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const pkcs8 = createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
  return crypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), ecdsa, false, ["sign"]);
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", key));
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" })
    .export({ type: "pkcs8", format: "pem" })
    .toString();
}

/**
 * Certificate requests of nodes. From one, only the public key is taken, and only once its owner has signed the request
 * with it: subject and extensions are whatever a stranger likes. The key is encoded anew, so no oddity of the request's
 * encoding gets into a certificate.
 */

import "reflect-metadata";
import { createPublicKey, type KeyObject } from "node:crypto";
import { Pkcs10CertificateRequest } from "@peculiar/x509";
import { Refusal, refuse } from "../../identity/refusal.ts";

/** A request with an RSA key of 8192 bits has 3 kB; what is longer was not made by an agent. */
const longest = 8192;

const curves = new Set(["prime256v1", "secp384r1"]);
const allowed = "allowed are ECDSA P-256 and P-384, Ed25519, and RSA of 3072 to 8192 bits";

/**
 * The public key of a PKCS#10 request, DER, in SPKI form.
 * @throws Refusal `invalid`: not a request, a kind of key that is not allowed, or not signed by its own key.
 */
export async function provenKey(der: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  if (der.length > longest)
    refuse("invalid", `the certificate request has ${der.length} bytes; ${longest} are allowed`);
  const request = parseRequest(der);
  const key = parseKey(request);
  checkKey(key);
  if (!(await isSigned(request))) refuse("invalid", "the certificate request is not signed by its own key");
  return new Uint8Array(key.export({ type: "spki", format: "der" }));
}

function parseRequest(der: Uint8Array): Pkcs10CertificateRequest {
  if (encodedLength(der) !== der.length) refuse("invalid", "the certificate request is not one whole DER sequence");
  try {
    return new Pkcs10CertificateRequest(new Uint8Array(der));
  } catch (cause) {
    throw new Refusal("invalid", "the certificate request is not PKCS#10 in DER", { cause });
  }
}

/** How many bytes a DER sequence of 128 to 65,535 bytes says it has, as any request does; the parser ignores what follows. */
function encodedLength([tag = 0, form = 0, first = 0, second = 0]: Uint8Array): number | undefined {
  if (tag !== 0x30) return undefined;
  return form === 0x81 ? 3 + first : form === 0x82 ? 4 + first * 256 + second : undefined;
}

function parseKey(request: Pkcs10CertificateRequest): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" });
  } catch (cause) {
    throw new Refusal("invalid", `the certificate request's key cannot be read; ${allowed}`, { cause });
  }
}

function checkKey({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): void {
  const { namedCurve, modulusLength = 0, publicExponent = 0n } = details;
  switch (type) {
    case "ed25519":
      return;
    case "ec":
      // A curve given by its parameters has no name: it could be one on which anybody knows the key.
      if (namedCurve !== undefined && curves.has(namedCurve)) return;
      break;
    case "rsa":
      if (modulusLength >= 3072 && modulusLength <= 8192 && publicExponent >= 65_537n && publicExponent < 2n ** 64n)
        return;
      break;
    default:
  }
  refuse("invalid", `the certificate request's key is refused; ${allowed}`);
}

async function isSigned(request: Pkcs10CertificateRequest): Promise<boolean> {
  const { name, hash } = request.signatureAlgorithm as { name?: string; hash?: { name?: string } };
  if (name !== "Ed25519" && !/^SHA-(256|384|512)$/.test(hash?.name ?? "")) return false;
  try {
    return await request.verify();
  } catch {
    return false;
  }
}

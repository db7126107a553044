/**
 * The digest of a copy: the sum, modulo 2^256, of the SHA-256 of each resource's canonical line. Order-independent, and
 * one change costs one hash, whatever the size of the copy. It proves that two honest ends hold the same; it is no
 * signature (sums of hashes can be forged by whoever chooses the records): the channel's mutual TLS is.
 */

import { hash } from "node:crypto";
import { quote, refuse } from "./refusal.ts";
import { print, type Resource } from "./resource.ts";

/** 64 lower-case hex digits. */
export type Digest = string & { readonly __digest: unique symbol };

/** What a copy that holds nothing has. */
export const nothing = "0".repeat(64) as Digest;

const modulus = 2n ** 256n;

/** @throws Refusal `invalid`. */
export function parseDigest(value: string): Digest {
  if (!/^[0-9a-f]{64}$/.test(value)) refuse("invalid", `${quote(value)} is not a digest of 64 hex digits`);
  return value as Digest;
}

/** The digest after some resources came and some went. */
export function shift(from: Digest, came: Iterable<Resource>, went: Iterable<Resource>): Digest {
  let sum = BigInt(`0x${from}`);
  for (const resource of came) sum += term(resource);
  for (const resource of went) sum -= term(resource);
  const wrapped = ((sum % modulus) + modulus) % modulus;
  return wrapped.toString(16).padStart(64, "0") as Digest;
}

function term(resource: Resource): bigint {
  return BigInt(`0x${hash("sha256", print(resource))}`);
}

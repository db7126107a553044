/**
 * Public SSH keys, parsed to their blob and rendered anew, so that nothing a stranger typed reaches a file that sshd
 * reads. No options, certificates or private keys; exact wire lengths (RFC 4253 section 6.6, RFC 5656, RFC 8709,
 * OpenSSH PROTOCOL.u2f); canonical base64. Refuse, never repair; only the comment is cleaned.
 */

import { createHash, createPublicKey } from "node:crypto";
import { quote, refuse } from "./refusal.ts";

export interface SshKey {
  readonly type: string;
  /** The blob in canonical base64, as in authorized_keys. */
  readonly base64: string;
  /** Printable ASCII, at most 128 characters, without a leading or trailing space. */
  readonly comment: string;
  /** SHA-256 of the blob, lower-case hex; the key's identity. */
  readonly sha256: string;
}

const types: Record<string, (wire: Wire) => void> = {
  "ssh-ed25519": (wire) => ed25519(wire),
  "ssh-rsa": (wire) => rsa(wire),
  "ecdsa-sha2-nistp256": (wire) => ecdsa(wire, "nistp256"),
  "ecdsa-sha2-nistp384": (wire) => ecdsa(wire, "nistp384"),
  "ecdsa-sha2-nistp521": (wire) => ecdsa(wire, "nistp521"),
  "sk-ssh-ed25519@openssh.com": (wire) => {
    ed25519(wire);
    application(wire);
  },
  "sk-ecdsa-sha2-nistp256@openssh.com": (wire) => {
    ecdsa(wire, "nistp256");
    application(wire);
  },
};

/**
 * Parses one line of a public key file: `type base64 [comment]`.
 * @throws Refusal `invalid`, saying what is wrong and what to paste instead; the message never repeats key material.
 */
export function parseSshKey(text: string): SshKey {
  if (text.length > 32_768) refuse("invalid", "the SSH key is longer than 32 kB; paste one public key");
  if (/PRIVATE KEY|PuTTY-User-Key-File/.test(text)) {
    refuse("invalid", "this is a private key: it is now burnt. Make a new pair, and paste the .pub file");
  }
  const line = soleLine(text);
  if (/\p{Cc}/u.test(line.replaceAll("\t", " "))) {
    refuse("invalid", "the SSH key holds control characters");
  }
  const [type = "", base64 = "", ...words] = line.split(/[ \t]+/);
  const check = Object.hasOwn(types, type) ? types[type] : undefined;
  if (!check) refuse("invalid", whyNotAType(type));
  const blob = Buffer.from(base64, "base64");
  if (blob.length === 0 || blob.toString("base64") !== base64) refuse("invalid", "the SSH key is not canonical base64");
  const wire = new Wire(blob);
  if (wire.text() !== type) refuse("invalid", `the SSH key says ${quote(type)}, its content says otherwise`);
  check(wire);
  wire.end();
  return {
    type,
    base64,
    comment: cleanComment(words.join(" ")),
    sha256: createHash("sha256").update(blob).digest("hex"),
  };
}

/** One line of an authorized_keys file, rendered anew, without a line break. */
export function printSshKey({ type, base64, comment }: SshKey): string {
  return comment === "" ? `${type} ${base64}` : `${type} ${base64} ${comment}`;
}

/** `SHA256:...`, as `ssh-keygen -l` prints it. */
export function fingerprint({ sha256 }: Pick<SshKey, "sha256">): string {
  return `SHA256:${Buffer.from(sha256, "hex").toString("base64").replace(/=+$/, "")}`;
}

function soleLine(text: string): string {
  const lines = text
    .split(/\r\n|\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("# "));
  if (lines.length > 1) refuse("invalid", "paste one SSH key at a time, on one line");
  return lines[0] ?? refuse("invalid", "the SSH key is empty");
}

function cleanComment(comment: string): string {
  return comment
    .replace(/[^\x20-\x7e]/g, "?")
    .replace(/ +/g, " ")
    .slice(0, 128)
    .trim();
}

function whyNotAType(word: string): string {
  if (word.includes("-cert-")) return "this is an SSH certificate; paste the plain public key";
  if (word === "ssh-dss") return "DSA keys are no longer safe; make an ed25519 key";
  if (/[="]|^(restrict|cert-authority|no-|agent-forwarding|pty|user-rc|x11-forwarding|port-forwarding)/i.test(word)) {
    return "options before an SSH key are not allowed; paste the key alone";
  }
  return `${quote(word)} is not a key type; allowed are ${Object.keys(types).join(", ")}`;
}

/** Reads the length-prefixed strings of RFC 4251 section 5. */
class Wire {
  readonly #blob: Buffer;
  #at = 0;

  constructor(blob: Buffer) {
    this.#blob = blob;
  }

  bytes(): Buffer {
    const start = this.#at + 4;
    const length = start <= this.#blob.length ? this.#blob.readUInt32BE(this.#at) : Number.POSITIVE_INFINITY;
    if (start + length > this.#blob.length) refuse("invalid", "the SSH key is cut short");
    this.#at = start + length;
    return this.#blob.subarray(start, this.#at);
  }

  text(): string {
    return this.bytes().toString("latin1");
  }

  /** A positive mpint in its one canonical form. */
  mpint(): bigint {
    const bytes = this.bytes();
    const [first = 0, second = 0] = bytes;
    if (bytes.length === 0 || first >= 128 || (first === 0 && second < 128)) {
      refuse("invalid", "the SSH key holds a number that is not in canonical form");
    }
    return BigInt(`0x${bytes.toString("hex")}`);
  }

  end(): void {
    if (this.#at !== this.#blob.length) refuse("invalid", "the SSH key has bytes behind its end");
  }
}

const prime25519 = 2n ** 255n - 19n;

// y-coordinates of the points of small order (orders 1, 2, 4 and 8): a key on one of them accepts forged signatures.
const smallOrder = new Set([
  0n,
  1n,
  prime25519 - 1n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n,
]);

function ed25519(wire: Wire): void {
  const point = wire.bytes();
  if (point.length !== 32) refuse("invalid", "an ed25519 key has 32 bytes");
  const y = BigInt(`0x${Buffer.from(point).reverse().toString("hex")}`) & (2n ** 255n - 1n);
  if (y >= prime25519 || smallOrder.has(y)) refuse("invalid", "the ed25519 key is a point of small order");
}

function rsa(wire: Wire): void {
  const exponent = wire.mpint();
  const modulus = wire.mpint();
  const bits = modulus.toString(2).length;
  if (exponent < 65_537n || exponent % 2n === 0n || exponent >= 2n ** 64n) {
    refuse("invalid", "the RSA key's exponent must be odd and at least 65537");
  }
  if (modulus % 2n === 0n) refuse("invalid", "the RSA key's modulus is even");
  if (bits < 3072 || bits > 16_384) refuse("invalid", `the RSA key has ${bits} bits; 3072 to 16384 are allowed`);
}

function ecdsa(wire: Wire, curve: "nistp256" | "nistp384" | "nistp521"): void {
  const { size, crv } = {
    nistp256: { size: 32, crv: "P-256" },
    nistp384: { size: 48, crv: "P-384" },
    nistp521: { size: 66, crv: "P-521" },
  }[curve];
  if (wire.text() !== curve) refuse("invalid", "the ECDSA key names two curves");
  const point = wire.bytes();
  if (point.length !== 1 + 2 * size || point[0] !== 4) refuse("invalid", "the ECDSA point is not in uncompressed form");
  const x = point.subarray(1, 1 + size).toString("base64url");
  const y = point.subarray(1 + size).toString("base64url");
  try {
    createPublicKey({ format: "jwk", key: { kty: "EC", crv, x, y } });
  } catch {
    refuse("invalid", `the ECDSA point is not on ${curve}`);
  }
}

/** The FIDO application string of sk-* keys, `ssh:` by default. */
function application(wire: Wire): void {
  if (!/^ssh:[\x21-\x7e]{0,60}$/.test(wire.text()))
    refuse("invalid", "the security key's application must start with ssh:");
}

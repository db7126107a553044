import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hostileInputs } from "../test/hostile.ts";
import { fingerprint, parseSshKey, printSshKey } from "./ssh-key.ts";
import { ed25519Line } from "./testing.ts";

const refused = hostileInputs("sshKey", "reject", "convert-or-reject", "reject-or-strip");
const taken = hostileInputs("sshKey", "accept", "sanitise");

describe("hostile SSH keys", () => {
  test.each(refused)("refused: %s", (_, value) => {
    expect(() => parseSshKey(String(value))).toThrow();
  });

  test.each(taken)("taken: %s", (_, value) => {
    const key = parseSshKey(String(value));
    expect(printSshKey(key)).toMatch(/^ssh-ed25519 [A-Za-z0-9+/=]+( [\x21-\x7e][\x20-\x7e]{0,127})?$/);
    expect(parseSshKey(printSshKey(key))).toEqual(key);
  });

  test("no refusal repeats a private key", () => {
    const pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----";
    expect(() => parseSshKey(pem)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("c2VjcmV0") }),
    );
  });

  test("small RSA, points off the curve and bytes behind the end are refused", () => {
    expect(() => parseSshKey(rsaLine(2048))).toThrow(/2048 bits/);
    const [type, blob = ""] = ecdsaLine().split(" ");
    const bytes = Buffer.from(blob, "base64");
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    expect(() => parseSshKey(`${type} ${bytes.toString("base64")}`)).toThrow(/not on nistp256/);
    const long = Buffer.concat([Buffer.from(blob, "base64"), Buffer.alloc(3)]).toString("base64");
    expect(() => parseSshKey(`${type} ${long}`)).toThrow(/behind its end/);
  });
});

describe("ssh-keygen agrees", () => {
  test.each([
    ["ed25519", ed25519Line("oracle", "ada@laptop")],
    ["rsa 3072", rsaLine(3072)],
    ["rsa 4096", rsaLine(4096)],
    ["ecdsa 256", ecdsaLine("P-256")],
    ["ecdsa 384", ecdsaLine("P-384")],
    ["ecdsa 521", ecdsaLine("P-521")],
    ["sk-ed25519", skEd25519Line()],
    ["sk-ecdsa", skEcdsaLine()],
  ])("%s: same fingerprint", (_, line) => {
    const folder = mkdtempSync(join(tmpdir(), "rollcall-key-"));
    try {
      execFileSync("sh", ["-c", "cat > key.pub", "sh"], { cwd: folder, input: `${line}\n` });
      const said = execFileSync("ssh-keygen", ["-l", "-f", "key.pub"], { cwd: folder, encoding: "utf8" });
      expect(said).toContain(fingerprint(parseSshKey(readFileSync(join(folder, "key.pub"), "utf8"))));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function wire(...fields: Buffer[]): string {
  return Buffer.concat(
    fields.flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, field];
    }),
  ).toString("base64");
}

function rsaLine(bits: number): string {
  const { n = "", e = "" } = generateKeyPairSync("rsa", { modulusLength: bits }).publicKey.export({ format: "jwk" });
  const mpint = (text: string): Buffer => Buffer.concat([Buffer.alloc(1), Buffer.from(text, "base64url")]);
  return `ssh-rsa ${wire(Buffer.from("ssh-rsa"), Buffer.from(e, "base64url"), mpint(n))}`;
}

function ecdsaLine(curve: "P-256" | "P-384" | "P-521" = "P-256"): string {
  const nist = curve.replace("P-", "nistp");
  const type = `ecdsa-sha2-${nist}`;
  return `${type} ${wire(Buffer.from(type), Buffer.from(nist), point(curve))}`;
}

// Keys of a security token have one more field: the application that they sign for (PROTOCOL.u2f of OpenSSH).
function skEd25519Line(): string {
  const type = "sk-ssh-ed25519@openssh.com";
  const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  return `${type} ${wire(Buffer.from(type), Buffer.from(x, "base64url"), Buffer.from("ssh:"))}`;
}

function skEcdsaLine(): string {
  const type = "sk-ecdsa-sha2-nistp256@openssh.com";
  return `${type} ${wire(Buffer.from(type), Buffer.from("nistp256"), point("P-256"), Buffer.from("ssh:"))}`;
}

function point(curve: string): Buffer {
  const { x = "", y = "" } = generateKeyPairSync("ec", { namedCurve: curve }).publicKey.export({ format: "jwk" });
  return Buffer.concat([Buffer.from([4]), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
}

/**
 * Who a node is, as its certificate says it: `spiffe://<domain>/cluster/<c>/role/<r>/node/<n>`, the only subject alternative
 * name of the certificate. Read strictly: whatever is not exactly that shape is nobody.
 */

import "reflect-metadata";
import { SubjectAlternativeNameExtension, X509Certificate } from "@peculiar/x509";
import { type Role, roles } from "../../identity/scope.ts";

/** What a node is to the control plane. */
export interface NodeSubject {
  readonly cluster: string;
  readonly role: Role;
  readonly node: string;
}

/** A subject, and the certificate that proves it. */
export interface NodeIdentity extends NodeSubject {
  /** Serial number of the certificate: lower-case hex, as {@link Issued} gave it. */
  readonly serial: string;
  /** When the certificate ends, milliseconds since 1970. */
  readonly notAfter: number;
}

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const path = new RegExp(`^/cluster/(${label})/role/(${roles.join("|")})/node/(${label})$`);
const subjectAlternativeName = "2.5.29.17";

export function spiffeId(domain: string, { cluster, role, node }: NodeSubject): string {
  return `spiffe://${domain}/cluster/${cluster}/role/${role}/node/${node}`;
}

export function parseSpiffeId(domain: string, uri: string): NodeSubject | undefined {
  const prefix = `spiffe://${domain}`;
  const [, cluster, role, node] = (uri.startsWith(prefix) && path.exec(uri.slice(prefix.length))) || [];
  if (cluster === undefined || role === undefined || node === undefined) return undefined;
  return { cluster, role: role as Role, node };
}

/** Reads a peer's certificate, DER. That our authority signed it and that it has not ended, TLS has checked. */
export function identityIn(domain: string, der: Uint8Array): NodeIdentity | undefined {
  try {
    const certificate = new X509Certificate(new Uint8Array(der));
    const names = certificate.extensions
      .filter(({ type }) => type === subjectAlternativeName)
      .flatMap(({ rawData }) => new SubjectAlternativeNameExtension(rawData).names.items);
    const [name] = names;
    if (names.length !== 1 || name?.type !== "url") return undefined;
    const subject = parseSpiffeId(domain, name.value);
    return subject && { ...subject, serial: certificate.serialNumber, notAfter: certificate.notAfter.getTime() };
  } catch {
    // Bytes that are no certificate are nobody's.
    return undefined;
  }
}

/**
 * Who a node is, as its certificate says it: `spiffe://<domain>/cluster/<c>/role/<r>/node/<n>`, the only subject alternative
 * name of the certificate. Read strictly: whatever is not exactly that shape is nobody.
 */

import { X509Certificate } from "node:crypto";
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
    return identityOf(domain, new X509Certificate(der));
  } catch {
    // Bytes that are no certificate are nobody's.
    return undefined;
  }
}

/** As {@link identityIn}. OpenSSL prints names as `TYPE:value, TYPE:value`; no label can hold what stands between two. */
export function identityOf(domain: string, certificate: X509Certificate): NodeIdentity | undefined {
  const [, uri] = /^URI:([^,"]+)$/.exec(certificate.subjectAltName ?? "") ?? [];
  const subject = uri === undefined ? undefined : parseSpiffeId(domain, uri);
  const serial = certificate.serialNumber.toLowerCase();
  return subject && { ...subject, serial, notAfter: certificate.validToDate.getTime() };
}

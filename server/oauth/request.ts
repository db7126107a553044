/** What a token request says: its form, and the client's credentials, in the header or in the form, but not in both. */

import { OauthError } from "./error.ts";

export interface Credentials {
  readonly id: string;
  readonly secret: string;
  /** Whether they came by the Basic scheme, which a refusal must then name. */
  readonly challenge: boolean;
}

/** The parameters of a form. One without a value counts as left out (RFC 6749, section 3.2). @throws OauthError */
export function parseForm(body: Uint8Array): ReadonlyMap<string, string> {
  const seen = new Set<string>();
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(decodeUtf8(body))) {
    if (seen.has(name)) OauthError.refuse("invalid_request", "a parameter is given more than once");
    seen.add(name);
    if (value !== "") form.set(name, value);
  }
  return form;
}

/** @throws OauthError `invalid_client`: there are none, or not well-formed; `invalid_request`: there are two. */
export function readCredentials(header: string | undefined, form: ReadonlyMap<string, string>): Credentials {
  const [id, secret] = [form.get("client_id"), form.get("client_secret")];
  if (header === undefined) {
    if (id === undefined || secret === undefined) {
      OauthError.refuse("invalid_client", "client_id and client_secret are needed, in a Basic header or in the body");
    }
    return { id, secret, challenge: false };
  }
  if (secret !== undefined) OauthError.refuse("invalid_request", "the client's credentials are given in two ways");
  const basic = parseBasic(header);
  if (!basic) throw new OauthError("invalid_client", "the Authorization header is not of the Basic scheme", true);
  if (id !== undefined && id !== basic.id) OauthError.refuse("invalid_request", "two different client ids are given");
  return { ...basic, challenge: true };
}

/** Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1). */
function parseBasic(header: string): { id: string; secret: string } | undefined {
  const [, base64] = /^basic +([A-Za-z0-9+/]{1,2048}={0,2}) *$/i.exec(header) ?? [];
  if (base64 === undefined) return undefined;
  const [, id, secret] = /^([^:]+):(.+)$/s.exec(Buffer.from(base64, "base64").toString()) ?? [];
  return id === undefined || secret === undefined ? undefined : { id: decodePart(id), secret: decodePart(secret) };
}

function decodePart(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    // Some clients do not encode; what is no encoding stands for itself.
    return text;
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return OauthError.refuse("invalid_request", "the body is not UTF-8");
  }
}

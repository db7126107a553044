/**
 * LDIF content records (RFC 2849) of posixAccount and posixGroup (RFC 2307), with ldapPublicKey's sshPublicKey. Records of
 * other classes are passed over, and so is every attribute that is not asked for: a photograph, or the hash of a password.
 */

import { type Account, decimal, type Estate, mostEntries, type Problem, type Team } from "./estate.ts";

/** The attributes that are read; of the others not even the form is looked at. */
const asked = new Set([
  "version",
  "changetype",
  "objectclass",
  "uid",
  "cn",
  "uidnumber",
  "gidnumber",
  "gecos",
  "homedirectory",
  "loginshell",
  "mail",
  "sshpublickey",
  "memberuid",
]);

interface LdifRecord {
  readonly line: number;
  readonly values: ReadonlyMap<string, readonly string[]>;
}

export function parseLdif(file: string, text: string): Estate {
  const accounts: Account[] = [];
  const teams: Team[] = [];
  const problems: Problem[] = [];
  const wrong = (line: number, field: string, value: string, rule: string): void => {
    problems.push({ file, line, field, value, rule });
  };
  for (const { line, values } of records(text, wrong)) {
    const classes = new Set((values.get("objectclass") ?? []).map((each) => each.toLowerCase()));
    const one = (attribute: string): string => values.get(attribute)?.[0] ?? "";
    const number = (attribute: string): number => {
      const value = decimal(one(attribute));
      if (Number.isNaN(value)) wrong(line, attribute, one(attribute), "missing, or not a decimal number");
      return value;
    };
    if (values.has("changetype")) {
      wrong(line, "changetype", one("changetype"), "a record of changes: export the contents instead");
    } else if (classes.has("posixaccount")) {
      const [uid, gid] = [number("uidnumber"), number("gidnumber")];
      if (Number.isNaN(uid) || Number.isNaN(gid)) continue;
      accounts.push({
        file,
        line,
        name: one("uid"),
        uid,
        gid,
        gecos: one("gecos") || one("cn"),
        home: one("homedirectory"),
        shell: one("loginshell"),
        mails: values.get("mail") ?? [],
        keys: values.get("sshpublickey") ?? [],
      });
    } else if (classes.has("posixgroup")) {
      const gid = number("gidnumber");
      if (!Number.isNaN(gid)) teams.push({ file, line, name: one("cn"), gid, members: values.get("memberuid") ?? [] });
    }
    if (accounts.length + teams.length > mostEntries) {
      wrong(line, "file", file, `more than ${mostEntries} entries: split the file`);
      return { accounts: [], teams: [], problems };
    }
  }
  return { accounts, teams, problems };
}

type Wrong = (line: number, field: string, value: string, rule: string) => void;

function* records(text: string, wrong: Wrong): Generator<LdifRecord> {
  let values = new Map<string, string[]>();
  let first = 0;
  for (const [line, entry] of unfolded(text)) {
    if (entry === "") {
      if (values.size > 0) yield { line: first, values };
      values = new Map();
      continue;
    }
    const colon = entry.indexOf(":");
    const name = /^(?:[A-Za-z][A-Za-z0-9-]*|[0-9.]+)(?=$|;[A-Za-z0-9;-]+$)/.exec(
      entry.slice(0, Math.max(0, colon)),
    )?.[0];
    if (name === undefined) {
      // The line may be a piece of anything, also of a password's hash.
      wrong(line, "line", "", "not of the form attribute: value, attribute:: base64");
      continue;
    }
    const attribute = name.toLowerCase();
    if (values.size === 0) {
      if (attribute === "version") continue;
      first = line;
    }
    if (!asked.has(attribute)) {
      values.set(attribute, []);
      continue;
    }
    const value = valueOf(entry.slice(colon + 1));
    if (value === undefined) wrong(line, attribute, "", "neither plain text nor base64 of UTF-8 text");
    else if (values.has(attribute)) values.get(attribute)?.push(value);
    else values.set(attribute, [value]);
  }
  if (values.size > 0) yield { line: first, values };
}

/** What comes after an attribute's colon. A value in a file of its own (`:<`) is none here. */
function valueOf(text: string): string | undefined {
  if (text.startsWith("<")) return undefined;
  if (!text.startsWith(":")) return text.replace(/^ */, "");
  const encoded = text.slice(1).replace(/^ */, "");
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.toString("base64").replace(/=+$/, "") !== encoded.replace(/=+$/, "")) return undefined;
  const value = bytes.toString("utf8");
  return Buffer.from(value).equals(bytes) ? value : undefined;
}

/** Logical lines: a line that begins with a space goes on the one before it; comments are gone; "" ends a record. */
function* unfolded(text: string): Generator<readonly [line: number, text: string]> {
  let [start, held]: [number, string | undefined] = [0, undefined];
  let line = 0;
  for (const raw of `${text}\n`.split("\n")) {
    line += 1;
    const plain = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (plain.startsWith(" ") && held !== undefined) {
      held += plain.slice(1);
      continue;
    }
    if (held !== undefined && !held.startsWith("#")) yield [start, held];
    [start, held] = [line, plain];
  }
  if (held !== undefined && !held.startsWith("#")) yield [start, held];
}

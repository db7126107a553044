/**
 * The small language in which an org says how POSIX names and home directories are made: literal text, and places to be
 * filled in. `{name.givenName:1}{name.familyName}` makes `alovelace`; `/home/{org}/{name}` makes `/home/physics/ada`.
 *
 * A template is judged when it is set, not when somebody is created: of homes, whatever is filled in, the path must be one
 * that nodes can hold and that no two people share. Of names that cannot be promised; what does not fit is refused, by name.
 */

import type { Uid } from "./id.ts";
import { derive, longestName, type Name, parseName, type Spaces } from "./name.ts";
import { quote, refuse } from "./refusal.ts";
import { parseHome } from "./resource.ts";

/** What can be filled in where a person's name is made. */
export const userPlaces = [
  "userName",
  "name.givenName",
  "name.familyName",
  "displayName",
  "nickName",
  "externalId",
  "employeeNumber",
  "email",
] as const;

/** What can be filled in where a group's name is made. */
export const groupPlaces = ["displayName", "externalId"] as const;

export type NamePlace = (typeof userPlaces)[number];

/** What is known of a person or a group; absent: not stated. */
export type Stated = Readonly<Partial<Record<NamePlace, string | undefined>>>;

/** What home directories are made of. */
export interface HomePlaces {
  readonly name: Name;
  readonly uid: Uid;
  readonly org: string;
  readonly cluster: string;
}

type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "place"; readonly place: string; readonly first: number | undefined };

/**
 * A rule for POSIX names, as it was given.
 * @throws Refusal `invalid`, naming the field and what does not fit.
 */
export function parseNameTemplate(field: string, template: string, places: readonly NamePlace[]): string {
  const pieces = parse(field, template, places);
  const wrong = pieces.find((piece) => piece.kind === "text" && !/^[a-z0-9_-]*$/.test(piece.text));
  if (wrong) refuse("invalid", `${field} ${quote(template)}: between places there may only be [a-z0-9_-]`);
  if (pieces.every(({ kind }) => kind === "text")) {
    refuse("invalid", `${field} ${quote(template)} names everybody alike: it needs a place, such as {${places[0]}}`);
  }
  const cut = pieces.find((piece) => piece.kind === "place" && (piece.first ?? 1) > longestName);
  if (cut) refuse("invalid", `${field} ${quote(template)}: no more than ${longestName} characters can be taken`);
  return template;
}

/**
 * The POSIX name that a rule makes of what is stated; others may have it already.
 * @throws Refusal `invalid`: something is missing or cannot be part of a name, or the name is reserved.
 */
export function nameFrom(template: string, spaces: Spaces, stated: Stated): Name {
  const parts = parse("the name rule", template, userPlaces).map((piece) => {
    if (piece.kind === "text") return piece.text;
    const place = piece.place as NamePlace;
    const value = stated[place];
    if (value === undefined || value === "") {
      refuse("invalid", `${place} is missing: the org's rule for POSIX names is ${quote(template)}`);
    }
    const local = place === "userName" || place === "email" ? (value.split("@", 1)[0] ?? "") : value;
    return derive(place, local, spaces).slice(0, piece.first);
  });
  return parseName(parts.join(""));
}

/**
 * A template for home directories, as it was given.
 * @throws Refusal `invalid`, naming the field and what does not fit.
 */
export function parseHomeTemplate(field: string, template: string): string {
  const pieces = parse(field, template, ["name", "uid", "org", "cluster"]);
  if (pieces.some((piece) => piece.kind === "place" && piece.first !== undefined)) {
    refuse("invalid", `${field} ${quote(template)}: what is filled in cannot be cut`);
  }
  const segments = template.split("/").slice(1);
  // Whoever could choose where the path begins could choose /root, or /var/run.
  const fixed = segments[0] === "var" ? 2 : 1;
  if (!template.startsWith("/") || segments.slice(0, fixed).some((segment) => segment.includes("{"))) {
    refuse("invalid", `${field} ${quote(template)} must begin with a folder that is the same for everybody`);
  }
  if (!segments.some((segment) => /^[^{}]*\{(name|uid)\}[^{}]*$/.test(segment))) {
    refuse("invalid", `${field} ${quote(template)} gives people one home: a folder of it must have {name} or {uid}`);
  }
  const longest = { name: "x".repeat(longestName), uid: 2_147_483_647, org: "x".repeat(63), cluster: "x".repeat(63) };
  parseHome(fill(pieces, longest));
  return template;
}

/** Where a person's home directory is, by a template that {@link parseHomeTemplate} took. */
export function homeFrom(template: string, places: HomePlaces): string {
  return parseHome(fill(parse("home", template, ["name", "uid", "org", "cluster"]), places));
}

function fill(pieces: readonly Piece[], places: Readonly<Record<string, string | number>> | HomePlaces): string {
  const values = places as Readonly<Record<string, string | number>>;
  return pieces.map((piece) => (piece.kind === "text" ? piece.text : String(values[piece.place]))).join("");
}

function parse(field: string, template: string, places: readonly string[]): Piece[] {
  if (template === "" || template.length > 200) {
    refuse("invalid", `${field} ${quote(template)} must have 1 to 200 characters`);
  }
  return template.split(/(\{[^{}]*\})/).flatMap((text): Piece[] => {
    if (text === "") return [];
    if (!text.startsWith("{") || !text.endsWith("}")) {
      if (/[{}]/.test(text)) refuse("invalid", `${field} ${quote(template)}: a brace is not closed, or not opened`);
      return [{ kind: "text", text }];
    }
    const [, place = "", first] = /^\{([A-Za-z.]+)(?::([1-9][0-9]?))?\}$/.exec(text) ?? [];
    if (!places.includes(place)) {
      const known = places.map((each) => `{${each}}`).join(", ");
      refuse("invalid", `${field} ${quote(template)}: ${quote(text)} is not one of ${known}, perhaps with :N in it`);
    }
    return [{ kind: "place", place, first: first === undefined ? undefined : Number(first) }];
  });
}

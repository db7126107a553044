/**
 * What a client asks about resources, whether it says so in the URL or in the body of a search (RFC 7644, section 3.4.3):
 * the same names with the same meaning. What a value means is read by whoever needs it.
 */

import { refuseAs } from "./errors.ts";
import { type Doc, property } from "./json.ts";

export const questionNames = [
  "filter",
  "sortBy",
  "sortOrder",
  "startIndex",
  "count",
  "cursor",
  "attributes",
  "excludedAttributes",
] as const;

export type QuestionName = (typeof questionNames)[number];

export type Question = Readonly<Partial<Record<QuestionName, string>>>;

/** @throws ScimRefusal `invalidValue`: a parameter that is given twice. */
export function readQuery(query: Doc): Question {
  return collect((name) => {
    const value = Object.hasOwn(query, name) ? query[name] : undefined;
    if (value === undefined || typeof value === "string") return value;
    return refuseAs("invalidValue", `${name} is given more than once`);
  });
}

/** @throws ScimRefusal `invalidValue`: a value of the wrong type. */
export function readSearch(body: Doc): Question {
  return collect((name) => {
    const value = property(body, name) ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    if (typeof value === "number" && (name === "startIndex" || name === "count")) return String(value);
    const isList = name === "attributes" || name === "excludedAttributes";
    if (isList && Array.isArray(value) && value.every((each) => typeof each === "string")) return value.join(",");
    return refuseAs("invalidValue", `${name} has a value of the wrong type`);
  });
}

function collect(read: (name: QuestionName) => string | undefined): Question {
  const question: Partial<Record<QuestionName, string>> = {};
  for (const name of questionNames) {
    const value = read(name);
    if (value !== undefined) question[name] = value;
  }
  return question;
}

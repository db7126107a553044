/**
 * The filter language of RFC 7644, section 3.4.2.2, and the paths of PATCH that contain it. A lexer and a strict descent:
 * linear in the text, and bounded in length, depth and terms, since strangers write it. What a term means, and whether
 * it can be answered, is decided by whoever compiles the tree.
 */

import { refuseAs } from "./errors.ts";

export type Comparison = "eq" | "ne" | "co" | "sw" | "ew" | "gt" | "ge" | "lt" | "le";
export type Literal = string | number | boolean | null;

export type Filter =
  | { readonly kind: "and"; readonly terms: readonly Filter[] }
  | { readonly kind: "or"; readonly terms: readonly Filter[] }
  | { readonly kind: "not"; readonly term: Filter }
  | { readonly kind: "compare"; readonly name: string; readonly op: Comparison; readonly value: Literal }
  | { readonly kind: "present"; readonly name: string }
  /** `emails[type eq "work"]`: one value of a multi-valued attribute matches as a whole. */
  | { readonly kind: "some"; readonly name: string; readonly of: Filter };

/** `members`, `name.givenName`, `emails[type eq "work"].value`. */
export interface RawPath {
  readonly name: string;
  readonly filter: Filter | undefined;
  readonly sub: string | undefined;
}

export const limits = { length: 16_384, depth: 40, terms: 500 } as const;

/** @throws ScimRefusal `invalidFilter`. */
export function parseFilter(text: string): Filter {
  const at = begin(text, "invalidFilter");
  const filter = disjunction(at);
  if (at.next < at.tokens.length) wrong(at, "the end");
  return filter;
}

/** The text of a filter: what parses to the same. */
export function printFilter(filter: Filter): string {
  switch (filter.kind) {
    case "and":
      return filter.terms.map((term) => (isJoined(term) ? `(${printFilter(term)})` : printFilter(term))).join(" and ");
    case "or":
      return filter.terms
        .map((term) => (term.kind === "or" ? `(${printFilter(term)})` : printFilter(term)))
        .join(" or ");
    case "not":
      return `not (${printFilter(filter.term)})`;
    case "compare":
      return `${filter.name} ${filter.op} ${JSON.stringify(filter.value)}`;
    case "present":
      return `${filter.name} pr`;
    case "some":
      return `${filter.name}[${printFilter(filter.of)}]`;
  }
}

function isJoined({ kind }: Filter): boolean {
  return kind === "and" || kind === "or";
}

/** @throws ScimRefusal `invalidPath`. */
export function parseRawPath(text: string): RawPath {
  const at = begin(text, "invalidPath");
  const name = word(at, "an attribute name");
  const filter = takes(at, "[") ? bracketed(at) : undefined;
  const sub = filter ? part(at) : undefined;
  if (at.next < at.tokens.length) wrong(at, "the end");
  return { name, filter, sub };
}

type Token =
  | { readonly kind: "mark"; readonly text: "(" | ")" | "[" | "]" }
  | { readonly kind: "word" | "part"; readonly text: string }
  | { readonly kind: "literal"; readonly text: string; readonly value: string | number };

interface Cursor {
  readonly tokens: readonly Token[];
  readonly scimType: "invalidFilter" | "invalidPath";
  next: number;
  depth: number;
  terms: number;
}

function begin(text: string, scimType: Cursor["scimType"]): Cursor {
  if (text.length > limits.length) refuseText(scimType, `is longer than ${limits.length} characters`);
  return { tokens: lex(text, scimType), scimType, next: 0, depth: 0, terms: 0 };
}

function lex(text: string, scimType: Cursor["scimType"]): Token[] {
  const tokens: Token[] = [];
  let i = 0;
  const read = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = i;
    return pattern.exec(text)?.[0];
  };
  while (i < text.length) {
    const char = text[i] ?? "";
    if (char === " ") {
      i++;
      continue;
    }
    const token = lexeme(char, read) ?? refuseText(scimType, `has something unknown at character ${i + 1}`);
    tokens.push(token);
    i += token.text.length;
  }
  return tokens;
}

function lexeme(char: string, read: (pattern: RegExp) => string | undefined): Token | undefined {
  if (char === "(" || char === ")" || char === "[" || char === "]") return { kind: "mark", text: char };
  if (char === '"') {
    // Escapes are JSON's: JSON.parse has the last word on what is inside.
    const text = read(/"(?:[^"\\]|\\.)*"/y);
    return text === undefined || !isJson(text)
      ? undefined
      : { kind: "literal", text, value: JSON.parse(text) as string };
  }
  const name = read(/[A-Za-z_$][A-Za-z0-9_$.:-]*/y);
  if (name !== undefined) return { kind: "word", text: name };
  const part = read(/\.[A-Za-z_$][A-Za-z0-9_$-]*/y);
  if (part !== undefined) return { kind: "part", text: part };
  const number = read(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y);
  return number === undefined ? undefined : { kind: "literal", text: number, value: Number(number) };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function disjunction(at: Cursor): Filter {
  const terms = [conjunction(at)];
  while (takesWord(at, "or")) terms.push(conjunction(at));
  return terms.length === 1 && terms[0] ? terms[0] : { kind: "or", terms };
}

function conjunction(at: Cursor): Filter {
  const terms = [term(at)];
  while (takesWord(at, "and")) terms.push(term(at));
  return terms.length === 1 && terms[0] ? terms[0] : { kind: "and", terms };
}

function term(at: Cursor): Filter {
  if (takes(at, "(")) return grouped(at, ")");
  if (isWord(at, "not") && isMark(at.tokens[at.next + 1], "(")) {
    at.next += 2;
    return { kind: "not", term: grouped(at, ")") };
  }
  if (++at.terms > limits.terms) refuseText(at.scimType, `has more than ${limits.terms} terms`);
  const name = word(at, "an attribute name");
  if (!takes(at, "[")) return comparison(at, name);
  const of = bracketed(at);
  const sub = part(at);
  // `emails[type eq "work"].value eq "x"` is not in the RFC's grammar, but Entra matches people by it.
  return { kind: "some", name, of: sub === undefined ? of : { kind: "and", terms: [of, comparison(at, sub)] } };
}

function comparison(at: Cursor, name: string): Filter {
  const op = word(at, "an operator").toLowerCase();
  if (op === "pr") return { kind: "present", name };
  if (!isComparison(op)) {
    at.next--;
    return wrong(at, "one of eq, ne, co, sw, ew, gt, ge, lt, le, pr");
  }
  return { kind: "compare", name, op, value: literal(at) };
}

function literal(at: Cursor): Literal {
  const token = at.tokens[at.next++];
  if (token?.kind === "literal") return token.value;
  if (token?.kind === "word" && token.text === "true") return true;
  if (token?.kind === "word" && token.text === "false") return false;
  if (token?.kind === "word" && token.text === "null") return null;
  at.next--;
  return wrong(at, "a value (text in double quotes, a number, true, false or null)");
}

function bracketed(at: Cursor): Filter {
  return grouped(at, "]");
}

function grouped(at: Cursor, close: ")" | "]"): Filter {
  if (++at.depth > limits.depth) refuseText(at.scimType, `is nested more than ${limits.depth} deep`);
  const filter = disjunction(at);
  if (!takes(at, close)) wrong(at, `"${close}"`);
  at.depth--;
  return filter;
}

function part(at: Cursor): string | undefined {
  const token = at.tokens[at.next];
  if (token?.kind !== "part") return undefined;
  at.next++;
  return token.text.slice(1);
}

function word(at: Cursor, what: string): string {
  const token = at.tokens[at.next];
  if (token?.kind !== "word") return wrong(at, what);
  at.next++;
  return token.text;
}

function takes(at: Cursor, mark: string): boolean {
  if (!isMark(at.tokens[at.next], mark)) return false;
  at.next++;
  return true;
}

function takesWord(at: Cursor, text: string): boolean {
  if (!isWord(at, text)) return false;
  at.next++;
  return true;
}

function isMark(token: Token | undefined, mark: string): boolean {
  return token?.kind === "mark" && token.text === mark;
}

function isWord(at: Cursor, text: string): boolean {
  const token = at.tokens[at.next];
  return token?.kind === "word" && token.text.toLowerCase() === text;
}

function isComparison(op: string): op is Comparison {
  return /^(eq|ne|co|sw|ew|gt|ge|lt|le)$/.test(op);
}

function wrong(at: Cursor, wanted: string): never {
  return refuseText(at.scimType, `must have ${wanted} after its first ${at.next} words`);
}

function refuseText(scimType: Cursor["scimType"], what: string): never {
  return refuseAs(scimType, `the ${scimType === "invalidFilter" ? "filter" : "path"} ${what}`);
}

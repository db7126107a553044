/** Which attributes of a resource are wanted: `attributes` and `excludedAttributes` (RFC 7644, section 3.9). */

import { refuseAs } from "./errors.ts";
import { type Doc, isObject } from "./json.ts";
import { extensionNamed, type ResourceType, resolve } from "./schema.ts";

export type Selection = { readonly kind: "all" } | { readonly kind: "only" | "except"; readonly names: Names };

/** Canonical names, nested; one without further names stands for everything below it. */
type Names = Map<string, Names>;

/** Names that no resource has select nothing. @throws ScimRefusal `invalidValue` if both lists are given. */
export function parseSelection(
  type: ResourceType,
  attributes: string | undefined,
  excludedAttributes: string | undefined,
): Selection {
  if (attributes && excludedAttributes) {
    refuseAs("invalidValue", "attributes and excludedAttributes exclude one another");
  }
  if (attributes) return { kind: "only", names: parseNames(type, `schemas,id,${attributes}`) };
  if (excludedAttributes) return { kind: "except", names: withoutAlways(parseNames(type, excludedAttributes)) };
  return { kind: "all" };
}

/** Whether an attribute is wanted at all: what is not need not be read. */
export function wants(selection: Selection, name: string): boolean {
  switch (selection.kind) {
    case "all":
      return true;
    case "only":
      return selection.names.has(name);
    case "except":
      return selection.names.get(name)?.size !== 0;
  }
}

export function select(selection: Selection, resource: Doc): Doc {
  if (selection.kind === "all") return resource;
  return prune(resource, selection.names, selection.kind === "only");
}

function prune(resource: Doc, names: Names, only: boolean): Doc {
  const kept = Object.entries(resource).flatMap(([key, value]): [string, unknown][] => {
    const below = names.get(key);
    if (!below) return only ? [] : [[key, value]];
    if (below.size === 0) return only ? [[key, value]] : [];
    return [[key, Array.isArray(value) ? value.map((each) => inner(each, below, only)) : inner(value, below, only)]];
  });
  return Object.fromEntries(kept);
}

function inner(value: unknown, names: Names, only: boolean): unknown {
  return isObject(value) ? prune(value, names, only) : value;
}

function parseNames(type: ResourceType, list: string): Names {
  const names: Names = new Map();
  for (const text of list.split(",")) add(names, route(type, text.trim()));
  return names;
}

function route(type: ResourceType, name: string): string[] {
  const extension = extensionNamed(type, name);
  if (extension) return [extension.id];
  const target = resolve(type, name);
  return target
    ? [target.extension?.id, target.attribute.name, target.sub?.name].filter((each) => each !== undefined)
    : [];
}

// `name` beside `name.givenName` means all of it, in whichever order they come.
function add(names: Names, [first, ...rest]: readonly string[]): void {
  if (first === undefined) return;
  const known = names.get(first);
  if (known?.size === 0) return;
  const below: Names = known && rest.length > 0 ? known : new Map();
  names.set(first, below);
  add(below, rest);
}

function withoutAlways(names: Names): Names {
  names.delete("id");
  names.delete("schemas");
  return names;
}

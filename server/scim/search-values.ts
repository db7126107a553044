/** What of a canonical user can be searched and sorted by: a row per value, folded where its schema ignores case. */

import type { SearchValue } from "../store/users.ts";
import type { Attribute } from "./attribute.ts";
import { comparableText } from "./comparison.ts";
import { type Doc, isObject } from "./json.ts";
import { userType } from "./schema.ts";
import { isPrimary } from "./value.ts";

export function searchValues(attributes: Doc): SearchValue[] {
  const core = rowsOf(userType.core.attributes, attributes);
  const extensions = userType.extensions.flatMap(({ id, attributes: parts }) => {
    const held = attributes[id];
    return isObject(held) ? [row("schemas", 0, { value: id }), ...rowsOf(parts, held)] : [];
  });
  return [...core, ...extensions];
}

function rowsOf(known: readonly Attribute[], held: Doc): SearchValue[] {
  return known.flatMap((attribute) => {
    const value = held[attribute.name];
    if (value === undefined) return [];
    if (attribute.multiValued) return manyRows(attribute, value as readonly Doc[]);
    if (!isObject(value)) return [row(attribute.name, 0, { value: text(attribute, value) })];
    return (attribute.subAttributes ?? []).flatMap((part) => {
      const stated = value[part.name];
      return stated === undefined ? [] : [row(`${attribute.name}.${part.name}`, 0, { value: text(part, stated) })];
    });
  });
}

// The primary value leads: what is sorted by is found without looking at the others.
function manyRows(attribute: Attribute, values: readonly Doc[]): SearchValue[] {
  const ordered = [...values.filter(isPrimary), ...values.filter((value) => !isPrimary(value))];
  return ordered.map((value, place) => {
    const parts = (attribute.subAttributes ?? []).flatMap((part) => {
      const stated = value[part.name];
      if (stated === undefined) return [];
      return part.type === "boolean"
        ? [["is_primary", stated === true ? 1 : 0]]
        : [[columns[part.name] ?? part.name, text(part, stated)]];
    });
    return row(attribute.name, place, Object.fromEntries(parts) as Partial<SearchValue>);
  });
}

const columns: Readonly<Record<string, string>> = { streetAddress: "street_address", postalCode: "postal_code" };

function text(attribute: Attribute, value: unknown): string {
  return comparableText(attribute, String(value));
}

function row(attribute: string, place: number, parts: Partial<SearchValue>): SearchValue {
  return { attribute, place, ...parts };
}

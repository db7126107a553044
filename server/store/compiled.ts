/**
 * Statements of the hottest paths. Kysely's making of one costs as much as running it: it is made once for each engine, and
 * given other values.
 */

import type { CompiledQuery, Kysely, QueryResult } from "kysely";
import type { Schema } from "./schema.ts";

type Value = string | number | bigint | null;
/** What a statement is given: values, and lists of them. */
type Values<V> = { readonly [Name in keyof V]: Value | readonly Value[] };

/** Longer lists are rare, and each length is a statement of its own. */
const longestList = 8;

/** Statements of one purpose, for each engine, by what their text depends on. */
export class Compiled<Row> {
  readonly #made = new WeakMap<object, Map<string, CompiledQuery<Row>>>();

  once(db: Kysely<Schema>, shape: string, compile: () => CompiledQuery<Row>): CompiledQuery<Row> {
    const { adapter } = db.getExecutor();
    const statements = this.#made.get(adapter) ?? new Map<string, CompiledQuery<Row>>();
    const known = statements.get(shape);
    if (known) return known;
    const made = compile();
    if (statements.size < 500) this.#made.set(adapter, statements.set(shape, made));
    return made;
  }
}

/**
 * A statement whose text depends on nothing but which values it is given, and how long their lists are. `make` must do
 * nothing with values but hand them on.
 */
export function compiled<V extends Values<V>, Row>(
  make: (db: Kysely<Schema>, values: V) => { compile(): CompiledQuery<Row> },
): (db: Kysely<Schema>, values: V) => Promise<QueryResult<Row>> {
  const statements = new Compiled<Row>();
  return (db, values) => {
    let shape = "";
    for (const [name, value] of Object.entries<Value | readonly Value[]>(values)) {
      shape += ` ${name}`;
      if (!isList(value)) continue;
      if (value.length > longestList) return db.executeQuery(make(db, values).compile());
      shape += ` ${value.length}`;
    }
    const statement = statements.once(db, shape, () => make(db, places(values)).compile());
    const parameters = statement.parameters.map((each) => (each instanceof Place ? each.of(values) : each));
    return db.executeQuery({ ...statement, parameters });
  };
}

/** Where a value goes. */
class Place {
  readonly #name: string;
  readonly #n: number | undefined;

  constructor(name: string, n?: number) {
    this.#name = name;
    this.#n = n;
  }

  of(values: object): Value | undefined {
    const value = (values as Record<string, Value | readonly Value[]>)[this.#name];
    return isList(value) ? value[this.#n ?? 0] : value;
  }
}

function places<V extends Values<V>>(values: V): V {
  const entries = Object.entries<Value | readonly Value[]>(values).map(([name, value]) => {
    return [name, isList(value) ? value.map((_, n) => new Place(name, n)) : new Place(name)];
  });
  return Object.fromEntries(entries) as V;
}

function isList(value: Value | readonly Value[] | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

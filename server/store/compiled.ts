/**
 * Statements of the hottest paths. Kysely's making of one costs as much as running it: it is made once for each engine, and
 * given other values.
 */

import type { CompiledQuery, Kysely } from "kysely";
import type { Schema } from "./schema.ts";

/** Statements by what they depend on, for each engine. */
const made = new WeakMap<object, Map<string, CompiledQuery>>();

/** The statement of a name, which must say all that its text depends on. */
export function compiledOnce(db: Kysely<Schema>, name: string, compile: () => CompiledQuery): CompiledQuery {
  const { adapter } = db.getExecutor();
  const statements = made.get(adapter) ?? new Map<string, CompiledQuery>();
  made.set(adapter, statements);
  const statement = statements.get(name) ?? compile();
  if (statements.size < 500) statements.set(name, statement);
  return statement;
}

/** A statement that was made with `$name`s for its values, with values in their place. */
export function filled<R>(statement: CompiledQuery<R>, values: Readonly<Record<string, unknown>>): CompiledQuery<R> {
  const parameters = statement.parameters.map((each) =>
    typeof each === "string" && Object.hasOwn(values, each) ? values[each] : each,
  );
  return { ...statement, parameters };
}

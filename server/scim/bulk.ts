/**
 * Many operations in one request (RFC 7644, section 3.7), each a transaction of its own. What an operation refers to is
 * made before it, wherever in the request it stands; the rest keeps the order of the request, and so do the results.
 *
 * The shape of all operations is checked before the first is done: a request with two operations of one bulkId means
 * nothing, so nothing of it is done.
 */

import { quote, refuse } from "../../identity/refusal.ts";
import { type BulkOperation, parseBulk } from "./bulk-request.ts";
import type { Answer, Call, Endpoint } from "./endpoint.ts";
import { failureOf, refuseWith } from "./errors.ts";
import { asObject, type Doc } from "./json.ts";
import { ifMatch } from "./precondition.ts";
import { references, resolvedData, resolvedPath } from "./reference.ts";

export interface BulkPorts {
  /** The resources behind the first segment of a path. @throws Refusal `not-found`. */
  endpoint(segment: string): { readonly endpoint: Endpoint; readonly location: (id: string) => string };
  /** Told of every bug of ours: the client only sees "internal". */
  bug(error: unknown): void;
}

/** @throws HttpRefusal 413: too many operations; ScimRefusal `invalidSyntax`: not a bulk request. */
export async function bulk(call: Call, body: Doc, ports: BulkPorts): Promise<Answer> {
  const { operations, failOnErrors } = parseBulk(body);
  const run = new Run(call, operations, failOnErrors, ports);
  for (const operation of operations) await run.settle(operation);
  return {
    status: 200,
    body: { schemas: ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"], Operations: run.results() },
  };
}

/** What became of an operation; `id` is that of what it made. */
type Outcome = { readonly result: Doc; readonly id: string | undefined };

class Run {
  readonly #call: Call;
  readonly #operations: readonly BulkOperation[];
  readonly #ports: BulkPorts;
  readonly #makers: ReadonlyMap<string, BulkOperation>;
  readonly #outcomes = new Map<BulkOperation, Outcome>();
  /** Begun, and waiting for what they refer to. */
  readonly #waiting = new Set<BulkOperation>();
  #errorsLeft: number;

  constructor(call: Call, operations: readonly BulkOperation[], failOnErrors: number, ports: BulkPorts) {
    this.#call = call;
    this.#operations = operations;
    this.#ports = ports;
    this.#errorsLeft = failOnErrors;
    const makers = operations.filter(({ method, bulkId }) => method === "POST" && bulkId !== undefined);
    this.#makers = new Map(makers.map((operation) => [operation.bulkId ?? "", operation]));
  }

  /** Does an operation, and before it what it refers to, unless it was done, or too many have failed. */
  async settle(operation: BulkOperation): Promise<void> {
    if (this.#outcomes.has(operation) || this.#waiting.has(operation)) return;
    this.#waiting.add(operation);
    const needed = references(operation);
    for (const bulkId of needed) {
      const maker = this.#makers.get(bulkId);
      if (maker && this.#errorsLeft > 0) await this.settle(maker);
    }
    if (this.#errorsLeft > 0) this.#outcomes.set(operation, await this.#attempt(operation, needed));
    this.#waiting.delete(operation);
  }

  results(): Doc[] {
    return this.#operations.flatMap((operation): Doc[] => {
      const outcome = this.#outcomes.get(operation);
      return outcome ? [outcome.result] : [];
    });
  }

  async #attempt(operation: BulkOperation, needed: readonly string[]): Promise<Outcome> {
    const { method, bulkId } = operation;
    const named = { method, ...(bulkId !== undefined && { bulkId }) };
    let location: string | undefined;
    try {
      const ids = new Map(needed.map((each) => [each, this.#idOf(each)]));
      const { segment, id } = parsePath(resolvedPath(operation.path, ids), method);
      const { endpoint, location: locate } = this.#ports.endpoint(segment);
      if (method !== "POST") location = locate(id);
      const { status, version, location: made } = await this.#perform(endpoint, operation, id, ids);
      location ??= made;
      const result = { ...named, ...(version !== undefined && { version }), location, status: String(status) };
      return { result, id: made?.slice(made.lastIndexOf("/") + 1) };
    } catch (error) {
      this.#errorsLeft--;
      const { status, body, bug } = failureOf(error);
      if (bug) this.#ports.bug(error);
      const where = location === undefined ? {} : { location };
      return { result: { ...named, ...where, status: String(status), response: body }, id: undefined };
    }
  }

  async #perform(
    endpoint: Endpoint,
    { method, version, data }: BulkOperation,
    id: string,
    ids: ReadonlyMap<string, string>,
  ): Promise<Answer> {
    const call: Call = { ...this.#call, when: ifMatch(version) };
    const stated = () => asObject(resolvedData(data, ids), "data");
    switch (method) {
      case "POST":
        return endpoint.create(call, stated());
      case "PUT":
        return endpoint.replace(call, id, stated());
      case "PATCH":
        return endpoint.patch(call, id, stated());
      case "DELETE":
        return endpoint.remove(call, id);
    }
  }

  /** @throws HttpRefusal 409: not made, or not yet; Refusal `invalid`: never will be. */
  #idOf(bulkId: string): string {
    const maker = this.#makers.get(bulkId);
    if (!maker) return refuse("invalid", `no POST of this request has the bulkId ${quote(bulkId)}`);
    if (this.#waiting.has(maker) && !this.#outcomes.has(maker)) {
      return refuseWith(409, `the reference to bulkId ${quote(bulkId)} goes round in a circle`);
    }
    return this.#outcomes.get(maker)?.id ?? refuseWith(409, `what bulkId ${quote(bulkId)} refers to was not made`);
  }
}

/** `/Users` to make one; `/Users/id` for the rest. @throws Refusal `not-found`. */
function parsePath(path: string, method: BulkOperation["method"]): { segment: string; id: string } {
  const [, segment = "", id = ""] = /^\/([^/?#]+)(?:\/([^/?#]+))?$/.exec(path) ?? [];
  if (segment === "" || (method === "POST") !== (id === "")) {
    refuse("not-found", `nothing answers ${method} at ${quote(path)}`);
  }
  return { segment, id };
}

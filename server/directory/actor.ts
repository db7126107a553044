import { quote, refuse } from "../../identity/refusal.ts";

/** Who asks for a change, and how it came here. */

export type Actor = Who & {
  /** How the request came, for the audit: `scim 0198...` with the request's id, `cli`, `api`, `oauth`, `import`, `expiry`. */
  readonly cause?: string;
  /** Whether it shall pass the guard: an operator's word, which no provider has. */
  readonly urgent?: boolean;
};

type Who =
  | {
      readonly kind: "admin";
      /** The name of the operator's token. */
      readonly name?: string;
    }
  | {
      readonly kind: "scim";
      /** The connection's name, unique in its org. */
      readonly connection: string;
    }
  | {
      readonly kind: "node";
      /** The name that it asks to be known by. */
      readonly name: string;
    }
  /** The server itself: at its first start, or when a time has come. */
  | { readonly kind: "server" };

/**
 * `admin`, `scim:okta`: the cause of a revision, and the origin of what an actor makes. Which operator it was is the audit's
 * to say: what one made is every operator's.
 */
export function show(actor: Actor): string {
  switch (actor.kind) {
    case "admin":
    case "server":
      return actor.kind;
    case "scim":
      return `scim:${actor.connection}`;
    case "node":
      return `node:${actor.name}`;
  }
}

/** As the audit names an actor: `admin:first`, `scim:okta`. */
export function signature(actor: Actor): string {
  return actor.kind === "admin" && actor.name !== undefined ? `admin:${actor.name}` : show(actor);
}

/** What of an actor's changes the guard has no say in. */
export function passing({ kind, urgent = false }: Actor): { urgent: boolean } {
  return { urgent: kind === "admin" && urgent };
}

/**
 * Whose things an actor can see and change: those that it made itself; all of them, for an admin (undefined). What a
 * connection did not make is, to it, not there; only the names are taken.
 */
export function originOf(actor: Actor): string | undefined {
  return actor.kind === "scim" ? show(actor) : undefined;
}

/**
 * What a connection states, an admin does not change: the next word of the identity provider would undo it.
 * @throws Refusal `forbidden`, naming the connection.
 */
export function checkOwner(actor: Actor, { origin }: { readonly origin: string }): void {
  if (actor.kind === "admin" && origin.startsWith("scim:")) {
    refuse("forbidden", `the SCIM connection ${quote(origin.slice(5))} owns it: change it at the identity provider`);
  }
}

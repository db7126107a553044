/** Who asks for a change, and how it came here. */

export type Actor = Who & {
  /** How the request came, for the audit: `scim 0198...` with the request's id, `cli`, `api`, `oauth`, `import`, `expiry`. */
  readonly cause?: string;
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

/**
 * Whose things an actor can see and change: those that it made itself; all of them, for an admin (undefined). What a
 * connection did not make is, to it, not there; only the names are taken.
 */
export function originOf(actor: Actor): string | undefined {
  return actor.kind === "scim" ? show(actor) : undefined;
}

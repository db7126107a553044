/** Who asks for a change. Its text is kept as the cause of a revision, and as the origin of what it makes. */
export type Actor =
  | { readonly kind: "admin" }
  | {
      readonly kind: "scim";
      /** The connection's name, unique in its org. */
      readonly connection: string;
    };

/** `admin`, `scim:okta`. */
export function show(actor: Actor): string {
  return actor.kind === "admin" ? "admin" : `scim:${actor.connection}`;
}

/**
 * Whose things an actor can see and change: those that it made itself; all of them, for an admin (undefined). What a
 * connection did not make is, to it, not there; only the names are taken.
 */
export function originOf(actor: Actor): string | undefined {
  return actor.kind === "admin" ? undefined : show(actor);
}

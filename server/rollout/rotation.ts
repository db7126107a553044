/** Where nodes are in a rotation of the authority: which one their certificate is of, and which ones they know. */

import type { Enrolment } from "../store/nodes.ts";

/**
 * `done`: it uses a certificate of the authority that signs, and knows those that are trusted. `learning`: it does not know the
 * same ones. `behind`: its certificate is of another authority, or it was not seen to use its newest one yet.
 */
export type Rotation = "done" | "learning" | "behind";

/** What a node was given, by its newest certificate. */
type Given = Pick<Enrolment, "authority" | "trusts">;

/** How a node stands to the authorities that are trusted (their ids; the first one signs). */
export function rotationOf({ authority, trusts }: Given, trusted: readonly string[]): Rotation {
  if (authority === undefined || authority !== trusted[0]) return "behind";
  // One that was never told of any began with `--ca`, when there was one authority.
  return (trusts.length === 0 ? [authority] : trusts).join() === trusted.join() ? "done" : "learning";
}

/** Why a step of a rotation would lock a node out; undefined: it would not. */
export function whyNot(
  step: "activate" | "retire",
  { authority, trusts, banned, expiresAt }: Given & Pick<Enrolment, "banned" | "expiresAt">,
  [signer, other]: readonly string[],
  now: number,
): string | undefined {
  // Either way such a node needs a join token, and with it the new ca.pem.
  if (banned || expiresAt <= now) return undefined;
  if (authority === undefined) return "was not seen to use its newest certificate yet";
  switch (step) {
    case "activate":
      return other !== undefined && trusts.includes(other) ? undefined : `does not know ${other} yet`;
    case "retire":
      return authority === signer ? undefined : `has a certificate of ${authority}`;
  }
}

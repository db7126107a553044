/** Names of people as people write them. */

/**
 * A display name that can go to terminals and pages: no control characters, line separators or direction overrides.
 * Joiners stay: Persian and emoji need them. Undefined if nothing is left.
 */
export function printable(text: string): string | undefined {
  const plain = text.toWellFormed().replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu, " ");
  return plain.trim() || undefined;
}

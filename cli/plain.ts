/** Text that others wrote (nodes, identity providers, servers), made safe for a terminal. */

/** One line without control, formatting or line-breaking characters: each shows as `?`, so that nothing hides. */
export function plain(text: string): string {
  return text.toWellFormed().replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}

/** JSON that no terminal acts on: what JSON leaves as it is beyond U+007E is escaped. */
export function plainJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

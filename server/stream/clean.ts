/** What a node says is for people to read, and a node may be hostile: printable, one line, short. */
export function clean(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ")
    .slice(0, 500)
    .trim();
}

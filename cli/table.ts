/** Plain aligned columns: fit for eyes and for awk. */

import { plain } from "./plain.ts";

/** Lines of a table: a head in capitals, two spaces between columns, none at the ends of lines. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head.map((title) => title.toUpperCase()), ...rows.map((row) => row.map(plain))];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => lengthOf(line[column] ?? ""))));
  return lines
    .map((line) =>
      line
        .map((cell, column) => pad(cell, widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** Lines of one thing: its fields by name. */
export function card(fields: Readonly<Record<string, string>>): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length));
  return Object.entries(fields)
    .map(([name, value]) => `${`${name.padEnd(width)}  ${plain(value)}`.trimEnd()}\n`)
    .join("");
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - lengthOf(cell)));
}

const graphemes = new Intl.Segmenter();

function lengthOf(cell: string): number {
  return Array.from(graphemes.segment(cell)).length;
}

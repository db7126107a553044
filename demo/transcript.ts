/** The demo's transcript in the README, and how it is compared with what the demo prints: without what varies. */

/** What differs from one run to the next, and what stands for it. In this order: a timestamp holds what looks like less. */
const varying: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "<id>"],
  [/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>"],
  [/SHA256:[A-Za-z0-9+/]{43}/g, "<fingerprint>"],
  [/\b\d+(\.\d+)? ?(ms|s)\b/g, "<duration>"],
  // A column is as wide as its widest cell.
  [/(?<=\S) {2,}(?=\S)/g, "  "],
  [/ +$/gm, ""],
];

export function normalise(text: string): string {
  return varying.reduce((normal, [pattern, stand]) => normal.replace(pattern, stand), text).trim();
}

/** The fenced block between the markers. */
export function transcriptIn(readme: string): string | undefined {
  return /<!-- demo -->\s*```\w*\n([^]*?)```\s*<!-- \/demo -->/.exec(readme)?.[1];
}

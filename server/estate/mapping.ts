/** The operator's word on who is who: lines of a POSIX name and the userName of a directory user. */

import { linesOf, type Place, type Problem } from "./estate.ts";

export interface Mapping {
  /** By POSIX name. */
  readonly userNames: ReadonlyMap<string, Place & { readonly userName: string }>;
  readonly problems: readonly Problem[];
}

export function parseMapping(file: string, text: string): Mapping {
  const userNames = new Map<string, Place & { userName: string }>();
  const problems: Problem[] = [];
  for (const [line, entry] of linesOf(text)) {
    const [name = "", userName, ...rest] = entry.trim().split(/[ \t]+/);
    const before = userNames.get(name);
    if (userName === undefined || rest.length > 0) {
      problems.push({ file, line, field: "line", value: name, rule: "not of the form: POSIX name, space, userName" });
    } else if (before) {
      problems.push({ file, line, field: "name", value: name, rule: `line ${before.line} maps it already` });
    } else userNames.set(name, { file, line, userName });
  }
  return { userNames, problems };
}

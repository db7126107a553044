/**
 * What `sacctmgr dump` writes (sacctmgr(1), FLAT FILE DUMP AND LOAD): a tree of accounts, each with its users. One line per
 * thing, `Kind - 'name':Field='value':...`; a `Parent - 'name'` line says below which account the next ones are.
 */

import { linesOf, mostEntries, type Place, type Problem } from "./estate.ts";

export interface SlurmAccount extends Place {
  readonly name: string;
  /** Undefined: Slurm's root account. */
  readonly parent: string | undefined;
}

export interface SlurmUser extends Place {
  readonly name: string;
  readonly account: string;
  readonly defaultAccount: string | undefined;
  readonly adminLevel: string | undefined;
}

export interface SlurmDump {
  readonly accounts: readonly SlurmAccount[];
  readonly users: readonly SlurmUser[];
  readonly problems: readonly Problem[];
}

export function parseSacctmgrDump(file: string, text: string): SlurmDump {
  const accounts: SlurmAccount[] = [];
  const users: SlurmUser[] = [];
  const problems: Problem[] = [];
  let parent = "root";
  for (const [line, entry] of linesOf(text)) {
    const at = { file, line };
    const [, kind = "", name = "", rest = ""] = /^([A-Za-z]+) +- +'?([^':]*)'?((?::.*)?)$/.exec(entry) ?? [];
    const fields = new Map([...rest.matchAll(/:([A-Za-z]+)=(?:'([^']*)'|([^:]*))/g)].map(fieldOf));
    switch (kind) {
      case "Cluster":
        break;
      case "Parent":
        parent = name;
        break;
      case "Account":
        accounts.push({ ...at, name, parent: parent === "root" ? undefined : parent });
        break;
      case "User":
        users.push({
          ...at,
          name,
          account: parent,
          defaultAccount: fields.get("defaultaccount"),
          adminLevel: fields.get("adminlevel"),
        });
        break;
      default:
        problems.push({ ...at, field: "line", value: "", rule: "not a line of `sacctmgr dump`" });
    }
    if (accounts.length + users.length > mostEntries) {
      problems.push({ ...at, field: "file", value: file, rule: `more than ${mostEntries} entries: split the file` });
      break;
    }
  }
  return { accounts, users, problems };
}

function fieldOf([, name = "", quoted, plain]: RegExpExecArray): [string, string] {
  return [name.toLowerCase(), quoted ?? plain ?? ""];
}

/** passwd(5) and group(5). A line that is not of the form is a problem, and the next one is read. */

import { type Account, decimal, type Estate, linesOf, mostEntries, type Problem, type Team } from "./estate.ts";

export function parsePasswd(file: string, text: string): Estate {
  const accounts: Account[] = [];
  const problems: Problem[] = [];
  for (const [line, entry] of linesOf(text)) {
    const fields = entry.split(":");
    const [name = "", , uid = "", gid = "", gecos = "", home = "", shell = ""] = fields;
    const at = { file, line };
    const wrong = shape(fields, 7, { uid, gid });
    // NIS's +entries name people who are elsewhere.
    if (/^[+-]/.test(name))
      problems.push({ ...at, field: "name", value: name, rule: "an NIS entry: give the accounts themselves" });
    else if (wrong) problems.push({ ...at, ...wrong });
    else {
      const [fullName = ""] = gecos.split(",");
      accounts.push({
        ...at,
        name,
        uid: decimal(uid),
        gid: decimal(gid),
        gecos: fullName,
        home,
        shell,
        mails: [],
        keys: [],
      });
    }
    if (accounts.length > mostEntries) return tooMany(file, line);
  }
  return { accounts, teams: [], problems };
}

export function parseGroup(file: string, text: string): Estate {
  const teams: Team[] = [];
  const problems: Problem[] = [];
  for (const [line, entry] of linesOf(text)) {
    const fields = entry.split(":");
    const [name = "", , gid = "", members = ""] = fields;
    const at = { file, line };
    const wrong = shape(fields, 4, { gid });
    if (/^[+-]/.test(name))
      problems.push({ ...at, field: "name", value: name, rule: "an NIS entry: give the groups themselves" });
    else if (wrong) problems.push({ ...at, ...wrong });
    else teams.push({ ...at, name, gid: decimal(gid), members: members.split(",").filter((member) => member !== "") });
    if (teams.length > mostEntries) return tooMany(file, line);
  }
  return { accounts: [], teams, problems };
}

function shape(fields: readonly string[], count: number, numbers: Readonly<Record<string, string>>) {
  if (fields.length !== count) {
    // Not the rest of the line: its second field may be a password's hash.
    return { field: "line", value: fields[0] ?? "", rule: `${fields.length} fields between colons, not ${count}` };
  }
  const wrong = Object.entries(numbers).find(([, value]) => Number.isNaN(decimal(value)));
  return wrong && { field: wrong[0], value: wrong[1], rule: "not a decimal number" };
}

function tooMany(file: string, line: number): Estate {
  const rule = `more than ${mostEntries} entries: split the file`;
  return { accounts: [], teams: [], problems: [{ file, line, field: "file", value: file, rule }] };
}

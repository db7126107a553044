/** An estate: the accounts and groups that a site had before Rollcall, as its files say. */

/** Where something was read. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

/** Why something cannot be taken over, for the person who can change the file. */
export interface Problem extends Place {
  readonly field: string;
  readonly value: string;
  readonly rule: string;
}

/** An account, as passwd(5) or a posixAccount says; nothing of it is judged yet. */
export interface Account extends Place {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
  readonly mails: readonly string[];
  readonly keys: readonly string[];
}

/** A group, as group(5) or a posixGroup says. */
export interface Team extends Place {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

export interface Estate {
  readonly accounts: readonly Account[];
  readonly teams: readonly Team[];
  readonly problems: readonly Problem[];
}

/** Longer files, and more entries, are no site's. */
export const mostEntries = 200_000;

/** A decimal number of a file; NaN if it is none. */
export function decimal(text: string): number {
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
}

/** Lines of a file with their numbers, without comments and empty ones. */
export function* linesOf(text: string): Generator<readonly [line: number, text: string]> {
  let line = 0;
  for (const each of text.split("\n")) {
    line += 1;
    const plain = each.endsWith("\r") ? each.slice(0, -1) : each;
    if (plain !== "" && !plain.startsWith("#")) yield [line, plain];
  }
}

/** One estate of several files. What two of them say alike is said once; what they say differently is a problem. */
export function merge(parts: readonly Estate[]): Estate {
  const problems = parts.flatMap((part) => part.problems);
  const accounts = new Map<string, Account>();
  for (const account of parts.flatMap((part) => part.accounts)) {
    const before = accounts.get(account.name);
    const field = before && (["uid", "gid", "home", "shell"] as const).find((each) => before[each] !== account[each]);
    if (before && (field !== undefined || before.file === account.file)) {
      problems.push(twice(account, field ?? "name", String(account[field ?? "name"]), before));
    } else if (before) {
      const mails = [...before.mails, ...account.mails];
      accounts.set(account.name, { ...before, mails, keys: [...before.keys, ...account.keys] });
    } else accounts.set(account.name, account);
  }
  const teams = new Map<string, Team>();
  for (const team of parts.flatMap((part) => part.teams)) {
    const before = teams.get(team.name);
    if (before && (before.gid !== team.gid || before.file === team.file)) {
      problems.push(twice(team, "gid", String(team.gid), before));
    } else if (before) teams.set(team.name, { ...before, members: [...before.members, ...team.members] });
    else teams.set(team.name, team);
  }
  return { accounts: [...accounts.values()], teams: [...teams.values()], problems };
}

function twice({ file, line }: Place, field: string, value: string, before: Place): Problem {
  return { file, line, field, value, rule: `${before.file}:${before.line} has the same name: keep one of them` };
}

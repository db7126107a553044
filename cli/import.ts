/** `rollcall import`: adopting the accounts and groups that a site had before Rollcall. */

import { readFileSync } from "node:fs";
import { Command } from "commander";
import {
  EstateFile_Kind,
  type ImportEstateResponse,
  ImportEstateResponseSchema,
} from "../proto/gen/rollcall/v1/estate_pb.ts";
import { type InOrg, orgOption, type Run } from "./command.ts";
import { exit, UsageError } from "./exit.ts";
import { plain } from "./plain.ts";
import { showEffects } from "./rule.ts";
import { table } from "./table.ts";

interface Options extends InOrg {
  readonly passwd?: string[];
  readonly group?: string[];
  readonly ldif?: string[];
  readonly sacctmgrDump?: string;
  readonly map?: string;
  readonly cluster?: string;
  readonly create?: boolean;
  readonly dryRun?: boolean;
}

export function importCommand(run: Run): Command {
  return new Command("import")
    .description("take over the numbers and names of accounts that are there already, all or nothing")
    .option("--passwd <file>", "passwd(5), such as what `getent passwd` prints; again for more", gather)
    .option("--group <file>", "group(5); again for more", gather)
    .option("--ldif <file>", "an export of posixAccount and posixGroup; again for more", gather)
    .option("--sacctmgr-dump <file>", "what `sacctmgr dump` wrote; needs --cluster")
    .option("--map <file>", "who is who: lines of a POSIX name and a userName")
    .option("--cluster <name>", "whose rules get the accounts of the Slurm dump")
    .option("--create", "make local users and groups of those that match nobody; else their numbers are closed")
    .option("--dry-run", "only say what it would do")
    .addOption(orgOption())
    .addHelpText(
      "after",
      "\nExit codes: 0 done, or nothing stands against it; 7 something does, and nothing is written.",
    )
    .action(
      run<Options>(async ({ estate, show }, _, options) => {
        const { org, cluster = "", create = false, dryRun = false } = options;
        const request = { org, cluster, create, dryRun, files: filesOf(options) };
        // Much is read and written at once: it may take longer than other calls.
        const done = await estate.importEstate(request, { timeoutMs: 600_000 });
        show(ImportEstateResponseSchema, done, (report) => showReport(report, dryRun));
        return done.problems.length > 0 ? exit.precondition : exit.done;
      }),
    );
}

function filesOf({ passwd = [], group = [], ldif = [], sacctmgrDump, map }: Options) {
  const file = (kind: EstateFile_Kind) => (path: string) => ({ kind, name: path, content: read(path) });
  const files = [
    ...passwd.map(file(EstateFile_Kind.PASSWD)),
    ...group.map(file(EstateFile_Kind.GROUP)),
    ...ldif.map(file(EstateFile_Kind.LDIF)),
    ...(sacctmgrDump === undefined ? [] : [sacctmgrDump].map(file(EstateFile_Kind.SACCTMGR_DUMP))),
  ];
  if (files.length === 0) throw new UsageError("nothing to import: give --passwd, --group, --ldif or --sacctmgr-dump");
  return [...files, ...(map === undefined ? [] : [map].map(file(EstateFile_Kind.MAP)))];
}

function read(path: string): Buffer {
  try {
    return readFileSync(path === "-" ? 0 : path);
  } catch (cause) {
    throw new UsageError(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

function showReport(report: ImportEstateResponse, dryRun: boolean): string {
  const { applied, problems, users, groups, closed, unchanged, system, rules } = report;
  const { keptAccounts, unmatchedAccounts, slurmAdmins } = report;
  if (problems.length > 0) {
    const lines = problems.map(({ file, line, field, value, rule }) =>
      plain(`${file}:${line}: ${field} ${JSON.stringify(value)}: ${rule}`).concat("\n"),
    );
    return `${lines.join("")}${problems.length} problems: nothing is imported.\n`;
  }
  const rows = [
    ...users.map(({ userName, name, uid, created }) => [
      "user",
      userName,
      name,
      `${uid}`,
      created ? "create" : "adopt",
    ]),
    ...groups.map(({ displayName, name, gid, created }) => [
      "group",
      displayName,
      name,
      `${gid}`,
      created ? "create" : "adopt",
    ]),
    ...closed.map((each) => ["closed", "-", ...each.split(" ", 2), "close"]),
    ...rules.map((rule) => ["rule", rule, "-", "-", "add"]),
  ];
  const notes = [
    ...keptAccounts.map((name) => `The Slurm account ${name} is granted already: its rule is left as it is.`),
    ...unmatchedAccounts.map((name) => `The Slurm account ${name} has no group of its name: it is left alone.`),
    ...slurmAdmins.map((name) => `${name} administers Slurm: only a rule can give that, see \`rollcall rule add\`.`),
    `${unchanged} are as they should be; ${system} belong to the system.`,
    applied ? "Imported." : "Nothing stands against it.",
  ];
  const done = rows.length > 0 ? table(["what", "directory", "name", "number", "act"], rows) : "";
  return `${done}${notes.map((note) => `${plain(note)}\n`).join("")}${showEffects(report.effects, dryRun)}`;
}

function gather(path: string, before: string[] = []): string[] {
  return [...before, path];
}

/** `rollcall audit`: who changed what, and whether that is still told as it was written. */

import { Command, Option } from "commander";
import {
  type AuditEntry,
  ListAuditResponseSchema,
  TailAuditResponseSchema,
  VerifyAuditResponseSchema,
} from "../proto/gen/rollcall/v1/audit_pb.ts";
import { printTime } from "../proto/wire.ts";
import type { InOrg, Run } from "./command.ts";
import { type Exit, exit, UsageError } from "./exit.ts";
import { plain } from "./plain.ts";
import type { Session } from "./session.ts";
import { table } from "./table.ts";
import { showTime } from "./time.ts";

interface Filter extends InOrg {
  readonly actor?: string;
  readonly action?: string;
  readonly subject?: string;
}

export function auditCommand(run: Run): Command {
  const command = new Command("audit").description("who changed what: a record that only grows");
  filtered(command.command("list"))
    .description("list the newest entries")
    .option("--since <when>", "from then on: 2026-11-02 or 2026-11-02T12:00:00Z", parseWhen)
    .option("--until <when>", "before then", parseWhen)
    .option("--limit <n>", "how many", parseLimit, 20)
    .action(run<Filter & { since?: Date; until?: Date; limit: number }>(list));
  filtered(command.command("tail"))
    .description("print the newest entries, then those that come, until Ctrl-C")
    .option("-n, --lines <n>", "how many of the newest; 0: only what comes", parseCount, 10)
    .option("--from <seq>", "from this entry on instead", parseSeq)
    .action(run<Filter & { lines: number; from?: bigint }>(tail));
  command
    .command("verify")
    .description("follow the whole chain; exit 1 if an entry is not as it was written")
    .addOption(chainOption())
    .option(
      "--head <seq:hash>",
      "a head that was noted earlier: finds also that the newest entries were cut off",
      parseHead,
    )
    .action(run<InOrg & { head?: Noted }>(verify));
  return command;
}

function chainOption(): Option {
  return new Option("--org <name>", "the org; - for what belongs to no org").default("default");
}

function filtered(command: Command): Command {
  return command
    .addOption(chainOption())
    .option("--actor <actor>", "who: admin:first, scim:okta; or admin, scim, node, server for all of them")
    .option("--action <start>", "how the action begins: user., group.join")
    .option("--subject <text>", "what the subject contains: a name, an id");
}

async function list(
  { audit, show }: Session,
  _: readonly string[],
  { since, until, limit, ...filter }: Filter & { since?: Date; until?: Date; limit: number },
): Promise<void> {
  const [from, to] = [printTime(since?.getTime()), printTime(until?.getTime())];
  const asked = { ...filter, ...(from && { since: from }), ...(to && { until: to }) };
  let found = await audit.listAudit({ ...asked, pageSize: limit });
  const { entries } = found;
  // A page of long entries is shorter than was asked for.
  while (entries.length < limit && found.nextPageToken !== "") {
    found = await audit.listAudit({ ...asked, pageSize: limit - entries.length, pageToken: found.nextPageToken });
    entries.push(...found.entries);
  }
  show(ListAuditResponseSchema, { ...found, entries }, (shown) => {
    const head = ["seq", "at", "actor", "cause", "action", "subject", "change"];
    return table(
      head,
      shown.entries.map((entry) => [
        `${entry.seq}`,
        showTime(entry.at),
        entry.actor,
        entry.cause,
        entry.action,
        entry.subject,
        change(entry),
      ]),
    );
  });
}

async function tail(
  { audit, stream, signal }: Session,
  _: readonly string[],
  { lines, from, ...filter }: Filter & { lines: number; from?: bigint },
): Promise<void> {
  let fromSeq = from ?? 0n;
  if (from === undefined && lines > 0) {
    const { entries } = await audit.listAudit({ ...filter, pageSize: lines });
    fromSeq = entries.at(-1)?.seq ?? 1n;
  }
  try {
    for await (const found of audit.tailAudit({ ...filter, fromSeq }, { timeoutMs: 0 })) {
      stream(TailAuditResponseSchema, found, ({ entry }) => (entry ? line(entry) : ""));
    }
  } catch (error) {
    // Ctrl-C is how a tail ends.
    if (!signal.aborted) throw error;
  }
}

async function verify(
  { audit, show }: Session,
  _: readonly string[],
  { org, head }: InOrg & { head?: Noted },
): Promise<Exit> {
  const found = await audit.verifyAudit({ org, ...head }, { timeoutMs: 0 });
  show(VerifyAuditResponseSchema, found, ({ count, hash, brokenSeq, why }) =>
    brokenSeq === 0n
      ? `${count} entries, each as it was written. Head ${count}:${plain(hash)}\n`
      : `Broken at entry ${brokenSeq}: ${plain(why)}. The ${count} before it hold together.\n`,
  );
  return found.brokenSeq === 0n ? exit.done : exit.failed;
}

function line(entry: AuditEntry): string {
  const { seq, at, actor, cause, action, subject } = entry;
  const words = [`${seq}`, showTime(at), actor, cause === "" ? "-" : cause, action, subject, change(entry)];
  return `${plain(words.join("  "))}\n`;
}

function change({ before, after }: AuditEntry): string {
  return `${before === "" ? "-" : before} -> ${after === "" ? "-" : after}`;
}

interface Noted {
  readonly notedSeq: bigint;
  readonly notedHash: string;
}

function parseHead(text: string): Noted {
  const [, seq, hash] = /^([1-9][0-9]{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined || hash === undefined) {
    throw new UsageError(`"${text}" is not a head as \`rollcall audit verify\` prints it, SEQ:HASH`);
  }
  return { notedSeq: BigInt(seq), notedHash: hash };
}

function parseSeq(text: string): bigint {
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new UsageError(`"${text}" is not the number of an entry`);
  return BigInt(text);
}

function parseLimit(text: string): number {
  const limit = parseCount(text);
  if (limit === 0) throw new UsageError(`"${text}" is not a number from 1 to 1000`);
  return limit;
}

function parseCount(text: string): number {
  const count = /^[0-9]{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (!(count <= 1000)) throw new UsageError(`"${text}" is not a number from 0 to 1000`);
  return count;
}

/** A day, which begins at midnight UTC, or a time. */
function parseWhen(text: string): Date {
  const at = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z)?$/.test(text) ? new Date(text) : undefined;
  if (!at || Number.isNaN(at.getTime())) {
    throw new UsageError(`"${text}" is not a time such as 2026-11-02 or 2026-11-02T12:00:00Z`);
  }
  return at;
}

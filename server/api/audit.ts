/** AuditService: who changed what, and whether that is still told as it was written. */

import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { quote, refuse } from "../../identity/refusal.ts";
import { type AuditEntry, AuditEntrySchema, type AuditService } from "../../proto/gen/rollcall/v1/audit_pb.ts";
import { parseTime, printTime } from "../../proto/wire.ts";
import { auditFrom, headOf, listAudit, verifyAudit } from "../directory/audit.ts";
import { orgId } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import type { AuditFilter } from "../store/audit.ts";
import { message, orDefault } from "./field.ts";
import { limitOf } from "./page.ts";

/** How often a tail looks for what is new, in milliseconds. */
const pollEvery = 1000;

export function auditService(ctx: Context): ServiceImpl<typeof AuditService> {
  const chain = async (name: string): Promise<string> => (name === "-" ? "" : orgId(ctx, orDefault(name)));
  return {
    async listAudit(request) {
      const org = await chain(request.org);
      const [since, until] = [parseTime(request.since), parseTime(request.until)];
      const filter = { ...filterOf(request), since, until };
      const { entries, next } = await listAudit(ctx, org, filter, parseToken(request.pageToken), limitOf(request));
      return { entries: entries.map(printEntry), nextPageToken: next === undefined ? "" : printToken(next) };
    },
    async *tailAudit(request, { signal }) {
      const org = await chain(request.org);
      const filter = filterOf(request);
      let from = request.fromSeq === 0n ? (await headOf(ctx, org)).seq + 1 : parseSeq("from_seq", request.fromSeq);
      while (true) {
        const found = auditFrom(ctx, org, filter, from);
        for (let turn = await found.next(); ; turn = await found.next()) {
          if (turn.done) {
            from = turn.value;
            break;
          }
          yield { entry: printEntry(turn.value) };
        }
        // Cancelled is as good as over: the signal is looked at next.
        await sleep(pollEvery, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) throw endOf(signal);
      }
    },
    async verifyAudit({ org, notedSeq, notedHash }) {
      const noted = notedSeq === 0n ? undefined : { seq: parseSeq("noted_seq", notedSeq), hash: notedHash };
      if (noted && !/^[0-9a-f]{64}$/.test(notedHash)) refuse("invalid", "noted_hash must be 64 hex digits");
      const { head, broken } = await verifyAudit(ctx, await chain(org), noted);
      return { count: BigInt(head.seq), hash: head.hash, brokenSeq: BigInt(broken?.seq ?? 0), why: broken?.why ?? "" };
    },
  };
}

function filterOf(asked: { readonly actor: string; readonly action: string; readonly subject: string }): AuditFilter {
  const given = (text: string): string | undefined => (text === "" ? undefined : text);
  return { actor: given(asked.actor), action: given(asked.action), subject: given(asked.subject) };
}

function parseSeq(field: string, seq: bigint): number {
  if (seq > BigInt(Number.MAX_SAFE_INTEGER)) refuse("invalid", `${field} ${seq} is beyond every entry`);
  return Number(seq);
}

/** Of a list: the number that the next page ends before. */
function printToken(seq: number): string {
  return Buffer.from(`before ${seq}`).toString("base64url");
}

function parseToken(token: string): number | undefined {
  if (token === "") return undefined;
  const [, digits] = /^before ([1-9][0-9]{0,14})$/.exec(Buffer.from(token, "base64url").toString()) ?? [];
  const seq = Number(digits);
  if (printToken(seq) !== token) refuse("invalid", `page_token ${quote(token)} is not a next_page_token of this list`);
  return seq;
}

function printEntry({ seq, at, actor, cause, action, subject, before, after, hash }: ReadEntry): AuditEntry {
  const told = { actor, cause, action, subject, before: before ?? "", after: after ?? "", hash };
  return message(AuditEntrySchema, { seq: BigInt(seq), at: printTime(at), ...told });
}

type ReadEntry = Awaited<ReturnType<typeof listAudit>>["entries"][number];

/** Why a tail ends early, for a client that is still there: its own deadline, or our stopping. */
function endOf({ reason }: AbortSignal): ConnectError {
  return reason instanceof ConnectError ? reason : new ConnectError("the server is stopping", Code.Unavailable);
}

/**
 * A6, A1, A4: the disk is full, hurt, read-only, over quota, or no file can be opened: once, or from then on, at every call with which an
 * apply changes a file. What is served is then whole, old or new, in the safe order; a crash at that moment is survived as any other;
 * the failure names the errno and is one that the agent retries; and the retry, in the same process, gets there once the fault is over.
 *
 * `ROLLCALL_FAULTS=all` puts every fault at every call (some minutes); otherwise every kind of call meets every fault of its, at calls spread
 * over the apply.
 */

import { join } from "node:path";
import { expect, test } from "vitest";
import { type Host, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";
import { Applier, type Call } from "./applier.ts";
import { openGround } from "./ground.ts";
import { expectSafe, filesIn, meaningOf } from "./step.ts";
import { copyOf, expectWhole, injecting, prepare, type Whole } from "./whole.ts";

/** What each call may come back with; `+` lasts until the fault is over. */
const faults: Readonly<Record<string, readonly string[]>> = {
  openat: ["EMFILE", "ENOSPC+", "EROFS+", "EDQUOT+", "EIO"],
  write: ["ENOSPC", "EIO", "EDQUOT+", "ENOSPC+", "EIO+"],
  fsync: ["EIO", "ENOSPC", "EDQUOT+", "EIO+"],
  rename: ["ENOSPC+", "EROFS+", "EIO", "EDQUOT"],
  unlink: ["EROFS+", "EIO"],
  ftruncate: ["EROFS", "EIO"],
  utimensat: ["EROFS+", "EIO"],
  fchmod: ["EROFS+", "EIO"],
  fchown: ["EROFS+", "EDQUOT"],
};

const few = 8;
const lanes = 2;

interface Case {
  readonly call: Call;
  readonly fault: string;
}

describeHosts("an agent whose disk fails in an apply", () => {
  test("serves whole files in a safe order, says what failed, and gets there by itself", async () => {
    await using lab = await openLab({ name: "errno" });
    await using host = await lab.host("login-1");
    const whole = await prepare(host);
    const cases = process.env["ROLLCALL_FAULTS"] === "all" ? everyCase(whole.made) : someCases(whole.made);
    const turns = cases.values();
    const lane = async (name: string): Promise<void> => {
      await using applier = await Applier.start(host);
      for (const turn of turns) await failAt(host, applier, name, turn, whole);
    };
    await Promise.all(Array.from({ length: lanes }, (_, n) => lane(`failing-${n}`)));
    console.log(`${cases.length} faults in an apply of ${whole.made.length} calls`);
  });
});

function everyCase(made: readonly Call[]): Case[] {
  return made.flatMap((call) => (faults[call.name] ?? []).map((fault) => ({ call, fault })));
}

/** Of each kind of call `few`, evenly spread, or as many as it has faults. */
function someCases(made: readonly Call[]): Case[] {
  return Object.entries(faults).flatMap(([name, known]) => {
    const calls = made.filter((call) => call.name === name);
    const count = calls.length === 0 ? 0 : Math.max(known.length, Math.min(few, calls.length));
    return Array.from({ length: count }, (_, n): Case => {
      const call = calls[Math.floor((n * calls.length) / count)];
      const fault = known[n % known.length];
      if (!call || fault === undefined) throw new Error("no call, or no fault");
      return { call, fault };
    });
  });
}

async function failAt(host: Host, applier: Applier, name: string, { call, fault }: Case, whole: Whole): Promise<void> {
  const state = await copyOf(host, name);
  const path = join(host.root, state);
  await applier.open(state);
  const [errno = "", lasts] = fault.split(/(?=\+)/);
  const injected = `error=${errno}:when=${call.nth}${lasts ? "+" : ""}`;
  const where = `after ${fault} at ${call.line}`;
  const outcome = await applier.applyUnder(injecting(applier, state, whole, call.name, injected));
  expect(outcome, where).toMatchObject({ ok: false, errno, retrying: true, reason: expect.stringContaining(errno) });
  expectSafe(where, filesIn(path), whole.old.files, whole.fresh.files);

  // A crash now, seen in a copy.
  const crashed = await copyOf(host, `${name}-crashed`, state);
  await expectWhole(`${where}, and a crash`, join(host.root, crashed), whole);

  expect(await applier.apply(), `${where}, tried again`).toEqual({ ok: true });
  expect(meaningOf(filesIn(path)), where).toEqual(meaningOf(whole.fresh.files));
  const { ground, repaired } = await openGround(path);
  expect({ at: ground.memory.at, changed: repaired?.changed }, where).toEqual({ at: whole.fresh.at, changed: [] });
}

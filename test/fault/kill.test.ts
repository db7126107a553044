/**
 * A6: the agent is killed at every system call with which an apply changes the disk, by strace, before that call is made. Each
 * served file is then whole, old or new, in the order of sink.ts's phases; the next start finishes the step or
 * finds it never begun, and knows where it is: no snapshot is needed.
 */

import { join } from "node:path";
import { expect, test } from "vitest";
import { type Host, openLab } from "../lab/host.ts";
import { describeHosts } from "../lab/suite.ts";
import { Applier, type Call } from "./applier.ts";
import { copyOf, expectWhole, injecting, prepare, type Whole } from "./whole.ts";

const lanes = 2;

describeHosts("an agent that is killed in an apply", () => {
  test("leaves whole files in a safe order, and finishes or forgets the step at its next start", async () => {
    await using lab = await openLab({ name: "kill" });
    await using host = await lab.host("login-1");
    const whole = await prepare(host);
    const kills = whole.made.filter(leavesTheDiskOtherwise);
    const outcomes: ("old" | "new")[] = [];
    const turns = kills.entries();
    const lane = async (name: string): Promise<void> => {
      for (const [at, call] of turns) outcomes[at] = await killAt(host, name, call, whole);
    };
    await Promise.all(Array.from({ length: lanes }, (_, n) => lane(`killed-${n}`)));

    // One call makes the step stand: a start after a kill before it has nothing to finish, after it always.
    const stands = kills.findIndex(({ line }) => /^\d+ +write\(\d+<[^>]+\/journal>, "begin/.test(line));
    expect(stands).toBeGreaterThan(0);
    expect(outcomes).toEqual(kills.map((_, at) => (at <= stands ? "old" : "new")));
  });
});

/**
 * Whether a kill before a call is another than one before the next call: the disk is the same before and after a `close`, or an `open` of
 * what is there.
 */
function leavesTheDiskOtherwise({ name, line }: Call): boolean {
  if (process.env["ROLLCALL_FAULTS"] === "all") return true;
  return name !== "close" && (name !== "openat" || line.includes("O_CREAT"));
}

/** Kills an apply before one of its calls, checks everything, and says where the next start led. */
async function killAt(host: Host, name: string, call: Call, whole: Whole): Promise<"old" | "new"> {
  const state = await copyOf(host, name);
  await using applier = await Applier.start(host);
  await applier.open(state);
  const fault = `signal=SIGKILL:when=${call.nth}`;
  const where = `after a kill before ${call.line}`;
  expect(await applier.applyUnder(injecting(applier, state, whole, call.name, fault)), where).toBe("SIGKILL");
  return expectWhole(where, join(host.root, state), whole);
}

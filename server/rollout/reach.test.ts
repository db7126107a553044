import { describe, expect, test } from "vitest";
import { nothing } from "../../identity/digest.ts";
import type { Role } from "../../identity/scope.ts";
import { anAssociation } from "../../identity/testing.ts";
import { type SinkHealth, unseen } from "../store/nodes.ts";
import type { NodeState, NodeStatus } from "./fleet.ts";
import { survey, turnIn, turnOut } from "./reach.ts";

const epoch = { seq: 2n, id: "b".repeat(32) };
const limits = { knownWithinSeconds: 30, cancelWithinSeconds: 60, finishWithinSeconds: 0 };

interface Said {
  readonly state?: NodeState;
  readonly acked?: bigint;
  readonly seq?: bigint;
  readonly slurm?: Partial<SinkHealth> | "none";
  readonly comparing?: boolean;
}

function node(name: string, role: Role, said: Said = {}): NodeStatus {
  const { state = "current", acked = 0n, seq = 2n, slurm, comparing = false } = said;
  const banned = state === "banned";
  const enrolment = {
    id: name,
    cluster: "c",
    role,
    name,
    enrolledAt: 0,
    serial: "",
    serialBefore: undefined,
    authority: undefined,
    trusts: [],
    expiresAt: 0,
  };
  const position = { epoch: { ...epoch, seq }, revision: acked, digest: nothing };
  const sink = { sink: "slurm", revision: 0n, reason: "", since: undefined, lingering: [] };
  const sinks = slurm === undefined ? undefined : slurm === "none" ? [] : [{ ...sink, ...slurm }];
  return {
    node: { ...enrolment, banned },
    state,
    progress: { ...unseen, acked: acked === 0n ? undefined : position, sinks, comparing },
    latency: undefined,
    deliveredBy: undefined,
  };
}

test("one that only compares is nobody: it is not waited for, nobody is known by it, and it lets nobody go", () => {
  const passage = { revision: 5n, at: 0, association: anAssociation("physics", 1, {}) };
  const ready = node("ctl", "controller", { acked: 5n, slurm: { revision: 5n } });
  // As one is that goes on comparing when it connects: its state alone does not say so yet.
  const behind = node("c1", "compute", { acked: 1n, comparing: true });
  expect(turnIn(survey([ready, behind], epoch), passage, 0, limits)).toEqual({ kind: "go", without: [] });
  const comparing = node("ctl-2", "controller", { acked: 5n, slurm: { revision: 5n }, comparing: true });
  const late = node("ctl", "controller", { acked: 1n, slurm: { revision: 1n } });
  const reach = survey([late, comparing], epoch);
  expect(turnIn(reach, passage, 0, limits)).toEqual({ kind: "wait", for: ["ctl"] });
  expect(turnOut(reach, passage, 0, limits)).toEqual({ kind: "wait", for: ["ctl"] });
});

describe("on the way in", () => {
  const at = (now: number, ...nodes: NodeStatus[]) =>
    turnIn(survey(nodes, epoch), { revision: 5n, at: 0 }, now, limits);
  const controller = node("ctl", "controller", { acked: 5n });
  const goes = { kind: "go", without: [] };

  test("everybody who is connected must know, and one of the controllers", () => {
    expect(at(0, controller, node("c", "compute", { acked: 6n }))).toEqual(goes);
    expect(at(0, controller, node("c", "compute", { acked: 4n }))).toEqual({ kind: "wait", for: ["c"] });
    expect(at(0, node("ctl", "controller", { acked: 4n }))).toEqual({ kind: "wait", for: ["ctl"] });
    expect(at(0, controller, node("ctl-b", "controller", { acked: 4n }))).toEqual({ kind: "wait", for: ["ctl-b"] });
    expect(at(0, controller, node("ctl-b", "controller", { state: "stale" }))).toEqual(goes);
  });

  test.each(["stale", "pending", "banned", "ahead"] as const)("a node that is %s is not waited for", (state) => {
    expect(at(0, controller, node("c", "compute", { state }))).toEqual(goes);
  });

  test.each(["current", "updating", "refused"] as const)("one that is %s is, until the limit", (state) => {
    const late = node("c", "compute", { state, acked: 4n });
    expect(at(29_999, controller, late)).toEqual({ kind: "wait", for: ["c"] });
    expect(at(30_000, controller, late)).toEqual({ kind: "go", without: ["c"] });
  });

  test("a controller as long as it takes, unless it is banned or has no such sink", () => {
    const late = 1e12;
    expect(at(late, node("ctl", "controller", { state: "stale" }))).toEqual({ kind: "wait", for: ["ctl"] });
    expect(at(0, node("ctl", "controller", { state: "banned" }), node("c", "compute"))).toEqual(goes);
    expect(at(0, node("ctl", "controller", { slurm: "none" }), node("c", "compute"))).toEqual(goes);
  });

  test("what was proved in another life of the log is nothing", () => {
    expect(at(0, node("ctl", "controller", { acked: 9n, seq: 1n }))).toMatchObject({ kind: "wait" });
    expect(at(0, controller, node("c", "compute", { acked: 9n, seq: 1n }))).toMatchObject({ kind: "wait" });
  });
});

describe("on the way out", () => {
  const association = anAssociation("physics", 0, {});
  const passing = (jobs: "cancel" | "finish", now: number, own: typeof limits, ...nodes: NodeStatus[]) =>
    turnOut(survey(nodes, epoch), { revision: 5n, at: 0, association: { ...association, jobs } }, now, own);
  const ctl = (slurm: Partial<SinkHealth>, acked = 5n) => node("ctl", "controller", { acked, slurm });
  const goes = { kind: "go", without: [] };
  const waits = { kind: "wait", for: ["ctl"] };

  test("a controller must have settled it, and hold it", () => {
    expect(passing("cancel", 0, limits, ctl({ revision: 5n }))).toEqual(goes);
    expect(passing("cancel", 0, limits, ctl({ revision: 4n }))).toEqual(waits);
    expect(passing("cancel", 0, limits, ctl({ revision: 9n }, 4n))).toEqual(waits);
    expect(passing("cancel", 0, limits, node("c", "compute", { acked: 5n, slurm: {} }))).toEqual(goes);
    expect(
      passing(
        "cancel",
        0,
        limits,
        ctl({ revision: 4n }),
        node("b", "controller", { acked: 5n, slurm: { revision: 5n } }),
      ),
    ).toEqual(goes);
  });

  test("of who may finish, no job lingers; it says nothing of others", () => {
    const lingering = ctl({ revision: 5n, lingering: [association.uid] });
    expect(passing("finish", 0, limits, lingering)).toEqual(waits);
    expect(passing("cancel", 0, limits, lingering)).toEqual(goes);
    expect(passing("finish", 0, limits, ctl({ revision: 5n, lingering: [association.uid + 1] }))).toEqual(goes);
  });

  test("the limits: of cancelling a minute, of finishing none unless it is set", () => {
    const behind = ctl({ revision: 4n });
    expect(passing("cancel", 59_999, limits, behind)).toEqual(waits);
    expect(passing("cancel", 60_000, limits, behind)).toEqual({ kind: "go", without: ["ctl"] });
    expect(passing("finish", 1e12, limits, behind)).toEqual(waits);
    expect(passing("finish", 7000, { ...limits, finishWithinSeconds: 7 }, behind)).toEqual({
      kind: "go",
      without: ["ctl"],
    });
    expect(passing("cancel", 0, { ...limits, cancelWithinSeconds: 0 }, behind)).toEqual({
      kind: "go",
      without: ["ctl"],
    });
  });
});

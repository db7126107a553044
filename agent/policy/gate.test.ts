import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commit, emptyCopy, type Step } from "../../identity/copy.ts";
import { print, type Resource } from "../../identity/resource.ts";
import { apply, repair, start } from "../apply.ts";
import { contents, key, member, person, stepTo, sudo, team } from "../sample.ts";
import { SimulatedDisk } from "../simulated-disk.ts";
import { nssSink } from "../sinks/nss/sink.ts";
import { sshSink } from "../sinks/ssh.ts";
import { sudoSink } from "../sinks/sudo/sink.ts";
import { Gate } from "./gate.ts";
import { parseLocal } from "./local.ts";
import { type Policy, unstated } from "./policy.ts";
import { parsePolicy } from "./read.ts";

async function open(gate: Gate, disk = new SimulatedDisk()) {
  const sinks = (_: unknown, served: string) => [
    nssSink(disk, served),
    sshSink(disk, served, async () => undefined),
    sudoSink(disk, served, async () => undefined),
  ];
  const { ground } = await start({ disk, state: "/state", sinks, gids: new Map(), gate });
  return { disk, ground };
}

const served = (disk: SimulatedDisk) => {
  const text = [...disk.files()].filter(([path]) => path.startsWith("/state/served/")).map(([, each]) => each);
  return text.join("");
};

/** A gate, and a way to write its file. */
function gateOf(text: string) {
  let now: Policy | Error | undefined = parsePolicy(text);
  const complaints: string[] = [];
  const read = async () => {
    if (now instanceof Error) throw now;
    return now;
  };
  const gate = new Gate(now, read, (err) => complaints.push(String(err)));
  return {
    gate,
    complaints,
    write: (next: string | Error | undefined) => {
      now = typeof next === "string" ? parsePolicy(next) : next;
    },
  };
}

describe("one entry that breaks a rule is left out alone, by name", () => {
  test.each<[string, string, readonly Resource[], string, string]>([
    [
      "a uid",
      "uids: [200002-524287]",
      [person(1)],
      "user/200001",
      "policy: uid 200001 is outside 200002..524287 (uids)",
    ],
    ["a gid", "gids: [70000-70005]", [team(9)], "group/70009", "policy: gid 70009 is outside 70000..70005 (gids)"],
    [
      "a primary gid",
      "gids: [70000-70005]",
      [person(1, { gid: 80_000 })],
      "user/200001",
      "policy: gid 80000 is outside 70000..70005 (gids)",
    ],
    [
      "a user's name",
      "reserved_users: [user1]",
      [person(1)],
      "user/200001",
      "policy: the user user1 is reserved (reserved_users)",
    ],
    [
      "a group's name",
      "reserved_groups: [team9]",
      [team(9)],
      "group/70009",
      "policy: the group team9 is reserved (reserved_groups)",
    ],
    [
      "a private group's name",
      "reserved_groups: [user1]",
      [person(1)],
      "user/200001",
      "policy: the group user1 is reserved (reserved_groups)",
    ],
    [
      "a shell",
      "shells: [/bin/bash]",
      [{ ...person(1), shell: "/bin/zsh" }],
      "user/200001",
      "policy: the shell /bin/zsh is not listed (shells)",
    ],
    ["sudo of nobody listed", "sudo: {}", [sudo(5)], "sudo/70005", "policy: the group team5 may run nothing (sudo)"],
    [
      "sudo of more",
      "sudo: {team5: [/bin/a]}",
      [sudo(5, ["/bin/a", "/bin/b"])],
      "sudo/70005",
      "policy: the group team5 may not run /bin/b (sudo)",
    ],
    [
      "sudo of ALL",
      "sudo: {team5: [/bin/a]}",
      [sudo(5, "ALL")],
      "sudo/70005",
      "policy: the group team5 may not run ALL (sudo)",
    ],
  ])("%s", async (_, policy, bad, denied, reason) => {
    const { disk, ground } = await open(gateOf(policy).gate);
    const good = [person(7), team(5), member(5, 7), key(7, 1)];
    const step = stepTo(ground.memory.copy, [...good, ...bad]);
    const { at, isolated } = await apply(ground, step);
    expect(at).toEqual(step.to);
    expect(isolated.get("policy")).toEqual([{ key: denied, reason }]);
    const alone = await open(new Gate());
    await apply(alone.ground, stepTo(alone.ground.memory.copy, good));
    expect(served(disk)).toBe(served(alone.disk));
  });
});

test("keys and memberships of somebody who is left out are too", async () => {
  const { disk, ground } = await open(gateOf("uids: [200005-524287]").gate);
  const { isolated } = await apply(
    ground,
    stepTo(ground.memory.copy, [person(1), key(1, 1), team(1), member(1, 1), sudo(1)]),
  );
  expect(isolated.get("ssh")).toHaveLength(1);
  expect(isolated.get("nss")).toHaveLength(1);
  expect(served(disk)).not.toContain("user1");
});

test("a group that takes another's name takes no more than that name may have", async () => {
  const { disk, ground } = await open(gateOf("sudo: {ops: ALL}").gate);
  await apply(ground, stepTo(ground.memory.copy, [team(1, "ops"), sudo(1, "ALL")]));
  expect(served(disk)).toContain("%ops ");
  await apply(ground, stepTo(ground.memory.copy, [team(1, "others"), sudo(1, "ALL")]));
  expect(served(disk)).not.toContain("%");
  await apply(ground, stepTo(ground.memory.copy, [team(1, "ops"), sudo(1, "ALL")]));
  expect(served(disk)).toContain("%ops ");
});

describe("too many people at once", () => {
  const people = (count: number) => Array.from({ length: count }, (_, n) => person(n));

  test.each([
    [30, 25, "shrink: {people: 5, share: 0.1}", true],
    [30, 24, "shrink: {people: 5, share: 0.1}", false],
    [30, 24, "shrink: {people: 6, share: 0.1}", true],
    [10, 4, "shrink: {people: 5, share: 0.6}", true],
    [10, 3, "shrink: {people: 5, share: 0.6}", false],
    [30, 0, "", false],
    [30, 1, "", true],
    [20, 0, "", true],
  ])("%i to %i under %j: %s", async (before, after, policy, isTaken) => {
    const { ground } = await open(gateOf(policy).gate);
    await apply(ground, stepTo(ground.memory.copy, people(before)));
    const step = stepTo(ground.memory.copy, people(after));
    const error: unknown = await apply(ground, step).catch((reason: unknown) => reason);
    if (isTaken) return expect(error).toMatchObject({ at: step.to });
    expect(error).toMatchObject({ sink: "policy", act: "admit", retryable: true });
    expect(String(error)).toContain(`policy: this would take away ${before - after} of ${before} people`);
    expect(ground.memory.at).toEqual(step.from);
    expect(ground.memory.unfinished).toBeUndefined();
  });

  test("is tried again, and taken, once the policy allows it", async () => {
    const { gate, write } = gateOf("shrink: {people: 1, share: 0}");
    const { ground } = await open(gate);
    await apply(ground, stepTo(ground.memory.copy, people(9)));
    const step = stepTo(ground.memory.copy, []);
    await expect(apply(ground, step)).rejects.toThrow("(shrink)");
    write("shrink: {people: 9, share: 0}");
    expect(await apply(ground, step)).toMatchObject({ at: step.to });
  });
});

describe("a policy that changes", () => {
  test("counts at the next step, also for what is served already", async () => {
    const { gate, write } = gateOf("");
    const { disk, ground } = await open(gate);
    await apply(ground, stepTo(ground.memory.copy, [person(1), person(2)]));
    write("reserved_users: [user1]");
    await apply(ground, stepTo(ground.memory.copy, [person(1), person(2), person(3)]));
    expect(served(disk)).not.toContain("user1:");
    write("");
    await apply(ground, stepTo(ground.memory.copy, [person(1), person(2)]));
    expect(served(disk)).toContain("user1:");
  });

  test("is not forgotten when the repair that it needs fails", async () => {
    const { gate, write } = gateOf("");
    const { disk, ground } = await open(gate);
    await apply(ground, stepTo(ground.memory.copy, [person(1), person(2)]));
    write("reserved_users: [user1]");
    disk.fault = { kind: "errno", at: disk.calls + 5, code: "ENOSPC" };
    const step = stepTo(ground.memory.copy, [person(1), person(2), person(3)]);
    await expect(apply(ground, step)).rejects.toThrow("ENOSPC");
    await apply(ground, step);
    expect(served(disk)).not.toContain("user1:");
  });

  test("to one that cannot be used, or is gone, leaves the last good one, and says so", async () => {
    const { gate, write, complaints } = gateOf("reserved_users: [user1]");
    const { disk, ground } = await open(gate);
    for (const broken of [new Error("no YAML"), undefined]) {
      write(broken);
      await apply(ground, stepTo(ground.memory.copy, [person(1), person(2)]));
      await repair(ground);
      expect(served(disk)).not.toContain("user1:");
    }
    expect(complaints).toEqual(["Error: no YAML", "Error: the policy file is gone"]);
  });
});

describe("the node's own accounts", () => {
  const none = { passwd: "", group: "", subuid: "" };

  /** A gate above an /etc that a test can write. */
  function above(texts: Partial<typeof none>) {
    let now = parseLocal({ ...none, ...texts });
    let isOther = true;
    const local = {
      get now() {
        return now;
      },
      refresh: async () => {
        const was = isOther;
        isOther = false;
        return was;
      },
    };
    return {
      gate: new Gate(unstated, async () => unstated, undefined, local),
      write: (next: Partial<typeof none>) => {
        now = parseLocal({ ...none, ...next });
        isOther = true;
      },
    };
  }

  test("win: of a user or a group that has the name or the number of one, no sink sees anything", async () => {
    const { gate } = above({ passwd: "user1:x:1001:1001::/:/bin/sh\nx:x:200002:1::/:/bin/sh", group: "team1:x:1001:" });
    const { disk, ground } = await open(gate);
    const good = [person(3), key(3, 3), team(2), member(2, 3), sudo(2)];
    const bad = [person(1), key(1, 1), person(2), key(2, 2), team(1), sudo(1, "ALL")];
    const { isolated } = await apply(ground, stepTo(ground.memory.copy, [...good, ...bad]));
    expect(isolated.get("policy")).toEqual([
      { key: "user/200001", reason: "local: the user user1 is in this node's own /etc/passwd, with uid 1001" },
      { key: "user/200002", reason: "local: uid 200002 is x's in this node's own /etc/passwd" },
      { key: "group/70001", reason: "local: the group team1 is in this node's own /etc/group, with gid 1001" },
    ]);
    expect(isolated.get("sudo")).toEqual([{ key: "sudo/70001", reason: "group 70001 is not known here" }]);
    const alone = await open(new Gate());
    await apply(alone.ground, stepTo(alone.ground.memory.copy, good));
    expect(served(disk)).toBe(served(alone.disk));
  });

  test("that may become people in containers are said, and nobody is kept back", async () => {
    const { gate } = above({ subuid: "bob:200001:2" });
    const { disk, ground } = await open(gate);
    const reason = (who: string) =>
      `local: served, but bob may become ${who} in containers: 200001..200002 in this node's own /etc/subuid`;
    const first = await apply(ground, stepTo(ground.memory.copy, [person(1), person(3)]));
    expect(first.isolated.get("policy")).toEqual([{ key: "user/200001", reason: reason("user1") }]);
    expect(served(disk)).toContain("user1:");
    const second = await apply(ground, stepTo(ground.memory.copy, [person(1), person(2), person(3)]));
    expect(second.isolated.get("policy")).toEqual([{ key: "user/200001", reason: reason("user1 (and 1 others)") }]);
    const repaired = await repair(ground);
    expect(repaired?.isolated.get("policy")).toHaveLength(1);
    const last = await apply(ground, stepTo(ground.memory.copy, [person(3)]));
    expect(last.isolated.get("policy")).toBeUndefined();
  });

  test("that come take away what is served, at the next step or repair; that go give it back", async () => {
    const { gate, write } = above({});
    const { disk, ground } = await open(gate);
    const all = [person(1), key(1, 1), person(2)];
    await apply(ground, stepTo(ground.memory.copy, all));
    expect(served(disk)).toContain("user1:");
    write({ passwd: "user1:x:1001:1001::/:/bin/sh" });
    const repaired = await repair(ground);
    expect(repaired?.isolated.get("policy")).toHaveLength(1);
    expect(served(disk)).not.toContain("user1:");
    expect([...disk.files().keys()]).not.toContain("/state/served/ssh/authorized_keys.d/user1");
    write({});
    await apply(ground, stepTo(ground.memory.copy, [...all, person(3)]));
    expect(served(disk)).toContain("user1:");
    write({ group: "user3:x:70:" });
    const { isolated } = await apply(ground, stepTo(ground.memory.copy, all));
    expect(isolated.get("policy")).toBeUndefined();
    expect(served(disk)).not.toContain("user3:");
  });
});

test("whatever is sent, sinks see exactly what the policy lets through, step by step as at once", () => {
  const policy = parsePolicy("uids: [200000-200004]\nreserved_users: [ax]\nreserved_groups: [gx]\nsudo: {hx: ALL}");
  const scopes = fc
    .tuple(contents, fc.subarray([0, 1, 2, 3]))
    .map(([content, rules]) => [...content, ...rules.map((n) => sudo(n))]);
  fc.assert(
    fc.property(fc.array(scopes, { maxLength: 5 }), (story) => {
      const gate = new Gate({ ...policy, shrink: unstated.shrink });
      const copy = emptyCopy();
      const seen = emptyCopy();
      for (const content of story) {
        const step = stepTo(copy, content);
        const admitted: { step: Step } = gate.step(copy, step);
        for (const { key: name, before } of admitted.step.edits) expect(seen.resources.get(name)).toEqual(before);
        commit(seen, admitted.step);
        commit(copy, step);
        const whole = new Gate(policy).copy(copy).copy;
        expect([...seen.resources.values()].map(print).sort()).toEqual([...whole.resources.values()].map(print).sort());
      }
    }),
  );
});

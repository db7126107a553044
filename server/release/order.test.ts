import { describe, expect, test } from "vitest";
import { keyOf, type Resource } from "../../identity/resource.ts";
import { aKey, aMember, anAssociation, aUser } from "../../identity/testing.ts";
import type { OwnedEdit } from "../store/log.ts";
import type { Passage, Way } from "../store/passages.ts";
import { arrange } from "./order.ts";

const ada = aUser(0);
const physics = anAssociation("physics", 0, {});

function edit(before: Resource | undefined, after: Resource | undefined): OwnedEdit {
  const some = after ?? before;
  if (!some) throw new Error("nothing is edited");
  return { key: keyOf(some), owner: "ada", before, after };
}

const put = (resource: Resource): OwnedEdit => edit(undefined, resource);
const removal = (resource: Resource): OwnedEdit => edit(resource, undefined);

function passage(way: Way, association = physics): Passage {
  return { key: keyOf(association), way, owner: "ada", association, revision: 7n, cause: "", at: 0 };
}

const leaver = [removal(ada), removal(aMember(0, 0)), removal(aKey(0, "k"))];

describe("on the way in", () => {
  test("an association waits, and nothing else does", () => {
    const edits = [put(ada), put(aMember(0, 0)), put(physics)];
    expect(arrange(edits, [], true)).toEqual({ go: edits.slice(0, 2), wait: [put(physics)], out: [], withdrawn: [] });
  });

  test("what changes of one that is there goes at once", () => {
    const changed = edit(physics, { ...physics, adminLevel: "operator" });
    expect(arrange([changed], [], true)).toMatchObject({ go: [changed], wait: [] });
  });

  test("the old default stays until the new one comes, the rest of it does not", () => {
    const optics = { ...anAssociation("optics", 0, {}), isDefault: true };
    const moved = { ...physics, isDefault: false };
    expect(arrange([put(optics), edit(physics, moved)], [], true)).toEqual({
      go: [],
      wait: [put(optics), edit(physics, moved)],
      out: [],
      withdrawn: [],
    });
    const limited = edit(physics, { ...moved, limits: { maxjobs: "1" } });
    expect(arrange([put(optics), limited], [], true).go).toEqual([
      edit(physics, { ...physics, limits: { maxjobs: "1" } }),
    ]);
    // A default that nobody else is given moves at once.
    expect(arrange([edit(physics, moved)], [], true).go).toEqual([edit(physics, moved)]);
  });

  test("what waits and is not wanted any more is withdrawn", () => {
    expect(arrange([], [passage("in")], true).withdrawn).toEqual([keyOf(physics)]);
    expect(arrange([put(physics)], [passage("in")], true)).toMatchObject({ wait: [put(physics)], withdrawn: [] });
  });
});

describe("on the way out", () => {
  test("who has an association is locked; all else of theirs goes", () => {
    const edits = [...leaver, removal(physics)];
    const { go, out } = arrange(edits, [], true);
    expect(go).toEqual([edit(ada, { ...ada, locked: true }), ...edits.slice(1)]);
    expect(out).toEqual([removal(physics)]);
  });

  test("who has none goes, unless Slurm has yet to let go of one", () => {
    expect(arrange(leaver, [], true).go).toEqual(leaver);
    expect(arrange(leaver, [passage("in")], true).go).toEqual(leaver);
    expect(arrange(leaver, [passage("out")], true).go[0]).toEqual(edit(ada, { ...ada, locked: true }));
  });

  test("who is locked stays so until that is done", () => {
    const gone = removal({ ...ada, locked: true });
    expect(arrange([gone], [passage("out")], true).go).toEqual([]);
    expect(arrange([gone], [], true).go).toEqual([gone]);
  });

  test("another's jobs keep nobody", () => {
    const other = { ...removal(anAssociation("physics", 1, {})), owner: "bob" };
    expect(arrange([...leaver, other], [], true).go).toEqual([...leaver, other]);
  });
});

test("where nothing keeps Slurm, all goes", () => {
  const edits = [...leaver, removal(physics), put(anAssociation("optics", 0, {}))];
  const all = arrange(edits, [passage("in"), passage("out")], false);
  expect(all).toEqual({ go: edits, wait: [], out: [], withdrawn: [keyOf(physics)] });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commit, emptyCopy, prepare, prepareSnapshot } from "./copy.ts";
import { type Change, cut, type Delta, merge } from "./delta.ts";
import { nothing, shift } from "./digest.ts";
import type { Position } from "./position.ts";
import { keyOf, type Resource, type ResourceKey } from "./resource.ts";
import { aGroup, aMember, anyHistory, aUser } from "./testing.ts";

const epoch = { seq: 1n, id: "a".repeat(32) };

function at(revision: bigint, held: Iterable<Resource>): Position {
  return { epoch, revision, digest: shift(nothing, held, []) };
}

/** Plays a history; gives each revision's position and content. */
function play(history: readonly { puts: Resource[]; removals: ResourceKey[] }[]) {
  const held = new Map<ResourceKey, Resource>();
  const states: { position: Position; held: Resource[] }[] = [{ position: at(1n, []), held: [] }];
  const changes: Change[] = [];
  for (const [index, { puts, removals }] of history.entries()) {
    const revision = BigInt(index + 2);
    for (const key of removals) {
      held.delete(key);
      changes.push({ revision, key, put: undefined });
    }
    for (const put of puts) {
      held.set(keyOf(put), put);
      changes.push({ revision, key: keyOf(put), put });
    }
    states.push({ position: at(revision, held.values()), held: [...held.values()] });
  }
  return { states, changes };
}

function copyAt(state: { position: Position; held: Resource[] }) {
  const copy = emptyCopy();
  commit(copy, prepareSnapshot(copy, state.position, state.held));
  return copy;
}

function contents(resources: Iterable<Resource>): string[] {
  return [...resources].map((resource) => JSON.stringify(resource)).sort();
}

describe("P6: snapshot(a) + delta(a, b) = snapshot(b)", () => {
  test("for every two revisions of any history", () => {
    fc.assert(
      fc.property(anyHistory, fc.nat(), fc.nat(), (history, x, y) => {
        const { states, changes } = play(history);
        const [a, b] = [x % states.length, y % states.length].sort((m, n) => m - n) as [number, number];
        const [from, to] = [states[a], states[b]];
        if (!from || !to || a === b) return;
        const between = changes.filter(
          ({ revision }) => revision > from.position.revision && revision <= to.position.revision,
        );
        const delta = cut(from.position, to.position, between);
        const copy = copyAt(from);
        commit(copy, prepare(copy, delta));
        expect(contents(copy.resources.values())).toEqual(contents(to.held));
        expect(copy.at).toEqual(to.position);
      }),
      { numRuns: 500 },
    );
  });

  test("a merged delta does what its parts do", () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        const { states, changes } = play(history);
        const [first, ...rest] = states;
        if (!first || rest.length < 2) return;
        const deltas = states.slice(1).map((state, index) => {
          const before = states[index] ?? first;
          return cut(
            before.position,
            state.position,
            changes.filter(({ revision }) => revision === state.position.revision),
          );
        });
        const merged = deltas.reduce(merge);
        const copy = copyAt(first);
        commit(copy, prepare(copy, merged));
        expect(copy.at).toEqual(states.at(-1)?.position);
      }),
      { numRuns: 200 },
    );
  });
});

describe("P5: what does not fit changes nothing", () => {
  const ada = aUser(1);
  const bob = aUser(2);
  const before = { position: at(4n, [ada]), held: [ada] };
  const delta: Delta = { from: before.position, to: at(5n, [ada, bob]), puts: [bob], removals: [] };

  test.each<[string, Delta, RegExp]>([
    ["another epoch", { ...delta, from: { ...delta.from, epoch: { seq: 2n, id: "b".repeat(32) } } }, /epoch/],
    [
      "another life of the same epoch",
      { ...delta, from: { ...delta.from, epoch: { seq: 1n, id: "b".repeat(32) } } },
      /epoch/,
    ],
    ["a missed revision", { ...delta, from: { ...delta.from, revision: 3n } }, /starts at revision 3/],
    ["other content", { ...delta, from: { ...delta.from, digest: at(4n, [bob]).digest } }, /other content/],
    ["an end before its start", { ...delta, to: { ...delta.to, revision: 4n } }, /ends at revision 4/],
    ["a crossing of epochs", { ...delta, to: { ...delta.to, epoch: { seq: 2n, id: "b".repeat(32) } } }, /crosses/],
    ["a wrong end digest", { ...delta, to: { ...delta.to, digest: nothing } }, /end digest/],
    ["one flipped bit in a record", { ...delta, puts: [aUser(2, { gecos: "Vser 2" })] }, /end digest/],
    ["a resource named twice", { ...delta, removals: [keyOf(bob)] }, /twice/],
  ])("%s", (_, hostile, reason) => {
    const copy = copyAt(before);
    expect(() => prepare(copy, hostile)).toThrow(reason);
    expect(copy.at).toEqual(before.position);
    expect(contents(copy.resources.values())).toEqual(contents([ada]));
  });

  test("a duplicate of a delta that was applied", () => {
    const copy = copyAt(before);
    commit(copy, prepare(copy, delta));
    expect(() => prepare(copy, delta)).toThrow(/starts at revision 4, this copy is at 5/);
  });
});

describe("P4: a snapshot never goes backwards inside an epoch", () => {
  const copy = copyAt({ position: at(9n, [aUser(1)]), held: [aUser(1)] });

  test.each([
    ["a lower revision", at(8n, []), /goes back to revision 8/],
    ["an older epoch", { ...at(99n, []), epoch: { seq: 0n, id: "0".repeat(32) } }, /epoch 0/],
    ["another life of the same epoch", { ...at(99n, []), epoch: { seq: 1n, id: "b".repeat(32) } }, /another epoch 1/],
    ["content that is not its digest's", at(9n, [aUser(2)]), /not its digest/],
  ])("%s is refused", (_, to, reason) => {
    expect(() => prepareSnapshot(copy, to, [])).toThrow(reason);
  });

  test("a higher epoch may", () => {
    const to = { ...at(2n, [aUser(2)]), epoch: { seq: 2n, id: "b".repeat(32) } };
    const step = prepareSnapshot(copy, to, [aUser(2)]);
    expect(step.edits.map(({ key }) => key)).toEqual(["user/200001", "user/200002"]);
  });

  test("only what differs is in the step", () => {
    const same = prepareSnapshot(copy, at(10n, [aUser(1), aGroup(1)]), [aUser(1), aGroup(1)]);
    expect(same.edits.map(({ key }) => key)).toEqual(["group/70001"]);
  });
});

describe("names are one person's", () => {
  const copy = copyAt({ position: at(1n, [aUser(1), aMember(1, 1)]), held: [aUser(1), aMember(1, 1)] });
  const rival = aUser(2, { name: "user1" });

  test("a second holder of a name is refused", () => {
    const to = at(2n, [aUser(1), aMember(1, 1), rival]);
    expect(() => prepare(copy, { from: copy.at, to, puts: [rival], removals: [] })).toThrow(
      /would both be named user1/,
    );
  });

  test("also when the first one is put again in the same delta", () => {
    const again = aUser(1, { gecos: "again" });
    const to = at(2n, [again, aMember(1, 1), rival]);
    for (const puts of [
      [again, rival],
      [rival, again],
    ]) {
      expect(() => prepare(copy, { from: copy.at, to, puts, removals: [] })).toThrow(/would both be named user1/);
    }
  });

  test("a name that is freed in the same delta may be taken", () => {
    const to = at(2n, [aMember(1, 1), rival]);
    const step = prepare(copy, { from: copy.at, to, puts: [rival], removals: [keyOf(aUser(1))] });
    expect(step.edits).toHaveLength(2);
  });
});

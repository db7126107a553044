import fc from "fast-check";
import { expect, test } from "vitest";
import { type ChainHead, type Deed, type Entry, empty, follow, next } from "./chain.ts";

const text = fc.string({ unit: "binary", maxLength: 8 });
const json = fc.option(text, { nil: null });
const deed: fc.Arbitrary<Deed> = fc.record({
  org: fc.constantFrom("", "o1"),
  actor: text,
  cause: text,
  action: text,
  subject: text,
  before: json,
  after: json,
});

function chained(deeds: readonly Deed[], from: ChainHead = empty): Entry[] {
  const entries: Entry[] = [];
  for (const [i, each] of deeds.entries()) entries.push(next(entries.at(-1) ?? from, each, 1000 + i));
  return entries;
}

const chain = fc.array(deed, { minLength: 2, maxLength: 12 }).map((deeds) => chained(deeds));
const place = fc.nat();

test("a chain is followed to its head, also piece by piece", () => {
  fc.assert(
    fc.property(chain, place, (entries, cut) => {
      const last = entries.at(-1);
      const head = { seq: entries.length, hash: last?.hash };
      expect(follow(empty, entries)).toEqual(head);
      const first = follow(empty, entries.slice(0, cut % entries.length)) as ChainHead;
      expect(follow(first, entries.slice(cut % entries.length))).toEqual(head);
    }),
  );
});

test("any edit of one field is found at its entry", () => {
  const fields = ["org", "actor", "cause", "action", "subject", "before", "after", "hash", "at"] as const;
  fc.assert(
    fc.property(chain, place, fc.constantFrom(...fields), text, (entries, at, field, value) => {
      const i = at % entries.length;
      const edited = entries.map((entry, j) => {
        return i === j ? { ...entry, [field]: field === "at" ? entry.at + 1 : value } : entry;
      });
      fc.pre(edited[i]?.[field] !== entries[i]?.[field]);
      expect(follow(empty, edited)).toMatchObject({ seq: i + 1, why: expect.stringContaining("hash") });
    }),
  );
});

test("an entry that was removed, but for the newest, is found", () => {
  fc.assert(
    fc.property(chain, place, (entries, at) => {
      const i = at % (entries.length - 1);
      expect(follow(empty, entries.toSpliced(i, 1))).toMatchObject({
        seq: i + 1,
        why: expect.stringContaining("missing"),
      });
      // Also if the later ones are counted anew.
      const counted = entries.toSpliced(i, 1).map((entry, j) => ({ ...entry, seq: j + 1 }));
      expect(follow(empty, counted)).toMatchObject({ seq: i + 1, why: expect.stringContaining("hash") });
    }),
  );
});

test("two entries that changed places are found", () => {
  fc.assert(
    fc.property(chain, place, place, (entries, a, b) => {
      const [i, j] = [a % entries.length, b % entries.length];
      fc.pre(i !== j);
      const swapped = entries.with(i, entries[j] as Entry).with(j, entries[i] as Entry);
      expect(follow(empty, swapped)).toMatchObject({ seq: Math.min(i, j) + 1 });
      const counted = swapped.map((entry, k) => ({ ...entry, seq: k + 1 }));
      expect(follow(empty, counted)).toMatchObject({ seq: Math.min(i, j) + 1 });
    }),
  );
});

test("an entry that was put in between is found, even one that fits what is before it", () => {
  fc.assert(
    fc.property(chain, place, deed, (entries, at, extra) => {
      const i = at % entries.length;
      const forged = next(entries[i - 1] ?? empty, extra, 5);
      const with_ = entries.toSpliced(i, 0, forged);
      expect(follow(empty, with_)).toHaveProperty("why");
      expect(
        follow(
          empty,
          with_.map((entry, j) => ({ ...entry, seq: j + 1 })),
        ),
      ).toHaveProperty("why");
    }),
  );
});

test("what stands in one field cannot be told as if it stood in the next", () => {
  const plain: Deed = { org: "", actor: "a", cause: "b", action: "c", subject: "d", before: null, after: null };
  const variants: Deed[] = [
    plain,
    { ...plain, actor: "", cause: "ab" },
    { ...plain, actor: 'a","b', cause: "" },
    { ...plain, before: "null" },
    { ...plain, after: "" },
    { ...plain, before: "", after: null },
  ];
  expect(new Set(variants.map((each) => next(empty, each, 1).hash)).size).toBe(variants.length);
});

test("the form that hashes are of never changes", () => {
  const first: Deed = {
    org: "o",
    actor: "admin:first",
    cause: "cli",
    action: "user.update",
    subject: "ada",
    before: '{"active":true}',
    after: null,
  };
  expect(next(empty, first, 1_700_000_000_000).hash).toMatchInlineSnapshot(
    `"5e4c8a1fc78d510d0b6075989afe6a1d513d9df3cde23afa548fe035e568545d"`,
  );
});

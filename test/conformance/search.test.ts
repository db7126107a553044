/**
 * Filters and sorting: for random directories and random filters, what the store's SQL finds is what an evaluation of the
 * same tree finds in the resources as they are shown. The two share the schema and the reading of literals, nothing else.
 */

import fc from "fast-check";
import { expect, test } from "vitest";
import { fold } from "../../identity/fold.ts";
import { orgId } from "../../server/directory/clusters.ts";
import { createGroup, listGroups } from "../../server/directory/groups.ts";
import { createUser, everything, listUsers } from "../../server/directory/users.ts";
import { parseFilter } from "../../server/scim/filter.ts";
import { renderGroup } from "../../server/scim/group-resource.ts";
import type { Doc } from "../../server/scim/json.ts";
import { resourcePredicate } from "../../server/scim/match.ts";
import { search } from "../../server/scim/query.ts";
import { groupType, type ResourceType, userType } from "../../server/scim/schema.ts";
import { renderUser, toInput } from "../../server/scim/user-resource.ts";
import { readResource } from "../../server/scim/value.ts";
import { runs } from "../processes/postgres.ts";
import { type ScimServer, scimServer } from "./scim-server.ts";

const okta = { kind: "scim", connection: "okta" } as const;
const base = "https://rollcall.example/scim/default/v2";
const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const posix = "urn:rollcall:params:scim:schemas:extension:posix:1.0:User";

/** Few values, so that they meet; with what LIKE, folding and code points could get wrong. */
const texts = [
  "a",
  "A",
  "ab",
  "B",
  "a%",
  "a_b",
  "\\",
  "İ",
  "ß",
  "é",
  "e\u0301",
  "😀",
  "\uffee",
  "work",
  "home",
  "true",
  "7",
];
const anyText = fc.constantFrom(...texts);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const anyValue = fc.record({
  value: optional(anyText),
  type: optional(fc.constantFrom("work", "home", "Work")),
  display: optional(anyText),
});
const anyPerson = fc.record({
  externalId: optional(fc.constantFrom("x", "X", "1")),
  active: fc.boolean(),
  title: optional(anyText),
  displayName: optional(anyText),
  name: optional(fc.record({ givenName: optional(anyText), familyName: optional(anyText) })),
  emails: optional(fc.array(anyValue, { maxLength: 3 })),
  photos: optional(fc.array(fc.record({ value: anyText }), { maxLength: 2 })),
  addresses: optional(fc.array(fc.record({ locality: optional(anyText), type: optional(anyText) }), { maxLength: 2 })),
  [enterprise]: optional(
    fc.record({ department: optional(anyText), manager: optional(fc.record({ value: anyText })) }),
  ),
});

interface World {
  readonly people: readonly Record<string, unknown>[];
  /** Of each group, which of the users and which of the earlier groups are in it. */
  readonly groups: readonly { readonly users: readonly number[]; readonly groups: readonly number[] }[];
}

const anyWorld: fc.Arbitrary<World> = fc.record({
  people: fc.array(anyPerson, { minLength: 1, maxLength: 6 }),
  groups: fc.array(
    fc.record({ users: fc.array(fc.nat(5), { maxLength: 3 }), groups: fc.array(fc.nat(3), { maxLength: 2 }) }),
    { maxLength: 4 },
  ),
});

async function populate({ ctx }: ScimServer, org: string, { people, groups }: World): Promise<void> {
  const users: string[] = [];
  for (const [n, person] of people.entries()) {
    const body = readResource(userType, { userName: `User${n}`, ...person });
    users.push((await createUser(ctx, okta, org, toInput(body, { active: true }))).id);
  }
  const made: string[] = [];
  for (const [n, group] of groups.entries()) {
    const members = [
      ...group.users.flatMap((user) => users[user] ?? []),
      ...group.groups.flatMap((earlier) => made[earlier] ?? []),
    ];
    const { id } = await createGroup(ctx, okta, org, { displayName: `Group${n}`, externalId: undefined, members });
    made.push(id);
  }
}

/** Every resource as it is shown, which is all that a filter may go by. */
async function shown({ ctx }: ScimServer, org: string, type: ResourceType): Promise<Doc[]> {
  const page = { offset: 0, limit: 1000 };
  if (type === userType) {
    const { users } = await listUsers(ctx.store, okta, org, everything, page, { groups: true });
    return users.map(({ user, groups }) => renderUser(user, groups, base));
  }
  const { groups } = await listGroups(ctx.store, okta, org, everything, page, { members: true });
  return groups.map(({ group, members }) => renderGroup(group, members, base));
}

async function found({ ctx }: ScimServer, org: string, type: ResourceType, question: object): Promise<string[]> {
  const asked = search(type, question, base);
  const page = { offset: 0, limit: 1000 };
  if (type === userType) {
    const { total, users } = await listUsers(ctx.store, okta, org, asked, page, { groups: false });
    expect(total).toBe(users.length);
    return users.map(({ user }) => user.id);
  }
  const { total, groups } = await listGroups(ctx.store, okta, org, asked, page, { members: false });
  expect(total).toBe(groups.length);
  return groups.map(({ group }) => group.id);
}

const operators = ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"] as const;
const orderings = ["eq", "ne", "gt", "ge", "lt", "le"] as const;
const literal = anyText.map((text) => JSON.stringify(text));
const ofText = (names: readonly string[]) =>
  fc.tuple(fc.constantFrom(...names), fc.constantFrom(...operators), literal).map((parts) => parts.join(" "));
const ofPresence = (names: readonly string[]) => fc.constantFrom(...names).map((name) => `${name} pr`);
const ofNull = (names: readonly string[]) =>
  fc.tuple(fc.constantFrom(...names), fc.constantFrom("eq", "ne")).map(([name, op]) => `${name} ${op} null`);

const elementFilter = fc.letrec<{ all: string; one: string }>((tie) => ({
  one: fc.oneof(
    ofText(["value", "type", "display"]),
    ofPresence(["value", "type", "primary"]),
    ofNull(["type", "display"]),
    fc.constantFrom("primary eq true", "primary ne true", 'primary eq "False"'),
  ),
  all: fc.oneof(
    { depthSize: "small" },
    tie("one"),
    fc.tuple(tie("all"), fc.constantFrom("and", "or"), tie("all")).map(([a, op, b]) => `(${a}) ${op} (${b})`),
    tie("all").map((filter) => `not (${filter})`),
  ),
})).all;

const singular = [
  "title",
  "displayName",
  "nickName",
  "name.givenName",
  `${enterprise}:department`,
  "manager",
  "manager.value",
];
const plural = ["emails", "emails.value", "emails.type", "photos", "photos.value", "addresses.locality"];
const when = fc.constantFrom('"2023-11-14T22:13:20.003Z"', '"2023-11-14T23:13:20+01:00"', '"2001-01-01T00:00:00Z"');

const userTerm = fc.oneof(
  ofText([...singular, ...plural, "userName", "externalId", "id", `${posix}:homeDirectory`, `${posix}:userName`]),
  ofText(["loginShell", "meta.resourceType", "meta.location", "schemas"]),
  fc
    .tuple(
      fc.constantFrom("userName", "groups.display", "groups"),
      fc.constantFrom(...operators),
      fc.constantFrom('"user1"', '"Group0"', '"group"'),
    )
    .map((all) => all.join(" ")),
  ofPresence([
    ...singular,
    ...plural,
    "name",
    "active",
    "externalId",
    "groups",
    "groups.type",
    "meta",
    "schemas",
    "loginShell",
  ]),
  ofNull([...singular, ...plural, "name", "externalId", "groups", "groups.display"]),
  fc
    .tuple(fc.constantFrom("eq", "ne"), fc.constantFrom("true", "false", '"True"', '"false"'))
    .map(([op, value]) => `active ${op} ${value}`),
  fc
    .tuple(fc.constantFrom("meta.created", "meta.lastModified"), fc.constantFrom(...orderings), when)
    .map((all) => all.join(" ")),
  fc
    .tuple(
      fc.constantFrom("uidNumber", "gidNumber"),
      fc.constantFrom(...orderings),
      fc.constantFrom("200001", '"200002"', "1.5", "-1"),
    )
    .map((all) => all.join(" ")),
  fc.tuple(fc.constantFrom("emails", "photos"), elementFilter).map(([name, filter]) => `${name}[${filter}]`),
  fc
    .tuple(
      fc.constantFrom("type", "display", "value", "$ref"),
      fc.constantFrom(...operators),
      fc.constantFrom('"direct"', '"indirect"', '"group1"', `"${base}/Groups/"`),
    )
    .map((all) => `groups[${all.join(" ")}]`),
  fc.constantFrom(
    `groups[type eq "indirect" and not (display eq "group0")]`,
    `schemas eq "${enterprise}"`,
    `schemas eq "${posix}"`,
    `not (schemas co "enterprise")`,
    'manager[value sw "a"]',
    'name[givenName eq "a" or familyName pr]',
    'emails[type eq "work"].value co "A"',
    'meta.version eq "x"',
    "meta.version ne null",
  ),
);

const groupTerm = fc.oneof(
  ofText(["displayName", "externalId", "id", "groupName", "members.display", "members"]),
  fc
    .tuple(
      fc.constantFrom("displayName", "members.display", "groupName", "members.type"),
      fc.constantFrom(...operators),
      fc.constantFrom('"group1"', '"USER1"', '"user"', '"Group"', '"g"'),
    )
    .map((all) => all.join(" ")),
  ofPresence(["displayName", "externalId", "members", "members.type"]),
  ofNull(["externalId", "members", "members.display"]),
  fc
    .tuple(
      fc.constantFrom("type", "display", "value", "$ref"),
      fc.constantFrom(...operators),
      fc.constantFrom('"User"', '"group"', '"user1"', `"${base}/Users/"`),
    )
    .map((all) => `members[${all.join(" ")}]`),
  fc.constantFrom('members[type eq "Group" and not (display eq "group0")]', "gidNumber gt 70000", 'schemas co "Group"'),
);

function filters(term: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.letrec<{ all: string }>((tie) => ({
    all: fc.oneof(
      { depthSize: "small" },
      term,
      fc.tuple(tie("all"), fc.constantFrom("and", "or"), tie("all")).map(([a, op, b]) => `(${a}) ${op} (${b})`),
      tie("all").map((filter) => `not (${filter})`),
    ),
  })).all;
}

const keys: readonly [sortBy: string, of: (doc: Doc) => string | number | undefined][] = [
  ["userName", ({ userName }) => fold(userName as string)],
  ["title", ({ title }) => folded(title)],
  ["name.familyName", ({ name }) => folded((name as Doc | undefined)?.familyName)],
  ["emails", ({ emails }) => folded((emails as Doc[] | undefined)?.[0]?.value)],
  ["photos.value", ({ photos }) => (photos as [Doc] | undefined)?.[0].value as string | undefined],
  ["active", ({ active }) => Number(active)],
  ["externalId", ({ externalId }) => externalId as string | undefined],
  [`${enterprise}:department`, (doc) => folded((doc[enterprise] as Doc | undefined)?.department)],
  ["uidNumber", (doc) => (doc[posix] as Doc).uidNumber as number],
];

function folded(text: unknown): string | undefined {
  return typeof text === "string" ? fold(text) : undefined;
}

function byKey(a: string | number | undefined, b: string | number | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return typeof a === "number" && typeof b === "number"
    ? a - b
    : Buffer.compare(Buffer.from(`${a}`), Buffer.from(`${b}`));
}

test("for any directory, sorting puts the unassigned last, first if descending, and ties by userName", async () => {
  await fc.assert(
    fc.asyncProperty(anyWorld, async (world) => {
      await using server = await scimServer();
      const org = await orgId(server.ctx, "default");
      await populate(server, org, world);
      const all = await shown(server, org, userType);
      for (const [sortBy, of] of keys) {
        for (const sortOrder of [undefined, "ascending", "DESCENDING"]) {
          const sign = sortOrder === "DESCENDING" ? -1 : 1;
          const expected = all.toSorted((a, b) => sign * byKey(of(a), of(b))).map(({ id }) => id);
          expect(await found(server, org, userType, { sortBy, sortOrder }), `${sortBy} ${sortOrder}`).toEqual(expected);
        }
      }
    }),
    { numRuns: runs(30) },
  );
});

const types = [
  ["users", userType, filters(userTerm)],
  ["groups", groupType, filters(groupTerm)],
] as const;

test.each(types)("for any directory and filter, SQL finds the %s that evaluation finds", async (_, type, anyFilter) => {
  await fc.assert(
    fc.asyncProperty(anyWorld, fc.array(anyFilter, { minLength: 20, maxLength: 20 }), async (world, asked) => {
      await using server = await scimServer();
      const org = await orgId(server.ctx, "default");
      await populate(server, org, world);
      const all = await shown(server, org, type);
      for (const filter of asked) {
        const matches = resourcePredicate(parseFilter(filter), type);
        const expected = all.filter(matches).map(({ id }) => id);
        expect(await found(server, org, type, { filter }), filter).toEqual(expected);
      }
    }),
    { numRuns: runs(40) },
  );
});

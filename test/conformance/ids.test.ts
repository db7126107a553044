/** S3: a number or a name is one subject's for ever, whatever is done to whom in which order. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { localInput, renameAccount } from "../../server/directory/accounts.ts";
import { createGroup, removeGroup } from "../../server/directory/groups.ts";
import { importEstate } from "../../server/directory/import.ts";
import { lockUser, unlockUser } from "../../server/directory/locks.ts";
import { setOrg } from "../../server/directory/orgs.ts";
import { createUser, removeUser } from "../../server/directory/users.ts";
import { everything } from "../../server/store/search.ts";
import { runs } from "../processes/postgres.ts";
import { admin, openDirectory, person, scim, type TestDirectory } from "./directory.ts";

const page = { offset: 0, limit: 1000 };
const acts = [
  "create",
  "create",
  "local",
  "remove",
  "re-create",
  "rename",
  "lock",
  "unlock",
  "group",
  "drop group",
  "import",
  "import group",
  "supplied",
] as const;
const anyAct = fc.record({ act: fc.constantFrom(...acts), who: fc.nat(5), n: fc.nat(30) });

test("through any history, no number and no name has two subjects, and none changes but a name that is renamed", async () => {
  let done = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(anyAct, { minLength: 2, maxLength: 24, size: "max" }), async (history) => {
      await using directory = await openDirectory();
      const { ctx, org } = directory;
      // A small range, so that numbers run short and adopted ones stand in the way.
      await setOrg(ctx, admin, "default", { userIds: { first: 5000, last: 5040 } });
      const owners = new Map<number, string>();
      const names = new Map<string, string>();
      const numberOf = new Map<string, number>();
      const nameOf = new Map<string, string>();
      for (const { act, who, n } of history) {
        const renamed = await perform(directory, act, `p${who}`, n).then(
          () => act === "rename" || act.startsWith("import"),
          refused,
        );
        done += 1;
        const subjects = await ctx.store.read(async (tx) => {
          const { users } = await tx.users.list(org, undefined, everything, page);
          const { groups } = await tx.groups.list(org, undefined, everything, page);
          return [
            ...users.map(({ id, name, uid }) => ({ id, name, number: Number(uid) })),
            ...groups.map(({ id, name, gid }) => ({ id, name, number: Number(gid) })),
          ];
        });
        for (const { id, name, number } of subjects) {
          expect(owners.get(number) ?? id, `${act} ${number}`).toBe(id);
          expect(names.get(name) ?? id, `${act} ${name}`).toBe(id);
          // An import is the one way to another number, and only for somebody whom no node ever knew.
          if (!act.startsWith("import")) expect(numberOf.get(id) ?? number).toBe(number);
          if (!renamed) expect(nameOf.get(id) ?? name).toBe(name);
          owners.set(number, id);
          names.set(name, id);
          numberOf.set(id, number);
          nameOf.set(id, name);
        }
      }
    }),
    { numRuns: runs(1000), endOnFailure: true },
  );
  expect(done).toBeGreaterThan(runs(8000));
}, 600_000);

async function perform(directory: TestDirectory, act: (typeof acts)[number], name: string, n: number) {
  const { ctx, org } = directory;
  const userName = `${name}@example.org`;
  const found = await ctx.store.read((tx) => tx.users.byUserName(org, userName));
  const group = await ctx.store.read((tx) => tx.groups.byDisplayName(org, `g${n % 4}`));
  switch (act) {
    case "create":
      return directory.people(userName);
    case "local":
      return createUser(ctx, admin, org, localInput({ ...local, userName: `l${n}`, uidNumber: undefined }));
    case "supplied":
      return createUser(ctx, scim, org, { ...person(userName), uidNumber: 5000 + n });
    case "remove":
      return removeUser(ctx, admin, org, found?.id ?? "").catch(() => removeUser(ctx, scim, org, found?.id ?? ""));
    case "re-create":
      await removeUser(ctx, scim, org, found?.id ?? "");
      return directory.people(userName);
    case "rename":
      return renameAccount(ctx, admin, org, userName, `n${n}`);
    case "lock":
      return lockUser(ctx, admin, org, userName, "because");
    case "unlock":
      return unlockUser(ctx, admin, org, userName);
    case "group":
      return createGroup(ctx, scim, org, {
        displayName: `g${n % 4}`,
        externalId: undefined,
        members: found ? [found.id] : [],
      });
    case "drop group":
      return removeGroup(ctx, scim, org, group?.id ?? "");
    case "import group": {
      const text = `g${n % 4}:x:${5000 + n}:${name}\n`;
      const files = [{ kind: "group", name: "group", text } as const];
      return importEstate(ctx, admin, org, files, { dryRun: false, create: n % 2 === 0, cluster: undefined });
    }
    case "import": {
      const text = `${name}:x:${5000 + n}:${5000 + n}::/home/${name}:/bin/bash\n`;
      const files = [{ kind: "passwd", name: "passwd", text } as const];
      return importEstate(ctx, admin, org, files, { dryRun: false, create: n % 2 === 0, cluster: undefined });
    }
  }
}

const local = { displayName: "", givenName: "", familyName: "", email: "", home: undefined, shell: undefined } as const;

function refused(error: unknown): false {
  if (error instanceof Error && error.name === "Refusal") return false;
  throw error;
}

/** Several servers on one database see the same turns come at the same time: each association is let in once, each leaver out once. */

import { expect, test } from "vitest";
import { listRevisions } from "../../server/directory/revisions.ts";
import { putRule } from "../../server/directory/rules.ts";
import { Ledger } from "../../server/rollout/ledger.ts";
import { Usher } from "../../server/rollout/usher.ts";
import { openStore } from "../../server/store/engine.ts";
import { admin } from "../conformance/directory.ts";
import { openSite } from "../conformance/site.ts";

const servers = 4;
const rounds = 12;

test("each lets in and out once, however many see it at once", async () => {
  await using site = await openSite();
  const { directory } = site;
  const { ctx, cluster, database } = directory;
  const silent = { warn: () => undefined, info: () => undefined, error: (...said: unknown[]) => failed.push(said) };
  const failed: unknown[] = [];
  const account = { kind: "account", account: "physics", parent: undefined, isDefault: false } as const;
  const grant = {
    ...account,
    adminLevel: "none",
    limits: {},
    jobs: "cancel",
    description: "",
    accountLimits: {},
  } as const;
  await putRule(ctx, admin, "default", { group: "slurm-users", grant }, { dryRun: false, urgent: false });
  const controller = await site.node("ctl", "controller");
  await using others = new AsyncDisposableStack();
  const stores = await Promise.all(
    Array.from({ length: servers }, async () => others.use(await openStore(database, ctx.now))),
  );
  const ids = await directory.people(...Array.from({ length: rounds }, (_, n) => `u${n}`));
  const users = await directory.group("slurm-users", []);
  for (const [n, id] of ids.entries()) {
    const gone = ids[n - 1];
    // Days apart: no mass removal.
    directory.pass(7 * 86_400_000);
    await directory.join(users, id);
    if (gone !== undefined) await directory.deactivate(gone);
    expect((await ctx.store.read((tx) => tx.passages.all(cluster))).length).toBe(gone === undefined ? 1 : 2);
    await controller.ack();
    controller.slurm();
    await site.ledger.save();
    // Each with what it read of the nodes, and of what waits.
    const ushers = await Promise.all(
      stores.map(async (store) => {
        const own = { ...ctx, store };
        const ledger = others.use(new Ledger(own, silent as never));
        await ledger.load();
        return new Usher(own, ledger, silent);
      }),
    );
    const before = await site.head();
    await Promise.all(ushers.map((usher) => usher.look()));
    const revisions = await listRevisions(ctx, "default", { offset: 0, limit: 10 });
    const made = revisions.filter(({ revision }) => revision > before);
    expect(made.map(({ puts, removals }) => `${puts} in, ${removals} out`).toSorted()).toEqual(
      gone === undefined ? ["1 in, 0 out"] : ["0 in, 1 out", "1 in, 0 out"],
    );
    expect(await ctx.store.read((tx) => tx.passages.all(cluster))).toEqual([]);
  }
  expect(failed).toEqual([]);
  expect((await site.sent("controller", "association")).length).toBe(1);
});

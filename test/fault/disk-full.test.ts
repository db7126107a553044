/**
 * A6, P3: a node whose disk is full keeps the old files, says which sink and why, is not sent the revision again, and acks by
 * itself once there is room. Its neighbour never notices.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Node_State } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { Rollout_State, RolloutService } from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { openLab } from "../lab/host.ts";
import { mountDisk } from "../lab/power.ts";
import { describeHosts } from "../lab/suite.ts";
import { HostedNode, HostedPlane } from "../real/system.ts";

describeHosts("a node whose disk is full", () => {
  test("refuses with the reason, serves what it had, and heals by itself", async () => {
    await using lab = await openLab({ name: "full" });
    await using plane = await HostedPlane.start(lab);
    const [full, spacious] = [await lab.host("full"), await lab.host("spacious")];
    await mountDisk(full, "/var/lib/rollcall", { mb: 8 });
    await using node = await HostedNode.join(plane, full, "login");
    await using neighbour = await HostedNode.join(plane, spacious, "login");
    const ada = await plane.create("Users", { userName: "ada", active: true });
    const group = await plane.create("Groups", { displayName: "slurm-users", members: [{ value: ada }] });
    await plane.rolledOut();

    // Large writes leave a few blocks over, which small ones then take.
    const fill =
      "cd /var/lib/rollcall; cat /dev/zero > filler; sync; dd if=/dev/zero of=rest bs=1k; sync; ! echo x > more";
    expect((await full.run("sh", ["-c", fill])).code, "the disk took everything").toBe(0);
    const bob = await plane.create("Users", { userName: "bob", active: true });
    await plane.addMember(group, bob);
    const head = await plane.head();
    const refused = await until(
      () => plane.node("full"),
      ({ state }) => state === Node_State.REFUSED,
    );
    expect(refused.refused).toMatchObject({
      revision: head,
      retrying: true,
      reason: expect.stringContaining("ENOSPC"),
    });
    expect((await full.run("getent", ["passwd", "ada"])).code).toBe(0);
    expect((await full.run("getent", ["passwd", "bob"])).code).toBe(2);
    expect((await spacious.run("getent", ["passwd", "bob"])).code).toBe(0);
    const { rollout } = await plane.client(RolloutService).getRollout({});
    expect(rollout).toMatchObject({ state: Rollout_State.DEGRADED, acked: 1, nodes: 2 });

    await full.run("rm", ["/var/lib/rollcall/filler", "/var/lib/rollcall/more"]);
    await plane.rolledOut();
    expect(await full.run("getent", ["passwd", "bob"])).toMatchObject({ code: 0 });
    expect((await plane.node("full")).refused).toBeUndefined();
    expect(node.process.stderr.match(/"msg":"refused"/g), "one refusal, no resend").toHaveLength(1);
    expect(neighbour.process.stderr).not.toContain('"msg":"refused"');
  });
});

/** What is looked at, once it is as wanted; the last thing seen if that takes more than 20 s. */
async function until<T>(look: () => Promise<T>, isWanted: (seen: T) => boolean): Promise<T> {
  let seen = await look();
  for (const end = Date.now() + 20_000; !isWanted(seen) && Date.now() < end; await sleep(50)) seen = await look();
  return seen;
}

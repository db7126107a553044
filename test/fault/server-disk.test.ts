/**
 * S1, S2: a control plane whose disk is full, or answers EIO. A write that it cannot keep is refused with "come back later"; what it
 * answered before is there; reading goes on, nodes notice nothing, and it needs no restart once the disk is well.
 */

import { expect, test } from "vitest";
import { Node_State } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { openLab } from "../lab/host.ts";
import { mountDisk } from "../lab/power.ts";
import { describeHosts } from "../lab/suite.ts";
import { Started } from "../processes/started.ts";
import { HostedNode, HostedPlane } from "../real/system.ts";

const later = { status: 503, retryAfter: "5" };

describeHosts("a control plane whose disk is full or broken", () => {
  test("refuses what it cannot keep, keeps what it answered, and goes on by itself", async () => {
    await using lab = await openLab({ name: "disk" });
    await using plane = await HostedPlane.start(lab, async ({ host, data }) => {
      await mountDisk(host, data, { mb: 32 });
    });
    await using node = await HostedNode.join(plane, await lab.host("login-1"), "login");
    const accepted: string[] = [];
    const refused: string[] = [];
    /** Makes people until one is refused, or there are enough. */
    const make = async (prefix: string, most: number): Promise<void> => {
      for (let n = 0; n < most; n++) {
        const userName = `${prefix}${n}`;
        const answer = await plane.scim("POST", "/Users", { userName, displayName: "x".repeat(2000) });
        if (answer.status === 201) accepted.push(userName);
        else {
          expect(answer).toMatchObject(later);
          refused.push(userName);
          return;
        }
      }
    };
    /** Everything still answers that writes nothing. */
    const stands = async (): Promise<void> => {
      expect((await plane.scim("GET", "/Users?count=1")).status).toBe(200);
      expect((await plane.node("login-1")).state).toBe(Node_State.CURRENT);
      expect(await node.host.run("getent", ["passwd", "ada"])).toMatchObject({ code: 0 });
    };
    const ada = await plane.create("Users", { userName: "ada" });
    const group = await plane.create("Groups", { displayName: "slurm-users", members: [{ value: ada }] });
    await plane.rolledOut();

    await plane.host.run("sh", ["-c", `cat /dev/zero > ${plane.data}/filler; sync`]);
    // The log is written over where it was: some more fit.
    await make("full", 2000);
    expect(refused).toHaveLength(1);
    await stands();
    await plane.host.run("rm", [`${plane.data}/filler`]);
    await make("room", 5);
    expect(refused).toHaveLength(1);

    const { stdout } = await plane.host.run("pgrep", ["-f", "server/main.ts"]);
    const [pid = ""] = stdout.trim().split("\n");
    const inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
    const breaking = new Started(plane.host.spawn("strace", ["-f", "-p", pid, ...inject]));
    await breaking.says(/attached/);
    await make("broken", 1);
    await make("broken", 1);
    expect(refused).toHaveLength(3);
    await stands();
    await breaking.end("SIGINT");
    await make("mended", 5);
    expect(refused).toHaveLength(3);

    // A member reaches the node as ever; then whatever was answered outlives the process, and nothing else.
    await plane.addMember(group, await plane.create("Users", { userName: "bob" }));
    await plane.rolledOut();
    expect(await node.host.run("getent", ["passwd", "bob"])).toMatchObject({ code: 0 });
    expect(plane.process.process.exitCode).toBeNull();
    await plane.down("SIGKILL");
    await plane.up();
    const { body } = await plane.scim("GET", "/Users?count=5000&attributes=userName");
    const there = (body["Resources"] as { userName: string }[]).map(({ userName }) => userName);
    expect(there.toSorted()).toEqual([...accepted, "ada", "bob"].toSorted());
  });
});

/**
 * Keys on a login host, in both ways that sshd may be led to them: it lets their owner in while files are swapped without a
 * pause, lets nobody else in, and once a step that takes a key away is done, never that key again.
 */

import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { apply } from "../../agent/apply.ts";
import { placeLinks } from "../../agent/links.ts";
import type { Key, Resource } from "../../identity/resource.ts";
import { parseSshKey } from "../../identity/ssh-key.ts";
import { aKey, aUser } from "../../identity/testing.ts";
import { openGround, stepTo } from "../fault/ground.ts";
import { type Host, openLab } from "../lab/host.ts";
import { ssh, startSshd } from "../lab/sshd.ts";
import { describeHosts } from "../lab/suite.ts";

const logins = 8;

describeHosts("sshd with the keys that an agent serves", () => {
  test.each(["file", "command"] as const)(
    "by %s: theirs lets in, also during swaps, until it is taken away",
    async (way) => {
      await using lab = await openLab({ name: "keys" });
      await using host = await lab.host("login-1");
      const { ground } = await openGround(join(host.root, "var/lib/rollcall"));
      await placeLinks(join(host.root, "etc"), "/var/lib/rollcall/served");
      const to = (content: readonly Resource[]) => apply(ground, stepTo(ground.memory.copy, content));
      const own = await newKey(host, "own", 1);
      const bobs = await newKey(host, "bobs", 2);
      const people = [aUser(1, { name: "ada" }), aUser(2, { name: "bob" })];
      await to([...people, own, bobs]);
      await using sshd = await startSshd(host, way);

      // Her file is replaced over and over by one with another second key.
      let isDone = false;
      const swapping = (async () => {
        let n = 0;
        for (; !isDone; n++, await turn()) await to([...people, own, bobs, aKey(1, `other ${n}`)]);
        return n;
      })();
      for (let n = 0; n < logins; n++) {
        expect(await ssh(host, host, "ada", "/root/own", "id -un"), sshd.log().join("\n")).toMatchObject({
          stdout: "ada\n",
        });
      }
      expect(await ssh(host, host, "ada", "/root/bobs", "true")).toMatchObject({ code: 255 });
      isDone = true;
      expect(await swapping).toBeGreaterThan(logins);

      await to([...people, bobs, aKey(1, "other")]);
      for (let n = 0; n < 3; n++)
        expect(await ssh(host, host, "ada", "/root/own", "true")).toMatchObject({ code: 255 });
      expect(await ssh(host, host, "bob", "/root/bobs", "true")).toMatchObject({ code: 0 });
      await to([...people, aKey(1, "other")]);
      expect(await ssh(host, host, "bob", "/root/bobs", "true"), "who has no key left").toMatchObject({ code: 255 });
    },
  );
});

async function newKey(host: Host, name: string, user: number): Promise<Key> {
  await host.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", `/root/${name}`]);
  return { ...aKey(user, ""), key: parseSshKey((await host.run("cat", [`/root/${name}.pub`])).stdout.trim()) };
}

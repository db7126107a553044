/** The agent's local half as agent/main.ts opens it, and steps to any content. */

import { type Started, start } from "../../agent/apply.ts";
import { type Disk, realDisk } from "../../agent/disk.ts";
import { nssSink } from "../../agent/sinks/nss/sink.ts";
import { sshSink } from "../../agent/sinks/ssh.ts";
import { sudoSink } from "../../agent/sinks/sudo/sink.ts";
import { type Copy, prepareSnapshot, type Step } from "../../identity/copy.ts";
import { nothing, shift } from "../../identity/digest.ts";
import type { Resource } from "../../identity/resource.ts";

/** The gid of `shadow` on Debian. */
const shadow = 42;

/** Opened on the machine too, which need have no sudo; test/real asks the real one. */
const visudoElsewhere = async () => undefined;

export function openGround(state: string, disk: Disk = realDisk): Promise<Started> {
  return start({
    disk,
    state,
    sinks: (_, served) => [nssSink(disk, served), sshSink(disk, served), sudoSink(disk, served, visudoElsewhere)],
    gids: new Map([["shadow", shadow]]),
  });
}

/** The step from a copy to exactly this content, one revision on. */
export function stepTo(copy: Copy, content: readonly Resource[]): Step {
  const to = {
    epoch: { seq: 1n, id: "1".repeat(32) },
    revision: copy.at.revision + 1n,
    digest: shift(nothing, content, []),
  };
  return prepareSnapshot(copy, to, content);
}

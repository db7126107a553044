/**
 * Whose sessions may be ended here at all, whoever asks: of nobody but who may be a person of the directory's on this node. A uid of the
 * system, one that the node's policy gives to nobody, or that is a local account's too, is not.
 */

import type { Uid } from "../../../identity/id.ts";
import type { Gate } from "../../policy/gate.ts";
import { uidsIn } from "../../policy/local.ts";
import { allowsUid } from "../../policy/policy.ts";

/**
 * @param passwd the file that logins here go by, also where the agent was told of another folder than /etc: asked anew each time.
 * @throws Error if it cannot be read: nothing is ended then.
 */
export function mayEnd({ policy, local }: Pick<Gate, "policy" | "local">, uid: Uid, passwd = "/etc/passwd"): boolean {
  return uid >= 1000 && allowsUid(policy, uid) && !local.uids.has(uid) && !uidsIn(passwd).has(uid);
}

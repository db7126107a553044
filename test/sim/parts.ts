/** What a world is made of: the real machines, or one of them with a fault put in. */

import { begin, step as stepAgent } from "../../agent/agent.ts";
import { commit, prepare, prepareSnapshot } from "../../identity/copy.ts";
import { open, step as stepSession } from "../../server/stream/session.ts";

export interface Parts {
  readonly agent: { readonly begin: typeof begin; readonly step: typeof stepAgent };
  readonly session: { readonly open: typeof open; readonly step: typeof stepSession };
  readonly prepare: typeof prepare;
  readonly prepareSnapshot: typeof prepareSnapshot;
  readonly commit: typeof commit;
  /** Whether a ban ends the stream that is open. */
  readonly endsBanned: boolean;
  /** Whether it is remembered which run of an agent refused what. */
  readonly remembersRefusals: boolean;
  /** Whether the snapshot that is sent is what the log holds; else it is empty, as after an error. */
  readonly readsSnapshots: boolean;
}

export const real: Parts = {
  agent: { begin, step: stepAgent },
  session: { open, step: stepSession },
  prepare,
  prepareSnapshot,
  commit,
  endsBanned: true,
  remembersRefusals: true,
  readsSnapshots: true,
};

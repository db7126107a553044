/** What a change does to clusters, as messages. */

import { type Effect, EffectSchema, ResourceChangeSchema } from "../../proto/gen/rollcall/v1/effect_pb.ts";
import { printResource } from "../../proto/wire.ts";
import type { OwnedEdit } from "../store/log.ts";
import type * as store from "../store/store.ts";
import { message } from "./field.ts";

/** More changes than this are only counted. */
const mostNamed = 1000;

export function printEffect({ cluster, edits, held }: store.Effect): Effect {
  const puts = edits.filter(({ after }) => after).length;
  const changes = [
    ...edits.slice(0, mostNamed).map((edit) => printChange(edit, false)),
    ...held.slice(0, Math.max(0, mostNamed - edits.length)).map((edit) => printChange(edit, true)),
  ];
  return message(EffectSchema, { cluster, puts, removals: edits.length - puts, held: held.length, changes });
}

function printChange({ key, before, after }: OwnedEdit, held: boolean) {
  return message(ResourceChangeSchema, {
    key,
    before: before && printResource(before),
    after: after && printResource(after),
    held,
  });
}

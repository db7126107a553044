/** What a change does to clusters, as messages. */

import { argumentsOf, type Call } from "../../identity/slurm-call.ts";
import {
  type Effect,
  EffectSchema,
  ResourceChangeSchema,
  SlurmCallSchema,
} from "../../proto/gen/rollcall/v1/effect_pb.ts";
import { printResource } from "../../proto/wire.ts";
import type { OwnedEdit } from "../store/log.ts";
import type * as store from "../store/store.ts";
import { message } from "./field.ts";

/** More changes than this are only counted. */
const mostNamed = 1000;

/** `slurm`: what it would have done there, if that was asked. */
export function printEffect({
  cluster,
  edits,
  held,
  waiting,
  slurm = [],
}: store.Effect & { readonly slurm?: readonly Call[] }): Effect {
  const puts = edits.filter(({ after }) => after).length;
  const all = [
    ...edits.map((edit) => printChange(edit, "done")),
    ...waiting.map((edit) => printChange(edit, "waiting")),
    ...held.map((edit) => printChange(edit, "held")),
  ];
  return message(EffectSchema, {
    cluster,
    puts,
    removals: edits.length - puts,
    held: held.length,
    waiting: waiting.length,
    changes: all.slice(0, mostNamed).map((print) => print()),
    slurm: slurm.slice(0, mostNamed).map(printCall),
  });
}

function printChange({ key, before, after }: OwnedEdit, how: "done" | "waiting" | "held") {
  return () =>
    message(ResourceChangeSchema, {
      key,
      before: before && printResource(before),
      after: after && printResource(after),
      held: how === "held",
      waiting: how === "waiting",
    });
}

/** In one call. */
const mostNames = 20;

function printCall(call: Call) {
  const names = call.names.slice(0, mostNames);
  // The server does not know what Slurm calls itself.
  const tail = call.tail.filter((word) => !word.startsWith("cluster="));
  const words = [call.program, ...argumentsOf({ ...call, names, tail })];
  const more = call.names.length > names.length ? ", ..." : "";
  return message(SlurmCallSchema, { what: call.what, command: words.join(" ") + more, names: call.names.length });
}

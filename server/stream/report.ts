/** What an agent reports of its node, as it is kept: every list and every text bounded, for people to read. */

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Comparison, NodeReport as Message } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { parseTime } from "../../proto/wire.ts";
import type { NodeReport } from "../store/nodes.ts";
import { clean } from "./clean.ts";

const mostLines = 20;
const mostDifferences = 50;

export function readReport({ drift, faults, comparison }: Message): NodeReport {
  return {
    drift: {
      count: drift?.count ?? 0,
      lastAt: readTime(drift?.lastAt),
      files: lines(drift?.files ?? []),
      strays: lines(drift?.strays ?? []),
    },
    faults: lines(faults),
    comparison: comparison && readComparison(comparison),
  };
}

function readComparison(found: Comparison): NonNullable<NodeReport["comparison"]> {
  const { users, usersDiffering, groups, groupsDiffering, keys, keysDiffering } = found;
  return {
    at: readTime(found.at),
    revision: String(found.revision),
    ...{ users, usersDiffering, groups, groupsDiffering, keys, keysDiffering },
    differences: found.differences.slice(0, mostDifferences).map(({ kind, name, field, here, there }) => ({
      ...{ kind: short(kind), name: short(name), field: short(field), here: short(here), there: short(there) },
    })),
    fault: clean(found.fault),
  };
}

/** A node may say any time; what no calendar holds cannot be shown. */
function readTime(time: Timestamp | undefined): number | undefined {
  const ms = Math.floor(parseTime(time) ?? -1);
  return ms >= 0 && ms <= latest ? ms : undefined;
}

const latest = Date.UTC(9999, 11, 31);

function lines(texts: readonly string[]): string[] {
  return texts.slice(0, mostLines).map(clean);
}

function short(text: string): string {
  return clean(text).slice(0, 200);
}
